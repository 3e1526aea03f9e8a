"""The data of a page about a net: a header and a block of bytes. docs/decisions/015-explore.md describes the format."""

import zlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from cnn.containers.chain import hide_internal_frames
from cnn.errors import InputError, ShapeError
from cnn.explore.choice import Choice
from cnn.explore.chunk import Chunk
from cnn.explore.describing import describe
from cnn.explore.facts import GATES
from cnn.explore.image_data import NOTHING, ImageData
from cnn.explore.random_weights import randomized
from cnn.explore.trace import Trace, trace
from cnn.module import Array, Module
from cnn.training.inputs import dtype_of

FORMAT = 1
LIMIT = 11_000_000  # bytes of base64: a page of at most 12 MB, with room for its program and the header
RANDOM_SEED = 0  # of the weights that the saliency maps are compared with
INPUT_MAPS = "gradient_times_input", "gradient"  # saliency maps as large as the input, the less important one first
Entry = tuple[dict[str, Any], Chunk]


@hide_internal_frames
def pack(
    model: Module,
    pixels: Any,
    labels: Sequence[int | None] | None = None,
    names: Sequence[str] | None = None,
    limit: int = LIMIT,
) -> tuple[dict[str, Any], bytes]:
    """Return everything that a page shows of a net and some images: a header for JSON, and a block of bytes.

    Of each image every activation and every gradient, as `trace` finds them, and saliency maps, also with random
    weights; and the weights once. If that is more than ``limit``, the last images come without all this, only with
    their pixels and probabilities. If one complete image is still too large, some layers are left out, so that what is
    kept can be explained: `cnn.explore.choice.Choice` says which. The header says so.

    Parameters
    ----------
    model : Module
        In float32. It does not change.
    pixels : array_like, (N, C, H, W) or (N, ...)
        uint8 from 0 to 255, which the model's preprocessing turns into inputs; or floats, which are inputs already.
    labels : sequence, optional
        The true class of each image; None where it is not known: the loss is then that of the predicted class. For a
        model without classes what its loss compares the outputs with.
    names : sequence of str, optional
        A name for each image, such as that of its file.
    limit : int
        How many bytes the block may take as base64 text.

    Returns
    -------
    header : dict
        For `json.dumps`.
    block : bytes

    Raises
    ------
    InputError, ShapeError
        If there is no image, the images do not fit the model, or the model is not in float32.

    Examples
    --------
    >>> from cnn import zoo
    >>> header, block = pack(zoo.lenet5(), np.zeros((2, 1, 28, 28), np.uint8), [3, None])
    >>> [image["label"] for image in header["images"]], header["nodes"][1]["name"]
    ([3, None], '0')
    """
    if dtype_of(model) != np.float32:
        raise InputError(f'the model works in {dtype_of(model)}: convert it with model.to("float32")')
    shown, inputs = _inputs(model, pixels)
    labels = [None] * len(inputs) if labels is None else list(labels)
    names = [""] * len(inputs) if names is None else list(names)
    for what, given in (("labels", labels), ("names", names)):
        if len(given) != len(inputs):
            raise ShapeError(f"{len(inputs)} images need as many {what}, got {len(given)}")
    other, images = randomized(model, RANDOM_SEED), []
    active: dict[str, list[Array]] = {}
    for i, x in enumerate(inputs):
        found = trace(model, x, labels[i])
        images.append(ImageData(model, other, x, labels[i], None if shown is None else shown[i], names[i], found))
        for name, node in found.nodes.items():
            if isinstance(node.layer, GATES):
                active.setdefault(name, []).append(node.output != 0)
    tensors = {name: t.data for name, t in model.named_tensors() if t.data.dtype.kind == "f"}
    weights, entries, left_out = _fit(images, tensors, limit * 3 // 4)
    header = {"format": FORMAT, **describe(model, found, active), "tensors": weights[0]}
    header |= {"images": [entry | {"chunk": i + 1} for i, (entry, _) in enumerate(entries)]}
    header |= {"left_out": left_out, "chunks": []}
    block = bytearray()
    for _, chunk in [weights, *entries]:
        data = chunk.deflated()
        header["chunks"].append({"offset": len(block), "length": len(data), "size": chunk.size})
        block += data
    return header, bytes(block)


@hide_internal_frames
def pack_image(
    model: Module,
    other: Module,
    pixels: Any,
    label: int | None = None,
    name: str = "",
    absent: Collection[str] = (),
    limit: int = LIMIT,
) -> tuple[dict[str, Any], bytes]:
    """Return what `pack` has for one more image: its entry in the header, and its chunk of bytes.

    Of a large net some layers are left out, as in `pack`.

    Parameters
    ----------
    model : Module
        As in `pack`.
    other : Module
        ``randomized(model, 0)``, which is made once for all images.
    pixels : array_like, (1, C, H, W) or (1, ...)
        As in `pack`.
    label, name
        Of the image.
    absent : collection of str
        Names of the weights that the page does not have.
    limit : int
        As in `pack`; the chunk has at most three quarters of it.

    Returns
    -------
    entry : dict
        Without "chunk".
    chunk : bytes

    Examples
    --------
    >>> from cnn import zoo
    >>> from cnn.explore import randomized
    >>> model = zoo.lenet5()
    >>> entry, chunk = pack_image(model, randomized(model, 0), np.zeros((1, 1, 28, 28), np.uint8), 3)
    >>> entry["label"], entry["complete"]
    (3, True)
    """
    shown, inputs = _inputs(model, pixels)
    found = trace(model, inputs[0], label)
    given = None if shown is None else shown[0]
    image = ImageData(model, other, inputs[0], label, given, name, found, zlib.Z_BEST_SPEED)  # someone waits for it
    _, (entry, chunk), _ = _first(image, found, {}, limit * 3 // 4, absent)
    return entry, chunk.deflated()


def _inputs(model: Any, pixels: Any) -> tuple[Array | None, list[Array]]:
    """Return the pixels, if they are such, and one input (1, ...) for each image."""
    pixels = np.asarray(pixels)
    if pixels.ndim == 0 or len(pixels) == 0:
        raise InputError(f"at least one image is needed, got an array of shape {pixels.shape}")
    if pixels.dtype != np.uint8:
        return None, [pixels[i : i + 1] for i in range(len(pixels))]
    if not hasattr(model, "preprocess"):
        raise InputError(f"pixels are uint8, but {type(model).__name__} has no preprocessing: pass inputs as floats")
    x = model.preprocess(pixels)
    return pixels, [x[i : i + 1] for i in range(len(x))]


def _fit(images: list[ImageData], tensors: dict[str, Array], budget: int) -> tuple[Entry, list[Entry], dict[str, Any]]:
    """Return the weights, the images, as many as fit with their activations, and what is left out."""
    entries = _short(images, budget)
    costs = [len(chunk.deflated()) for _, chunk in entries]
    budget -= sum(costs[1:])
    weights, entries[0], left_out = _first(images[0], images[0].trace(), tensors, budget)
    budget -= len(weights[1].deflated()) + len(entries[0][1].deflated())
    complete = 1
    while complete < len(entries):
        entry = images[complete].entry(True, left_out)
        budget -= len(entry[1].deflated()) - costs[complete]
        if budget < 0:
            break
        entries[complete] = entry
        complete += 1
    missing = {"images": len(images) - len(entries), "activations": len(entries) - complete}
    return weights, entries, left_out | missing


def _short(images: list[ImageData], budget: int) -> list[Entry]:
    """Return the images without activations, as many as fit a quarter of the budget, at least one."""
    entries = [images[0].entry(False)]
    for image in images[1:]:
        entry = image.entry(False)
        budget -= 4 * len(entry[1].deflated())
        if budget < 0:
            break
        entries.append(entry)
    return entries


def _first(
    image: ImageData, found: Trace, tensors: dict[str, Array], budget: int, absent: Collection[str] = ()
) -> tuple[Entry, Entry, dict[str, Any]]:
    """Return the weights, and the image, complete; without some layers if that is needed to fit."""
    weights, entry = _weights(tensors, ()), image.entry(True, found=found)
    excess = weights[1].size + entry[1].size - budget
    if excess <= 0:  # also before they are deflated
        return weights, entry, dict(NOTHING)
    choice, maps = Choice(found, tensors, absent), list(INPUT_MAPS)
    nothing = choice.left_out(set())
    for i in range(len(maps) + 1):  # leave out as few as possible
        least = image.entry(True, nothing | {"maps": maps[:i]}, found)
        space = budget - len(least[1].deflated())
        if space >= budget / 4:
            break
    maps = maps[:i]
    kept = set(choice.sizes) if sum(choice.sizes.values()) < 1.1 * space else choice.choose(space)  # it is an estimate
    while True:
        left_out = choice.left_out(kept) | {"maps": maps}
        weights, entry = _weights(tensors, left_out["tensors"]), image.entry(True, left_out, found)
        excess = len(weights[1].deflated()) + len(entry[1].deflated()) - budget
        if excess <= 0 or not kept:
            return weights, entry, left_out
        space = min(space, sum(choice.sizes[piece] for piece in kept)) - excess
        kept = choice.choose(space)


def _weights(tensors: dict[str, Array], left_out: Collection[str]) -> Entry:
    """Return what the header says of the weights, and a chunk with them."""
    chunk, found = Chunk(), {}
    for name, data in tensors.items():
        offset = None if name in left_out else chunk.add(data)
        found[name] = {"offset": offset, "shape": list(data.shape)}
    return found, chunk
