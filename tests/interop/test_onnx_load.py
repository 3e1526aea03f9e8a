"""What one does with a model from an ONNX file: train it, save it, read its names and its metadata."""

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import helper

from cnn import Graph, Sequential
from cnn.interop.onnx import load
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from tests.interop.onnx_files import make, node, run, save

CLASSIFIER = [
    node("Conv", "x stem.weight", "a", pads=[1, 1, 1, 1]),
    node("Relu", "a", "b"),
    node("Conv", "b body.0.weight", "c", pads=[1, 1, 1, 1]),
    node("Add", "b c", "d"),
    node("GlobalAveragePool", "d", "e"),
    node("Flatten", "e", "f"),
    node("Gemm", "f head.weight head.bias", "g", transB=1),
    node("Softmax", "g"),
]
CONSTANTS = {"stem.weight": (4, 1, 3, 3), "body.0.weight": (4, 4, 3, 3), "head.weight": (2, 4), "head.bias": (2,)}


def classifier(**metadata):
    model = make(CLASSIFIER, ("N", 1, 6, 6), CONSTANTS)
    helper.set_model_props(model, metadata)
    return model


def data():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=40)
    return (rng.standard_normal((40, 1, 6, 6)) * (1 + y)[:, None, None, None]).astype("f4"), y


def test_it_trains(tmp_path):
    model = load(save(classifier(), tmp_path))
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=0.02)
    x, y = data()
    before = model.evaluate(x, y)[0]
    model.fit(x, y, epochs=5, batch_size=8, rng=0, verbose_freq=0)
    assert model.evaluate(x, y)[0] < 0.9 * before


def test_it_is_saved_and_read_again(tmp_path):
    model = load(save(classifier(), tmp_path))
    x, _ = data()
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors").eval()
    assert repr(again) == repr(model)
    assert again.input_shape == (1, 6, 6)
    np.testing.assert_array_equal(again(x), model(x))


def test_metadata(tmp_path):
    settings = {"scale": 1 / 255, "mean": 0.5, "std": 0.25}
    model = load(save(classifier(class_names='["cat", "dog"]', preprocessing=json.dumps(settings)), tmp_path))
    assert model.class_names == ["cat", "dog"]
    assert model.preprocessing == settings


@pytest.mark.parametrize("text", ['["one"]', "no JSON", "[" * 10_000, '{"a": 1}', "3"])
def test_other_metadata_are_left_out(text, tmp_path):
    assert load(save(classifier(class_names=text), tmp_path)).class_names is None


def test_names_of_a_graph(tmp_path):
    """Nodes are named after their weights, or after the nodes of the file."""
    model = load(
        save(make([*CLASSIFIER[:4], node("Relu", "c", "y")], ("N", 1, 6, 6), CONSTANTS, outputs="d y"), tmp_path)
    )
    assert isinstance(model, Graph)
    assert list(model.children()) == ["stem", "b_Relu", "body_0", "d_Add", "y_Relu"]
    assert list(model.state_dict()) == ["stem.weight", "body_0.weight"]
    assert model.outputs == ["d_Add", "y_Relu"]


def test_numbers_that_are_no_weights_are_frozen(tmp_path):
    nodes = [node("Mul", "x two", "m"), node("Conv", "m w")]
    path = save(make(nodes, ("N", 1, 6, 6), {"two": np.float32(2), "w": (2, 1, 3, 3)}), tmp_path)
    model = load(path)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True]


def test_the_package_onnx_is_not_needed(tmp_path):
    path = save(classifier(), tmp_path)
    code = f"import sys; sys.modules['onnx'] = None; from cnn.interop.onnx import load; print(len(load({str(path)!r})))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "7\n"


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 5)])
def test_open_sizes(tmp_path, size):
    """Padding that depends on the size of the images is worked out for each."""
    pytest.importorskip("onnxruntime")
    nodes = [
        node("Conv", "x w", "a", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("MaxPool", "a", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    ]
    path = save(make(nodes, ("N", 1, "H", "W"), {"w": (2, 1, 3, 3)}), tmp_path)
    model = load(path)
    assert model.input_shape is None
    x = np.random.default_rng(0).standard_normal((2, 1, *size)).astype("f4")
    np.testing.assert_allclose(model(x), run(path, x)[0], rtol=1e-5)


def test_a_division_by_zero_is_infinite_without_a_warning(tmp_path):
    path = save(make([node("Div", "x zero")], ("N", 3, 8, 8), {"zero": np.float32(0)}), tmp_path)
    model = load(path)
    with np.errstate(all="ignore"):
        assert np.isposinf(model(np.ones((1, 3, 8, 8), "f4"))).all()


def open_sizes(kind):
    """A file that leaves height and width open, with layers that exporters write as shapes of several axes."""
    size = [node("Shape", "x", "s"), node("Gather", "s two", "h"), node("Gather", "s three", "w")]
    if kind == "ChannelShuffle":
        nodes = [*size, node("Concat", "zero g c h w", "five", axis=0), node("Reshape", "x five", "r")]
        nodes += [node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]), node("Reshape", "t s")]
    else:
        nodes = [*size, node("Reshape", "x rows", "r"), node("InstanceNormalization", "r one nil", "n")]
        nodes.append(node("Reshape", "n s"))
    constants = {"two": [2], "three": [3], "zero": [0], "g": [2], "c": [3], "rows": [0, 2, -1]}
    constants = {name: np.array(value) for name, value in constants.items()}
    return make(nodes, ("N", 6, "H", "W"), constants | {"one": np.ones(2, "f4"), "nil": np.zeros(2, "f4")})


@pytest.mark.parametrize("kind", ["ChannelShuffle", "GroupNorm"])
def test_shapes_that_follow_the_image_leave_its_size_open(kind, tmp_path):
    path = save(open_sizes(kind), tmp_path)
    model = load(path)
    assert [type(layer).__name__ for layer in model] == [kind]
    for size in ((8, 8), (5, 9)):
        x = np.random.default_rng(0).standard_normal((2, 6, *size), np.float32)
        assert np.abs(model(x) - run(path, x)[0]).max() < 1e-5
