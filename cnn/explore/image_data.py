"""What a page holds of one image: with all activations and gradients, or without."""

import functools
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from cnn.errors import InputError, ShapeError
from cnn.explore.chunk import Chunk
from cnn.explore.finite_difference import finite_difference
from cnn.explore.saliency import grad_cam, gradient, gradient_times_input, largest, occlusion
from cnn.explore.trace import Trace, trace
from cnn.explore.walk import INPUT
from cnn.layers import Conv2d
from cnn.module import Array, Module

NOTHING: dict[str, list[str]] = {"layers": [], "gradients": [], "tensors": [], "maps": []}  # is left out
MAPS = {f.__name__: f for f in (gradient, gradient_times_input, occlusion, grad_cam)}


class ImageData:
    """One image: what the header says of it, its saliency maps, and a weight whose gradient is checked.

    Its activations are not kept but computed again, because those of many images may be larger than the memory.

    Parameters
    ----------
    model, other : Module
        The net, and a copy with random weights.
    x : ndarray, (1, ...)
        The image as the model reads it.
    y : int or None
        Its true class, as in `cnn.explore.trace`.
    pixels : ndarray of uint8 or None
        The image as it was given.
    name : str
    found : Trace
        Of the image.
    level : int
        How hard zlib tries.
    """

    def __init__(
        self,
        model: Module,
        other: Module,
        x: Array,
        y: Any,
        pixels: Array | None,
        name: str,
        found: Trace,
        level: int = zlib.Z_DEFAULT_COMPRESSION,
    ) -> None:
        self._level = level
        self.model, self.other, self.x, self.y, self.pixels = model, other, x, y, pixels
        has_classes = found.probabilities is not None and found.probabilities.ndim == 2
        is_class = found.target.dtype.kind == "i" and found.target.ndim == 1
        self.nodes = len(found.nodes)
        self.k = largest(found.logits) if found.logits.ndim > 1 else None
        self.about = {
            "name": name,
            "label": np.asarray(y).tolist(),
            "class": int(found.target[0]) if is_class else None,
            "predicted": self.k,
            "probabilities": found.probabilities[0].tolist() if has_classes else None,  # type: ignore[index]
            "loss": found.loss,
        }

    def trace(self) -> Trace:
        """Return the activations and gradients."""
        return trace(self.model, self.x, self.y)

    def entry(
        self, complete: bool, left_out: Mapping[str, Collection[str]] = NOTHING, found: Trace | None = None
    ) -> tuple[dict[str, Any], Chunk]:
        """Return what the header says of the image, and its arrays.

        Without ``complete`` these are the pixels alone, or the input where there are no pixels. With it, these are all
        outputs and gradients that are not left out. Without a trace, it is computed.
        """
        chunk = Chunk(self._level)
        outputs: list[int | None] = [None] * self.nodes
        grads = list(outputs)
        if found is None and (complete or self.pixels is None):
            found = self.trace()
        for i, (name, node) in enumerate(() if found is None else found.nodes.items()):
            if name == INPUT or (complete and name not in left_out["layers"]):
                outputs[i] = chunk.add(node.output[0])
            if complete and node.grad is not None and name not in left_out["gradients"]:
                grads[i] = chunk.add(node.grad[0])
        entry = self.about | {
            "complete": complete,
            "outputs": outputs,
            "grads": grads,
            "maps": _add(self.maps[0], chunk, left_out["maps"]) if complete else {},
            "random_maps": _add(self.maps[1], chunk, left_out["maps"]) if complete else {},
            "maps_left_out": [name for name in left_out["maps"] if name in self.maps[0]] if complete else [],
            "difference": self.difference if complete else None,
        }
        pixels = self.pixels  # last, because float32 must begin at a multiple of 4 bytes
        entry["pixels"] = None if pixels is None else {"offset": chunk.add(pixels), "shape": list(pixels.shape)}
        return entry, chunk

    @functools.cached_property
    def maps(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The saliency maps of the predicted class, with the weights of the net and with random ones."""
        return _maps(self.model, self.x, self.k), _maps(self.other, self.x, self.k)

    @functools.cached_property
    def difference(self) -> dict[str, Any] | None:
        """A finite difference of the weight of the first convolution that has the largest gradient, or None."""
        found = self.trace()
        nodes, grads = found.nodes, found.grads
        convs = [f"{name}.weight" if name else "weight" for name, node in nodes.items() if type(node.layer) is Conv2d]
        name = next((name for name in convs if name in grads), None)  # a shared weight has a gradient under one name
        if name is None or not np.isfinite(grads[name]).all():
            return None
        index = tuple(int(i) for i in np.unravel_index(np.abs(grads[name]).argmax(), grads[name].shape))
        checked = finite_difference(self.model, self.x, found.target, name, index)
        return {"tensor": name, "index": list(index), "gradient": float(grads[name][index]), **checked._asdict()}


def _maps(model: Module, x: Array, k: int | None) -> dict[str, Array]:
    """Return the saliency maps that this kind of net and input has."""
    found = {}
    for name, saliency in MAPS.items():
        try:
            found[name] = saliency(model, x, k)
        except (InputError, ShapeError):  # no image, no convolution, or numbers that are too large
            continue
    return found


def _add(maps: dict[str, Array], chunk: Chunk, left_out: Collection[str]) -> dict[str, Any]:
    kept = {name: values for name, values in maps.items() if name not in left_out}
    return {name: {"offset": chunk.add(values), "shape": list(values.shape)} for name, values in kept.items()}
