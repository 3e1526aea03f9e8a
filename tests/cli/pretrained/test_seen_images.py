"""Images that the net of `cnn train FOLDER --from` was trained on."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.example_files import config
from tests.cli.pretrained.small import small_net
from tests.cli.test_folder import shades

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
