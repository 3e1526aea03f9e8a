"""Each operator of an ONNX file, with the rules of its version: outputs against onnxruntime, gradients numerically."""

import math

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from cnn.interop.onnx import load
from cnn.utils import gradcheck
from tests.interop.onnx_files import make, node, run, save

IMAGE = ("N", 3, 8, 7)
F4 = np.float32


def ints(*values):
    return np.array(values, np.int64)


# name: (nodes, shape of x, constants, opset, the classes of the layers)
CASES = {
    "conv": ([node("Conv", "x w b", pads=[1, 1, 1, 1])], IMAGE, {"w": (4, 3, 3, 3), "b": (4,)}, 11, "Conv2d"),
    "conv, uneven": ([node("Conv", "x w", pads=[0, 1, 2, 3], strides=[2, 1])], IMAGE, {"w": (4, 3, 3, 2)}, 11, "Conv2d"),
    "conv, groups": ([node("Conv", "x w", group=3, dilations=[2, 1])], IMAGE, {"w": (6, 1, 3, 3)}, 11, "Conv2d"),
    "conv, upper": ([node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], IMAGE, {"w": (4, 3, 3, 3)}, 11, "Conv2d"),
    "conv, lower": ([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], IMAGE, {"w": (4, 3, 4, 3)}, 11, "Conv2d"),
    "conv, valid": ([node("Conv", "x w", auto_pad="VALID")], IMAGE, {"w": (4, 3, 3, 3)}, 11, "Conv2d"),
    "transposed": ([node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])], IMAGE, {"w": (3, 4, 3, 3), "b": (4,)}, 11, "ConvTranspose2d"),
    "transposed, uneven": ([node("ConvTranspose", "x w", strides=[2, 2], pads=[0, 1, 1, 0])], IMAGE, {"w": (3, 4, 3, 3)}, 11, "ConvTranspose2d ZeroPad2d"),
    "transposed, size": ([node("ConvTranspose", "x w", strides=[2, 2], output_shape=[16, 14])], IMAGE, {"w": (3, 4, 3, 3)}, 11, "ConvTranspose2d ZeroPad2d"),
    "max pool": ([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])], IMAGE, {}, 10, "MaxPool2d"),
    "max pool, ceil": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, dilations=[2, 1])], IMAGE, {}, 12, "MaxPool2d"),
    "max pool, upper": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")], IMAGE, {}, 12, "MaxPool2d"),
    "max pool, wide pads": ([node("MaxPool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1])], IMAGE, {}, 12, "MaxPool2d"),
    "max pool, whole window": ([node("MaxPool", "x", kernel_shape=[3, 3], pads=[2, 2, 2, 2])], IMAGE, {}, 12, "MaxPool2d"),
    "average": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[2, 2])], IMAGE, {}, 7, "AvgPool2d"),
    "average, counted": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 0, 1], count_include_pad=1)], IMAGE, {}, 11, "AvgPool2d"),
    "average, upper": ([node("AveragePool", "x", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])], IMAGE, {}, 11, "AvgPool2d"),
    "global": ([node("GlobalAveragePool", "x")], IMAGE, {}, 7, "AdaptiveAvgPool2d"),
    "global max": ([node("GlobalMaxPool", "x")], IMAGE, {}, 7, "AdaptiveMaxPool2d"),
    "mean": ([node("ReduceMean", "x", axes=[2, 3])], IMAGE, {}, 13, "AdaptiveAvgPool2d"),
    "mean, rows": ([node("ReduceMean", "x", axes=[-2], keepdims=0)], IMAGE, {}, 13, "AdaptiveAvgPool2d Flatten Unflatten"),
    "mean, input": ([node("ReduceMean", "x a", keepdims=0)], IMAGE, {"a": ints(-1, -2)}, 18, "AdaptiveAvgPool2d Flatten"),
    "max over": ([node("ReduceMax", "x", axes=[2, 3])], IMAGE, {}, 12, "AdaptiveMaxPool2d"),
    "batch norm": ([node("BatchNormalization", "x a b c d", epsilon=1e-3)], IMAGE, dict.fromkeys("abcd", (3,)), 9, "BatchNorm2d"),
    "batch norm, rows": ([node("BatchNormalization", "x a b c d")], ("N", 5), dict.fromkeys("abcd", (5,)), 15, "BatchNorm1d"),
    "instance norm": ([node("InstanceNormalization", "x a b")], IMAGE, dict.fromkeys("ab", (3,)), 7, "InstanceNorm2d"),
    "group norm": ([node("GroupNormalization", "x a b", num_groups=2)], ("N", 4, 3, 3), {"a": (4,), "b": (4,)}, 21, "GroupNorm"),
    "group norm, reshaped": (
        [node("Reshape", "x s", "r"), node("InstanceNormalization", "r one zero", "i"), node("Shape", "x", "t"), node("Reshape", "i t", "j"), node("Mul", "j a", "k"), node("Add", "k b")],
        ("N", 4, 3, 3), {"s": ints(0, 2, -1), "one": np.ones(2, F4), "zero": np.zeros(2, F4), "a": (4, 1, 1), "b": (4, 1, 1)}, 17, "GroupNorm",
    ),
    "layer norm": ([node("LayerNormalization", "x a b", axis=-1)], ("N", 5, 6), {"a": (6,), "b": (6,)}, 17, "LayerNorm"),
    "layer norm, written": (
        [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "d"), node("Pow", "d two", "q"), node("ReduceMean", "q", "v", axes=[-1]), node("Add", "v e", "w"), node("Sqrt", "w", "s"), node("Div", "d s", "n"), node("Mul", "n a", "o"), node("Add", "o b")],
        ("N", 5, 6), {"two": F4(2), "e": F4(1e-5), "a": (6,), "b": (6,)}, 13, "LayerNorm",
    ),
    "channel norm, written": (
        [node("ReduceMean", "x", "m", axes=[1]), node("Sub", "x m", "d"), node("Mul", "d d", "q"), node("ReduceMean", "q", "v", axes=[1]), node("Add", "v e", "w"), node("Sqrt", "w", "s"), node("Div", "d s")],
        IMAGE, {"e": F4(1e-6)}, 13, "Permute LayerNorm Permute",
    ),
    "lrn": ([node("LRN", "x", size=3, alpha=0.1, beta=0.5, bias=2.0)], IMAGE, {}, 13, "LocalResponseNorm"),
    "gemm": ([node("Gemm", "x w b", transB=1)], ("N", 5), {"w": (4, 5), "b": (4,)}, 9, "Linear"),
    "gemm, factors": ([node("Gemm", "x w b", alpha=0.5, beta=2.0)], ("N", 5), {"w": (5, 4), "b": (1, 4)}, 13, "Linear"),
    "matmul and add": ([node("MatMul", "x w", "m"), node("Add", "b m")], ("N", 5), {"w": (5, 4), "b": (4,)}, 9, "Linear"),
    "matmul of tokens": ([node("MatMul", "x w", "m"), node("Add", "m b")], ("N", 3, 5), {"w": (5, 4), "b": (4,)}, 13, "Linear"),
    "matmul on the left": ([node("MatMul", "w x")], ("N", 3, 5), {"w": (4, 3)}, 13, "Permute Linear Permute"),
    "scale of tokens": ([node("Mul", "x w")], ("N", 3, 5), {"w": (5,)}, 13, "Permute Affine Permute"),
    "softmax": ([node("Softmax", "x")], ("N", 5), {}, 9, "Softmax"),
    "softmax of images, old": ([node("Softmax", "x")], IMAGE, {}, 11, "Flatten Softmax Unflatten"),
    "softmax of images": ([node("Softmax", "x", axis=1)], IMAGE, {}, 13, "Softmax"),
    "log softmax": ([node("LogSoftmax", "x")], ("N", 5), {}, 13, "LogSoftmax"),
    "relu": ([node("Relu", "x")], IMAGE, {}, 7, "ReLU"),
    "clip, old": ([node("Clip", "x", min=0.0, max=6.0)], IMAGE, {}, 7, "ReLU6"),
    "clip": ([node("Clip", "x low high")], IMAGE, {"low": F4(-0.5), "high": F4(0.7)}, 13, "Hardtanh"),
    "clip, no upper bound": ([node("Clip", "x low")], IMAGE, {"low": F4(0)}, 11, "ReLU"),
    "clip, no lower bound": ([node("Clip", "x - high")], IMAGE, {"high": F4(0.5)}, 11, "Hardtanh"),
    "leaky": ([node("LeakyRelu", "x", alpha=0.2)], IMAGE, {}, 7, "LeakyReLU"),
    "prelu": ([node("PRelu", "x s")], IMAGE, {"s": (3, 1, 1)}, 9, "PReLU"),
    "elu": ([node("Elu", "x", alpha=0.7)], IMAGE, {}, 7, "ELU"),
    "celu": ([node("Celu", "x", alpha=0.7)], IMAGE, {}, 12, "CELU"),
    "selu": ([node("Selu", "x")], IMAGE, {}, 7, "SELU"),
    "selu, other constants": ([node("Selu", "x", alpha=2.0, gamma=3.0)], IMAGE, {}, 7, "ELU Affine"),
    "sigmoid": ([node("Sigmoid", "x")], IMAGE, {}, 7, "Sigmoid"),
    "tanh": ([node("Tanh", "x")], IMAGE, {}, 7, "Tanh"),
    "softplus": ([node("Softplus", "x")], IMAGE, {}, 7, "Softplus"),
    "softsign": ([node("Softsign", "x")], IMAGE, {}, 7, "Softsign"),
    "softsign, written": ([node("Abs", "x", "a"), node("Add", "a one", "b"), node("Div", "x b")], IMAGE, {"one": F4(1)}, 13, "Softsign"),
    "hard sigmoid": ([node("HardSigmoid", "x")], IMAGE, {}, 7, "Hardsigmoid"),
    "hard sigmoid, a sixth": ([node("HardSigmoid", "x", alpha=1 / 6)], IMAGE, {}, 7, "Hardsigmoid"),
    "hard swish": ([node("HardSwish", "x")], IMAGE, {}, 14, "Hardswish"),
    "hard swish, gated": ([node("HardSigmoid", "x", "h", alpha=1 / 6), node("Mul", "x h")], IMAGE, {}, 13, "Hardswish"),
    "hard swish, written": ([node("Add", "x three", "a"), node("Clip", "a zero six", "c"), node("Mul", "x c", "m"), node("Div", "m six")], IMAGE, {"three": F4(3), "zero": F4(0), "six": F4(6)}, 11, "Hardswish"),
    "hard sigmoid, written": ([node("Add", "x three", "a"), node("Clip", "a zero six", "c"), node("Div", "c six")], IMAGE, {"three": F4([3]), "zero": F4(0), "six": F4(6)}, 11, "Hardsigmoid"),
    "silu": ([node("Sigmoid", "x", "s"), node("Mul", "x s")], IMAGE, {}, 13, "SiLU"),
    "mish": ([node("Softplus", "x", "s"), node("Tanh", "s", "t"), node("Mul", "x t")], IMAGE, {}, 13, "Mish"),
    "mish, one node": ([node("Mish", "x")], IMAGE, {}, 18, "Mish"),
    "gelu": ([node("Gelu", "x", approximate="tanh")], IMAGE, {}, 20, "GELU"),
    "gelu, written": ([node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a"), node("Mul", "x a", "m"), node("Mul", "m half")], IMAGE, {"root": F4(math.sqrt(2)), "one": F4(1), "half": F4(0.5)}, 13, "GELU"),
    "gelu, half first": ([node("Mul", "x half", "h"), node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a"), node("Mul", "h a")], IMAGE, {"root": F4(math.sqrt(2)), "one": F4(1), "half": F4(0.5)}, 13, "GELU"),
    "affine": ([node("Mul", "x a", "m"), node("Add", "m b")], IMAGE, {"a": (3, 1, 1), "b": (1, 3, 1, 1)}, 7, "Affine"),
    "numbers": ([node("Sub", "one x", "s"), node("Div", "s two")], IMAGE, {"one": F4(1), "two": F4([2])}, 13, "Affine"),
    "bias of a convolution": ([node("Conv", "x w", "c"), node("Add", "c b")], IMAGE, {"w": (4, 3, 3, 3), "b": (1, 4, 1, 1)}, 13, "Conv2d"),
    "negative": ([node("Neg", "x")], IMAGE, {}, 13, "Affine"),
    "pad": ([node("Pad", "x p", mode="reflect")], IMAGE, {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}, 11, "ReflectionPad2d"),
    "pad, old": ([node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5)], IMAGE, {}, 10, "ConstantPad2d"),
    "pad, axes": ([node("Pad", "x p - a", mode="edge")], IMAGE, {"p": ints(1, 2), "a": ints(-1)}, 18, "ReplicationPad2d"),
    "crop": ([node("Slice", "x s e a")], IMAGE, {"s": ints(1, 2), "e": ints(2**40, -1), "a": ints(2, 3)}, 13, "ZeroPad2d"),
    "channels": ([node("Slice", "x", starts=[1], ends=[3], axes=[1])], IMAGE, {}, 9, "ChannelSlice"),
    "shuffle": ([node("Reshape", "x a", "r"), node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]), node("Reshape", "t b")], ("N", 6, 2, 2), {"a": ints(0, 3, 2, 2, 2), "b": ints(0, -1, 2, 2)}, 13, "ChannelShuffle"),
    "depth to space": ([node("DepthToSpace", "x", blocksize=2, mode="CRD")], ("N", 8, 2, 3), {}, 11, "PixelShuffle"),
    "depth to space, written": ([node("Reshape", "x a", "r"), node("Transpose", "r", "t", perm=[0, 1, 4, 2, 5, 3]), node("Reshape", "t b")], ("N", 8, 2, 3), {"a": ints(0, 2, 2, 2, 2, 3), "b": ints(0, 2, 4, 6)}, 13, "PixelShuffle"),
    "depth to space, DCR": ([node("DepthToSpace", "x", blocksize=2)], ("N", 8, 2, 3), {}, 11, "Unflatten Permute Flatten Unflatten"),
    "space to depth": ([node("SpaceToDepth", "x", blocksize=2)], ("N", 2, 4, 6), {}, 11, "Flatten Unflatten Permute Flatten Unflatten"),
    "nearest, old": ([node("Upsample", "x s", mode="nearest")], IMAGE, {"s": F4([1, 1, 2, 3])}, 9, "Upsample"),
    "nearest": ([node("Resize", "x - s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], IMAGE, {"s": F4([1, 1, 2, 2])}, 13, "Upsample"),
    "nearest, half pixel": ([node("Resize", "x - - z", mode="nearest")], (1, 3, 8, 7), {"z": ints(1, 3, 16, 21)}, 13, "Upsample"),
    "nearest, exact": ([node("Resize", "x - - z", mode="nearest", nearest_mode="round_prefer_ceil")], (1, 3, 8, 7), {"z": ints(1, 3, 11, 9)}, 13, "Upsample"),
    "bilinear, asymmetric": ([node("Resize", "x - s", mode="linear", coordinate_transformation_mode="asymmetric")], IMAGE, {"s": F4([1, 1, 2, 2])}, 13, "Upsample"),
    "bilinear, old": ([node("Upsample", "x s", mode="linear")], IMAGE, {"s": F4([1, 1, 2, 2])}, 9, "Upsample"),
    "bilinear, pytorch": ([node("Resize", "x - s", mode="linear", coordinate_transformation_mode="pytorch_half_pixel")], IMAGE, {"s": F4([1, 1, 1.5, 2])}, 13, "Upsample"),
    "bilinear": ([node("Resize", "x - - z", mode="linear", coordinate_transformation_mode="half_pixel")], (1, 3, 8, 7), {"z": ints(1, 3, 11, 9)}, 13, "Upsample"),
    "bilinear, corners": ([node("Resize", "x - s", mode="linear", coordinate_transformation_mode="align_corners")], IMAGE, {"s": F4([1, 1, 2, 2])}, 13, "Upsample"),
    "flatten": ([node("Flatten", "x")], IMAGE, {}, 9, "Flatten"),
    "squeeze": ([node("GlobalAveragePool", "x", "p"), node("Squeeze", "p", axes=[2, 3])], IMAGE, {}, 11, "AdaptiveAvgPool2d Flatten"),
    "unsqueeze": ([node("Unsqueeze", "x a", "u"), node("Unsqueeze", "u c")], ("N", 5), {"a": ints(2), "c": ints(-1)}, 13, "Unflatten"),
    "sizes of the input": (
        [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n", "u", axes=[0]), node("Concat", "u rest", "t", axis=0), node("Reshape", "x t")],
        IMAGE, {"zero": np.int64(0), "rest": ints(-1)}, 11, "Flatten",
    ),
    "fixed batch": ([node("Reshape", "x s")], (1, 3, 8, 7), {"s": ints(1, 168)}, 11, "Flatten"),
    "fixed batch, free rest": ([node("Reshape", "x s")], (1, 3, 8, 7), {"s": ints(1, -1)}, 11, "Flatten"),
    "dropout": ([node("Dropout", "x", "d"), node("Identity", "d", "i"), node("Relu", "i")], IMAGE, {}, 12, "ReLU"),
    "channels last": ([node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Transpose", "t", "u", perm=[0, 3, 1, 2]), node("Relu", "u")], IMAGE, {}, 12, "ReLU"),
    "constants": (
        [node("Constant", "", "c", value_floats=[1.0, 2.0, 3.0]), node("Unsqueeze", "c a", "d"), node("Mul", "x d")],
        IMAGE, {"a": ints(1, 2)}, 13, "Affine",
    ),
    "sum": ([node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("Add", "r x")], IMAGE, {"w": (3, 3, 3, 3)}, 13, "Residual"),
    "sum of three": ([node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Sum", "a b x")], IMAGE, {}, 13, "Sum"),
    "gate": ([node("GlobalAveragePool", "x", "p"), node("Sigmoid", "p", "s"), node("Mul", "s x")], IMAGE, {}, 13, "Product"),
    "concat": ([node("Relu", "x", "a"), node("Concat", "a x", axis=1)], IMAGE, {}, 11, "Concat"),
    "concat, rows": ([node("Relu", "x", "a"), node("Concat", "a x", axis=-1)], ("N", 5, 6), {}, 11, "Concat Permute"),
    "zeros": ([node("ConstantOfShape", "s", "z"), node("Concat", "x z", axis=1)], (1, 3, 8, 7), {"s": ints(1, 2, 8, 7)}, 11, "Conv2d"),
    "difference": ([node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Sub", "a b")], IMAGE, {}, 13, "Sum"),
    "square": ([node("Pow", "x two")], IMAGE, {"two": F4(2)}, 13, "Product"),
    "split": ([node("Split", "x", "a b", axis=1, split=[1, 2]), node("Relu", "a", "r"), node("Concat", "b r", axis=1)], IMAGE, {}, 11, "Concat"),
    "split, input": ([node("Split", "x s", "a b", axis=1), node("Relu", "a", "r"), node("Concat", "b r", axis=1)], IMAGE, {"s": ints(1, 2)}, 13, "Concat"),
    "shared": ([node("Relu", "x", "a"), node("Tanh", "a", "b"), node("Sigmoid", "a", "c"), node("Add", "b c", "d"), node("Add", "d b", "e"), node("Softsign", "e")], IMAGE, {}, 13, "ReLU Graph Softsign"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operator(name, tmp_path):
    nodes, shape, constants, opset, kinds = CASES[name]
    path = save(make(nodes, shape, constants, opset), tmp_path)
    model = load(path)
    assert " ".join(type(layer).__name__ for layer in model) == kinds
    x = np.random.default_rng(1).standard_normal([2 if n == "N" else n for n in shape]).astype(F4)
    (expected,) = run(path, x)
    found = model(x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert gradcheck(model.to(np.float64), x + 0.01) < 1e-6
