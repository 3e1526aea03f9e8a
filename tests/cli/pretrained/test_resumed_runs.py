"""Runs of `cnn train FOLDER --pretrained` and `--from` that are repeated, stopped and resumed."""

from pathlib import Path

import pytest

from cnn import training, zoo
from cnn.cli import datasets, features
from tests.cli.example_files import config, history
from tests.cli.pretrained.small import FEW, small_net


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
