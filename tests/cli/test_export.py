"""`cnn export`."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cnn.core.files import parse_json
from cnn.layers import Linear, Softmax
from cnn.sequential import Sequential
from cnn.zoo import trained


def outputs(path, x):
    from tests.interop.runtimes import OnnxRuntime

    run = OnnxRuntime(path)
    return run(x)["output"], run.session.get_modelmeta().custom_metadata_map


@pytest.mark.parity
def test_a_run_becomes_a_file_with_the_same_outputs(run, brightness_model):
    code, out, err = run("export", brightness_model, "light.onnx")
    assert (code, err) == (0, "")
    assert out == "light.onnx: 0.0 MB, takes batches of 1 x 8 x 8, inputs as in training\n"
    x = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    y, metadata = outputs("light.onnx", x)
    np.testing.assert_allclose(y, Sequential.load(brightness_model)(x), rtol=1e-5)
    assert {key: parse_json(value) for key, value in metadata.items()} == {"class_names": ["dark", "light"]}


@pytest.mark.parity
@pytest.mark.parametrize(
    "order", [("--model", "fashion", "a.onnx", "--preprocess"), ("a.onnx", "--preprocess", "--model=fashion")]
)
def test_the_model_that_comes_with_the_library_takes_pixels(run, order):
    code, out, err = run("export", *order, "--opset", "18")
    assert (code, err) == (0, "")
    assert out == "a.onnx: 1.2 MB, takes batches of 1 x 28 x 28, pixels of 0 to 255\n"
    model = trained.load("fashion").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), np.uint8)
    y, metadata = outputs("a.onnx", pixels.astype(np.float32))
    np.testing.assert_allclose(y, model(model.preprocess(pixels)), rtol=1e-4, atol=1e-6)
    assert parse_json(metadata["class_names"]) == model.class_names


@pytest.mark.parity
def test_an_old_file_is_replaced_only_by_a_complete_one(run, brightness_model, colour_model):
    Path("m.onnx").write_bytes(b"old")
    assert run("export", brightness_model, "m.onnx")[0] == 0
    first = Path("m.onnx").read_bytes()
    code, out, err = run("export", brightness_model, "nowhere/m.onnx")
    assert (code, out) == (1, "")
    assert "could not write nowhere/m.onnx: there is no folder nowhere; create it first" in err
    assert run("export", colour_model, "m.onnx")[0] == 0
    assert Path("m.onnx").read_bytes() not in (b"old", first)


def test_a_model_without_an_input_shape(run):
    Sequential([Linear(2, 3), Softmax()]).save("m.safetensors")
    code, out, err = run("export", "m.safetensors", "m.onnx")
    assert (code, out) == (1, "")
    assert "m.safetensors does not contain the shape of its inputs: set model.input_shape" in err


@pytest.mark.parity
def test_pixels_for_a_model_of_points(run):
    model = Sequential([Linear(2, 3), Softmax()])
    model.input_shape = (2,)
    model.save("m.safetensors")
    code, _, err = run("export", "m.safetensors", "m.onnx", "--preprocess")
    assert code == 1
    assert "preprocess=True scales the pixels of images, but inputs have shape (2,): leave it out" in err
    assert not Path("m.onnx").exists()


def test_without_the_package_onnx(run, monkeypatch, brightness_model):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, out, err = run("export", brightness_model, "m.onnx")
    assert (code, out) == (1, "")
    assert err == 'error: ONNX files need the package onnx: pip install "cnn[onnx]"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "the following arguments are required: FILE.onnx"),
        (["run", "m.txt"], "argument FILE.onnx: expected a name that ends in .onnx, got 'm.txt'"),
        (["run", "m.onnx", "--opset", "16"], "argument --opset: expected an integer of at least 17, got '16'"),
        (["run", "m.onnx", "--opset", "23"], "argument --opset: expected an integer of at most 22, got '23'"),
        (["run", "m.onnx", "--pre"], "unknown option --pre: did you mean --preprocess?"),
    ],
)
def test_wrong_usage(run, arguments, message):
    code, out, err = run("export", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"cnn export: error: {message}\n")
    assert err.endswith("try: cnn export --help\n")
