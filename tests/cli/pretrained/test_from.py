"""`cnn train FOLDER --from`: runs and files to start from."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn import zoo
from cnn.interop import onnx
from cnn.layers import (
    Dropout,
    Flatten,
    Linear,
    LogSoftmax,
    Softmax,
)
from cnn.sequential import Sequential
from tests.cli.example_files import config, history
from tests.cli.pretrained.small import FEW, bits, small_net
from tests.data.photos import CLASSES, make_photos


@pytest.mark.parametrize("which", ["run", "run/model.safetensors"])
def test_from_a_run_for_other_classes(run, no_plots, photos, which):
    settings = ("--image-size", 20, "--epochs", 1, "--augment", "none")
    assert run("train", photos, *settings, "--quiet", "--out", "run")[0] == 0
    make_photos("shapes", 18, np.random.default_rng(0))
    code, _, err = run("train", "shapes", "--from", which, "--fine-tune", 2, "--epochs", 3, "--out", "new")
    assert code == 0, err
    old, new = (Sequential.load(f"{name}/model.safetensors") for name in ("run", "new"))
    assert new.class_names == list(CLASSES)
    assert new.input_shape == old.input_shape == (3, 20, 20)
    kept = ("scale", "mean", "std", "fit", "size")
    assert [new.preprocessing[name] for name in kept] == [old.preprocessing[name] for name in kept]
    states = [net.state_dict() for net in (old, new)]
    assert states[0]["0.weight"].tobytes() == states[1]["0.weight"].tobytes()
    saved = config(Path("new"))
    assert saved["start"] == saved["model"] == str(Path(which).resolve())
    assert run("predict", "new", "shapes")[0] == 0
    code, _, err = run("train", "--resume", "new", "--fine-tune", 3)
    assert code == 0, err


def test_from_a_run_whose_head_reads_several_depths(run, no_plots, photos):
    """The new head reads the same; the same layers are the upper ones."""
    assert run("train", photos, *FEW, "--quiet", "--out", "run")[0] == 0
    make_photos("shapes", 18, np.random.default_rng(0))
    code, _, err = run("train", "shapes", "--from", "run", "--fine-tune", 2, "--epochs", 3, "--out", "new")
    assert code == 0, err
    old, new = (Sequential.load(f"{name}/model.safetensors") for name in ("run", "new"))
    assert (old[-2].out_features, new[-2].out_features) == (2, len(CLASSES))
    assert old[-2].in_features == new[-2].in_features == 8 + 16
    states = [net.state_dict() for net in (old, new)]
    same = [name for name in states[0] if name[0] in "0123" and bits(states[0], [name]) == bits(states[1], [name])]
    assert {name for name in same if name[0] != "3"} == {name for name in states[0] if name[0] in "012"}
    assert all("running" in name or "num_batches" in name for name in same if name[0] == "3")
    assert json.loads(run("evaluate", "new", "--json")[1])["accuracy"] == config(Path("new"))["validation_accuracy"]


@pytest.mark.parametrize("background", ["black", "white"])
def test_transparent_pixels_become_what_they_were_for_the_net(run, no_plots, photos, background):
    net = small_net()
    net.preprocessing |= {"background": background, "fit": "padded"}
    net.save("net.safetensors")
    for name, pixel in (("clear", (255, 255, 255, 0)), ("solid", (90, 90, 90, 255))):
        Path("icons", name).mkdir(parents=True)
        for i in range(8):
            image = Image.new("RGBA", (16, 16), (60 + i, 60, 60, 255))
            image.paste(pixel, (0, 0, 8, 16))
            image.save(Path("icons", name, f"{i}.png"))
    assert run("train", "icons", "--from", "net.safetensors", "--epochs", 2, "--quiet", "--out", "run")[0] == 0
    assert Sequential.load("run/model.safetensors").preprocessing["background"] == background


@pytest.mark.parametrize("says_how", [True, False])
def test_from_an_onnx_file(run, no_plots, photos, says_how):
    """The same as from the model that it was exported from; where nothing says how pixels are scaled, a line does."""
    pytest.importorskip("onnx")
    small = small_net().eval()
    net = Sequential([layer for layer in small if not isinstance(layer, Dropout)])  # which an ONNX file does not keep
    net.input_shape = small.input_shape
    if says_how:
        net.preprocessing = small.preprocessing
    net.save("net.safetensors")
    onnx.save(net, "net.onnx")
    for name in ("safetensors", "onnx"):
        code, _, err = run("train", photos, "--from", f"net.{name}", "--epochs", "4", "--out", name)
        assert code == 0, err
        assert ("pixels are scaled: they are divided by 255" in err) != says_how
    first, second = (history(Path(name)) for name in ("safetensors", "onnx"))
    assert [epoch["val_loss"] for epoch in first] == pytest.approx([epoch["val_loss"] for epoch in second], rel=1e-4)
    assert Sequential.load("onnx/model.safetensors").class_names == ["dark", "light"]


POOLED = ("GlobalAveragePool", "b", "p"), ("Flatten", "p", "f")


@pytest.mark.parametrize(
    ("shape", "last", "width", "sizes"),
    [
        (("N", 3, "H", "W"), POOLED, 4, (24, 32)),  # any size
        (("N", 3, "H", "W"), (("Flatten", "b", "f"),), 4 * 22 * 22, (24,)),  # one size, which the file does not say
        (("N", "C", "H", "W"), POOLED, 4, (24,)),
    ],
)
def test_from_an_onnx_file_that_leaves_the_size_open(run, no_plots, photos, shape, last, width, sizes):
    """The net takes the size that is given."""
    files = pytest.importorskip("onnx") and pytest.importorskip("tests.interop.onnx_files")
    rows = ("Conv", "x c", "a"), ("Relu", "a", "b"), *last, ("Gemm", "f w")
    weights = {"c": np.full((4, 3, 3, 3), 0.01, "f4"), "w": np.ones((width, 2), "f4")}
    files.save(files.make([files.node(*row) for row in rows], shape, weights), Path()).rename("net.onnx")
    code, _, err = run("train", photos, "--from", "net.onnx", "--epochs", 1)
    assert (code, "net.onnx leaves the size of its images open: give --image-size N, the side" in err) == (1, True)
    for size in sizes:
        out = f"run{size}"
        code, _, err = run("train", photos, "--from", "net.onnx", "--image-size", size, "--epochs", 1, "--out", out)
        assert code == 0, err
        assert f"12 images of 3 x {size} x {size}, 2 classes" in err
        assert Sequential.load(f"{out}/model.safetensors").input_shape == (3, size, size)
        assert config(Path(out))["image_size"] == size
        assert run("train", "--resume", out, "--epochs", 2)[0] == 0
    assert not Path("runs").exists()


@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_a_size_for_a_net_that_has_one(run, no_plots, photos, suffix):
    net = Sequential([Flatten(), Linear(3 * 16 * 16, 4), Softmax()])
    net.input_shape = (3, 16, 16)
    if suffix == "onnx":
        pytest.importorskip("onnx")
        onnx.save(net, "net.onnx")
    else:
        net.save("net.safetensors")
    code, _, err = run("train", photos, "--from", f"net.{suffix}", "--image-size", 32)
    assert (code, Path("runs").exists()) == (1, False)
    assert "--image-size 32 does not fit " in err
    assert f"net.{suffix}, which takes images of 3 x 16 x 16: omit it" in err


def test_from_a_net_for_grey_images(run, no_plots, photos):
    net = zoo.small_cnn()
    net.input_shape = (1, 28, 28)
    net.save("grey.safetensors")
    assert run("train", photos, "--from", "grey.safetensors", "--epochs", 2, "--quiet", "--out", "run")[0] == 0
    new = Sequential.load("run/model.safetensors")
    assert new.input_shape == (1, 28, 28)
    assert (new.preprocessing["colour"], new.preprocessing["fit"]) == ("grey", "padded")


def test_from_a_net_in_float64(run, no_plots, photos):
    """The new net is of float32, like all that are trained by the command."""
    net = small_net().to(np.float64)
    net.save("net.safetensors")
    assert run("train", photos, "--from", "net.safetensors", "--epochs", 2, "--quiet", "--out", "run")[0] == 0
    assert {array.dtype for array in Sequential.load("run/model.safetensors").state_dict().values()} == {
        np.dtype(np.float32),
        np.dtype(np.int64),
    }


def test_a_start_without_layers_to_train_before_the_head(run, no_plots, photos):
    """One Linear layer on pixels: the features are the inputs."""
    net = Sequential([Flatten(), Linear(3 * 8 * 8, 4), LogSoftmax()])
    net.input_shape = (3, 8, 8)
    net.save("linear.safetensors")
    for options in ((), ("--fine-tune", 1)):
        code, _, err = run("train", photos, "--from", "linear.safetensors", "--epochs", 2, *options)
        assert code == 0, err
