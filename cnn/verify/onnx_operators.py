"""The layer for each ONNX operator, and for each small graph that PyTorch exports for one layer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import layers
from cnn.module import Array, Module
from cnn.verify import onnx_layers as ol
from cnn.verify.check import LeftOut
from cnn.verify.onnx_layers import NOT_2D, Operator, needs
from cnn.verify.onnx_vectors import Vector


class LegacyMasks:
    """NumPy's legacy random generator, which ONNX used for its masks, with the method name of the new generator."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)  # the generator that ONNX used

    def random(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return uniform random numbers, in float64 as ONNX's are."""
        return self.state.uniform(0, 1, shape)


def dropout(o: Operator) -> Module:
    """Dropout, in training mode if its third input is true; before opset 12 always in evaluation mode."""
    ratio = o.get("ratio", 0.5) if o.others[0] is None else o.other(0).item()
    made = layers.Dropout(ratio).train(o.others[1] is not None and bool(o.other(1)))
    made.rng = LegacyMasks(o.get("seed", 0))  # type: ignore[assignment]
    return made


def gelu(o: Operator) -> Module:
    """Gelu, exact or approximated by tanh."""
    return layers.GELU(approximate=o.get("approximate", "none"))


def selu(o: Operator) -> Module:
    """Selu with the published constants, which are fixed in SELU."""
    published = (1.6732631921768188, 1.0507010221481323)
    needs((o.get("alpha", published[0]), o.get("gamma", published[1])) == published)
    return layers.SELU()


def hard_sigmoid(o: Operator) -> Module:
    """HardSigmoid with the slope of Hardsigmoid, 1/6, which is not ONNX's default."""
    needs(abs(o.get("alpha", 0.2) - 1 / 6) < 1e-6 and o.get("beta", 0.5) == 0.5)
    return layers.Hardsigmoid()


def swish(o: Operator) -> Module:
    """Swish with alpha 1, which is SiLU."""
    needs(o.get("alpha", 1.0) == 1)
    return layers.SiLU()


def global_pool(o: Operator) -> Module:
    """GlobalAveragePool and GlobalMaxPool."""
    needs(o.x.ndim == 4, NOT_2D)
    return layers.AdaptiveAvgPool2d(1) if o.op == "GlobalAveragePool" else layers.AdaptiveMaxPool2d(1)


def resize(o: Operator) -> Module:
    """Resize and Upsample of height and width, where PyTorch transforms coordinates in the same way.

    These are: linear with half_pixel or pytorch_half_pixel (the same for more than one pixel) or align_corners, without
    antialias; nearest, whose rules differ in general, for integer factors and the default rounding.
    """
    needs(o.x.ndim == 4, NOT_2D)
    roi_first = o.op == "Resize" and o.opset > 10
    scales, sizes = (o.others[1], o.others[2]) if roi_first else (o.others[0], None)
    given = scales if scales is not None and scales.size else sizes
    if given is None or o.get("antialias", 0) or o.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise LeftOut(ol.NOT_IN_TORCH)
    of_axis = dict(zip((int(a) % 4 for a in o.get("axes", range(4))), given.tolist(), strict=True))
    batch = [of_axis.get(axis, 1 if given is scales else o.x.shape[axis]) for axis in (0, 1)]
    needs(batch == ([1, 1] if given is scales else list(o.x.shape[:2])))
    target = (of_axis[2], of_axis[3])
    key: dict[str, Any] = {"scale_factor": target} if given is scales else {"size": target}
    mode, coordinates = o.get("mode", "nearest"), o.get("coordinate_transformation_mode", "half_pixel")
    factors = target if given is scales else (target[0] / o.x.shape[2], target[1] / o.x.shape[3])
    needs(mode != "cubic", ol.NOT_OURS)
    if mode == "nearest":
        needs(coordinates == "half_pixel" and o.get("nearest_mode", "round_prefer_floor") == "round_prefer_floor")
        needs(all(factor >= 1 and factor == int(factor) for factor in factors), ol.NOT_OURS)  # mode="nearest-exact"
        return layers.Upsample(**key)
    needs(mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners"))
    if coordinates == "align_corners":  # ONNX puts the last corner at size times scale, even if that is not an integer
        needs(all(pixels * factor % 1 == 0 for pixels, factor in zip(o.x.shape[2:], factors, strict=True)))
    needs(coordinates != "pytorch_half_pixel" or 1 not in target)  # for one output pixel it takes the first input pixel
    return layers.Upsample(**key, mode="bilinear", align_corners=coordinates == "align_corners")


def depth_to_space(o: Operator) -> Module:
    """DepthToSpace in the order of PixelShuffle."""
    needs(o.get("mode", "DCR") == "CRD")
    return layers.PixelShuffle(o.get("blocksize"))


def reshape(o: Operator) -> Module:
    """Reshape that flattens all axes except the first, or splits one axis into several."""
    before, after = o.x.shape, [int(n) for n in o.other(0)]
    needs(not o.get("allowzero", 0))
    after = [before[i] if n == 0 else n for i, n in enumerate(after)]
    if len(after) == 2 and after[0] == before[0]:
        return layers.Flatten()
    for axis in range(1, len(before)):
        end = axis + len(after) - len(before) + 1
        if end > axis + 1 and (after[:axis], after[end:]) == (list(before[:axis]), list(before[axis + 1 :])):
            return layers.Unflatten(axis, tuple(after[axis:end]))
    raise LeftOut(ol.NOT_IN_TORCH)


OPERATORS: dict[str, Callable[[Operator], Module]] = {
    "Add": ol.combined,
    "AveragePool": ol.average_pool,
    "BatchNormalization": ol.batch_norm,
    "Celu": lambda o: layers.CELU(o.get("alpha", 1.0)),
    "Concat": ol.combined,
    "Conv": ol.conv,
    "ConvTranspose": ol.conv_transpose,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Elu": lambda o: layers.ELU(o.get("alpha", 1.0)),
    "Flatten": ol.flatten,
    "Gelu": gelu,
    "Gemm": ol.gemm,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "GroupNormalization": ol.group_norm,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": lambda o: layers.Hardswish(),
    "Identity": lambda o: layers.Identity(),
    "InstanceNormalization": ol.group_norm,
    "LayerNormalization": ol.layer_norm,
    "LeakyRelu": lambda o: layers.LeakyReLU(o.get("alpha", 0.01)),
    "LogSoftmax": ol.softmax,
    "MatMul": ol.matmul,
    "MaxPool": ol.max_pool,
    "Mish": lambda o: layers.Mish(),
    "PRelu": ol.prelu,
    "Pad": ol.pad,
    "Relu": lambda o: layers.ReLU(),
    "Reshape": reshape,
    "Resize": resize,
    "Selu": selu,
    "Sigmoid": lambda o: layers.Sigmoid(),
    "Softmax": ol.softmax,
    "Softplus": lambda o: layers.Softplus(),
    "Softsign": lambda o: layers.Softsign(),
    "Sum": ol.combined,
    "Swish": swish,
    "Tanh": lambda o: layers.Tanh(),
    "Upsample": resize,
}


def first_operator(vector: Vector) -> Operator:
    """Return the only operator of a vector, with its inputs."""
    (node,) = vector.nodes
    values = [vector.arrays.get(name) if name else None for name in node.inputs]
    x = values[0]
    if x is None:
        raise LeftOut(ol.NOT_IN_TORCH)
    return Operator(node.op, x, values[1:], node.attributes, vector.opset)


def linear_without_bias(vector: Vector) -> Module:
    """Transpose of the weight, then MatMul."""
    weight = vector.arrays[vector.nodes[0].inputs[0]]
    return ol.fill(layers.Linear(weight.shape[1], len(weight), bias=False), weight=weight)


def pixel_shuffle(vector: Vector) -> Module:
    """Reshape, Transpose and Reshape; the upscale factor is a size in the first new shape."""
    first = vector.arrays[vector.nodes[1].inputs[1]]
    needs(vector.nodes[2].attributes["perm"] == (0, 1, 4, 2, 5, 3))
    return layers.PixelShuffle(int(first[2]))


def pool_over_one_axis(vector: Vector) -> Module:
    """A pool over one axis, exported as a pool over two axes."""
    raise LeftOut(NOT_2D)


GRAPHS: dict[tuple[str, ...], Callable[[Vector], Module]] = {
    ("Abs", "Constant", "Add", "Div"): lambda vector: layers.Softsign(),
    ("Constant", "Reshape", "Transpose", "Constant", "Reshape"): pixel_shuffle,
    ("Unsqueeze", "AveragePool", "Squeeze"): pool_over_one_axis,
    ("Transpose", "MatMul"): linear_without_bias,
}
