"""Random windows, paddings and sizes as ONNX files, run by onnxruntime."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn.interop.onnx import save
from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    ConstantPad2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    ReflectionPad2d,
    ReplicationPad2d,
    Upsample,
)
from cnn.utils.numeric import difference
from tests.conformance import draw
from tests.interop.runtimes import OnnxRuntime


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(data):
    groups = data(st.sampled_from([1, 2]))
    size, stride, dilation = data(pairs(1, 3)), data(pairs(1, 3)), data(pairs(1, 3))
    arguments = {"stride": stride, "dilation": dilation, "groups": groups, "bias": data(st.booleans()), "rng": 0}
    if data(st.booleans()):
        return Conv2d(2 * groups, 4, size, padding=data(pairs(0, 3)), **arguments), 2 * groups
    extra = tuple(data(st.integers(0, max(both) - 1)) for both in zip(stride, dilation, strict=True))
    return ConvTranspose2d(
        2 * groups, 4, size, padding=data(pairs(0, 2)), output_padding=extra, **arguments
    ), 2 * groups


@st.composite
def pools(data):
    size, stride, ceil_mode = data(pairs(1, 4)), data(pairs(1, 5)), data(st.booleans())
    padding = tuple(data(st.integers(0, k // 2)) for k in size)
    if data(st.booleans()):
        return MaxPool2d(size, stride, padding, data(pairs(1, 3)), ceil_mode), 2
    return AvgPool2d(size, stride, padding, ceil_mode, count_include_pad=data(st.booleans())), 2


@st.composite
def resizing(data):
    sizes = st.sampled_from([None, 1, 2, 3, 5, 9])
    scales = st.sampled_from([0.3, 1 / 3, 0.5, 2 / 3, 0.7, 1, 1.1, 1.5, 1.7, 2, 2.5, 3])
    kind = data(st.sampled_from([AdaptiveAvgPool2d, AdaptiveMaxPool2d, Upsample]))
    if kind is not Upsample:
        return kind((data(sizes), data(sizes))), 2
    mode = data(st.sampled_from(["nearest", "bilinear"]))
    corners = data(st.sampled_from([None, True])) if mode == "bilinear" else None
    if data(st.booleans()):
        return Upsample(size=data(pairs(1, 12)), mode=mode, align_corners=corners), 2
    return Upsample(scale_factor=(data(scales), data(scales)), mode=mode, align_corners=corners), 2


@st.composite
def pads(data):
    sides = tuple(data(st.integers(-2, 3)) for _ in range(4))
    kinds = [ReflectionPad2d, ReplicationPad2d, lambda sides: ConstantPad2d(sides, -1.5)]
    return data(st.sampled_from(kinds))(sides), 2


@settings(max_examples=200)
@given(layer=st.one_of(convolutions(), pools(), resizing(), pads()), image=pairs(1, 11))
def test_random_layers(tmp_path_factory, layer, image):
    layer, channels = layer
    shape = (channels, *image)
    try:
        layer(draw((2, *shape)))
    except ValueError:  # too small an image for this layer
        assume(False)
    path = tmp_path_factory.getbasetemp() / "window.onnx"
    save(layer, path, input_shape=shape)
    run = OnnxRuntime(path)
    for n in (1, 3):
        x = draw((n, *shape))
        y, found = layer(x), run(x)["output"]
        assert found.shape == y.shape
        assert difference(found, np.asarray(y)) <= 3e-5
