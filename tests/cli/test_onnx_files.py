"""`cnn summary`, `predict` and `evaluate` with an .onnx file instead of a run."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import helper

from tests.cli.example_files import write_image
from tests.interop.onnx_files import make, node

NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def write(name, softmax=True, shape=("N", 1, 28, 28), **metadata):
    """A linear classifier, whose weights are the positions of the squares in the made-up data."""
    weight = np.zeros((10, 1, 28, 28), "f4")
    for k in range(10):
        weight[k, 0, 2 + 12 * (k // 5) : 12 + 12 * (k // 5), 5 * (k % 5) : 5 * (k % 5) + 6] = 1
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w", "g" if softmax else "y", transB=1)]
    model = make([*nodes, *([node("Softmax", "g")] if softmax else [])], shape, {"w": weight.reshape(10, -1)})
    helper.set_model_props(model, metadata)
    onnx.save(model, name)


def test_summary(run):
    write("net.onnx", class_names=json.dumps(NAMES))
    code, out, err = run("summary", "net.onnx")
    assert (code, err) == (0, "")
    assert out.startswith("net.onnx\n")
    assert "classes: T-shirt/top, Trouser," in out
    assert "Linear" in out
    assert "7,840" in out


@pytest.mark.parametrize("softmax", [True, False])
def test_predict_and_evaluate(run, data, softmax):
    write("net.onnx", softmax=softmax, class_names=json.dumps(NAMES))
    facts = json.loads(run("evaluate", "net.onnx", "--data", "fashion-mnist", "--json")[1])
    assert facts["accuracy"] > 0.9
    write_image("a.png")
    code, out, _ = run("predict", "net.onnx", "a.png", "--top", "10")
    assert code == 0
    assert [name in out for name in NAMES] == [True] * 10


def test_files_that_no_command_can_use(run):
    write("open.onnx", shape=("N", 1, "H", 28))
    assert "cnn.interop.onnx.load(path, input_shape=(1, 28, 28))" in run("summary", "open.onnx")[2]
    Path("cut.onnx").write_bytes(b"\x08\x08")
    code, _, err = run("predict", "cut.onnx", "a.png")
    assert code == 1
    assert err.startswith("error: cut.onnx: it is empty, cut short or no ONNX file")
    nodes = [node("Relu", "x", "a"), node("Tanh", "x", "b")]
    onnx.save(make(nodes, ("N", 1, 28, 28), outputs="a b"), "two.onnx")
    assert "two.onnx has 2 outputs" in run("summary", "two.onnx")[2]
    onnx.save(make([node("Relu", "x")], ("N", 1, "H", "W")), "sizes.onnx")
    assert "sizes.onnx leaves the size of its images open" in run("summary", "sizes.onnx")[2]
