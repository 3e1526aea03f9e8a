"""Help, version, wrong usage, and error messages."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import cnn
import cnn.data
from cnn.cli import datasets, summary
from cnn.cli.datasets import load
from cnn.cli.main import COMMANDS, main
from cnn.core.interrupts import Interrupted


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert f"\nexample:\n  cnn {command} " in out
    assert "--debug" in out
    assert max(map(len, out.splitlines())) <= 120


def test_the_main_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(re.search(rf"^    {command} +\w", out, re.MULTILINE) for command in COMMANDS)
    assert "example, from training to the class of a photo" in out


def test_version(run):
    assert run("--version") == (0, f"cnn {cnn.__version__}\n", "")


def test_version_and_help_import_nothing_slow():
    code = (
        "import sys; from cnn.cli.main import main; main(['--version']); main(['train', '--help']); "
        "slow = {'matplotlib', 'rich', 'PIL', 'pooch', 'requests', 'safetensors', 'onnx'}; "
        "print(sorted(slow & set(sys.modules)))"
    )
    folder = Path(cnn.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required: COMMAND"),
        (
            ["trian"],
            "unknown command 'trian': did you mean 'train'? Known: bench, data, evaluate, explore, export, predict, summary, train",
        ),
        (["--debug", "eval"], "unknown command 'eval': did you mean 'evaluate'?"),
        (["train"], "give the data to train on: fashion-mnist, mnist, spiral or a folder of images"),
        (["train", "fashion_mnist"], "unknown data set 'fashion_mnist': did you mean 'fashion-mnist'?"),
        (["train", "sprial"], "did you mean 'spiral'? Known: fashion-mnist, mnist, spiral"),
        (
            ["train", "mnist", "--model", "small_cnn"],
            "argument --model: unknown model 'small_cnn': did you mean 'small-cnn'?",
        ),
        (["train", "spiral", "--model", "small-cnn"], "takes images, but spiral has points: use --model mlp"),
        (["train", "mnist", "--epochs", "0"], "argument --epochs: expected an integer of at least 1, got '0'"),
        (["train", "mnist", "--epochs", "2.5"], "argument --epochs: expected an integer of at least 1, got '2.5'"),
        (["train", "mnist", "--batch-size", "-3"], "argument --batch-size: expected an integer of at least 1"),
        (
            ["train", "mnist", "--lr", "-0.1"],
            "argument --lr: expected a number of at least 0, such as 0.001, got '-0.1'",
        ),
        (["train", "mnist", "--lr", "nan"], "argument --lr: expected a number"),
        (["train", "mnist", "--lr", "fast"], "argument --lr: expected a number"),
        (["train", "mnist", "--seed", "-1"], "argument --seed: expected an integer of at least 0, got '-1'"),
        (["train", ""], "the name of the data is empty: give fashion-mnist, mnist, spiral, a folder, or ."),
        (["predict", "x", ""], "argument IMAGE: the name is empty: write . for the current folder"),
        (["evaluate", "x", "--data", ""], "the name of the data is empty"),
        (["evaluate"], "arguments are required: RUN"),
        (["evaluate", "x", "--data", "cifar"], "argument --data: unknown data set 'cifar'"),
        (["predict", "x"], "arguments are required: IMAGE"),
        (["predict", "x", "y", "--top", "0"], "argument --top: expected an integer of at least 1"),
        (["predict", "x", "y", "--invert", "maybe"], "argument --invert: invalid choice: 'maybe'"),
        (
            ["predict", "x", "y", "--show-input", "z.jpg"],
            "--show-input: expected a name that ends in .png, got 'z.jpg'",
        ),
        (["data", "emnist"], "unknown data set 'emnist': did you mean 'mnist'?"),
    ],
)
def test_wrong_usage(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert re.search(r"^try: cnn.* --help$", err.splitlines()[-1])
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "spiral", "--batchsize", "3"], "unknown option --batchsize: did you mean --batch-size?"),
        (["train", "--batchsize", "3", "spiral"], "unknown option --batchsize: did you mean --batch-size?"),
        (["train", "spiral", "--batchsize=3"], "unknown option --batchsize: did you mean --batch-size?"),
        (["train", "spiral", "--epoch", "2"], "unknown option --epoch: did you mean --epochs?"),
        (["train", "mnist", "--sede", "1"], "unknown option --sede: did you mean --seed?"),
        (["train", "spiral", "epochs", "3"], "unexpected argument 'epochs': did you mean --epochs?"),
        (["train", "spiral", "2"], "unexpected argument '2'"),
        (["--debug", "train", "spiral", "-q"], "unknown option -q"),
        (["predict", "x", "y", "--show", "z.png"], "unknown option --show: did you mean --show-input?"),
    ],
)
def test_unknown_options_and_arguments(run, arguments, message):
    code, out, err = run(*arguments)
    command = next(word for word in arguments if not word.startswith("-"))
    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert lines[0] == f"cnn {command}: error: {message}"
    assert lines[1].startswith(f"usage: cnn {command} [-h]")
    assert lines[-1] == f"try: cnn {command} --help"
    assert not Path("runs").exists()


def test_an_unknown_option_before_the_command(run):
    code, _, err = run("--verion", "train")
    assert code == 2
    assert err.startswith("cnn: error: unknown option --verion: did you mean --version?\nusage: cnn [-h]")


def test_help_wins_over_later_errors(run):
    assert run("train", "--help", "--batchsize", "3")[0] == 0


def test_words_after_two_dashes_are_not_options(run):
    assert "there is no --x" in run("summary", "--", "--x")[2]


def test_the_examples_of_help_promise_no_metrics(run):
    for command in ("evaluate", "predict"):
        assert not re.search(r"0\.\d{4}|\d\d\.\d %", run(command, "--help")[1])


def test_quiet_means_no_warnings_either(run, monkeypatch, no_plots):
    def load_with_warning(*_, **__):
        warnings.warn("w", stacklevel=1)
        return load("spiral", 0)

    monkeypatch.setattr(datasets, "load", load_with_warning)
    arguments = ("train", "spiral", "--epochs", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*arguments, "--quiet") == (0, "", "")
        assert run(*arguments)[2].startswith("warning: w\n")


def test_show_input_never_overwrites_an_image(run, tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    code, _, err = run("predict", "x", "a.png", "--show-input", tmp_path / "a.png")
    assert code == 2
    assert "is one of the images to read: give another name" in err
    assert (tmp_path / "a.png").read_bytes() == b"mine"


def failing(error):
    def function(args):
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("too large: use 2"), "error: too large: use 2\n"),
        (PermissionError(13, "Permission denied", "runs"), "error: runs: Permission denied\n"),
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
        (cnn.data.DataError("no mirror"), "error: no mirror\n"),
        (MemoryError(), "error: there is not enough memory; a smaller --batch-size needs less\n"),
        (KeyError("x"), "error: KeyError: 'x'. This is a bug in cnn; --debug shows where\n"),
    ],
)
def test_error_messages(run, monkeypatch, error, message):
    monkeypatch.setattr(summary, "run", failing(error))
    assert run("summary", "x") == (1, "", message)


@pytest.mark.parametrize("arguments", [["--debug", "summary", "x"], ["summary", "--debug", "x"]])
def test_debug_shows_the_traceback(run, monkeypatch, arguments):
    monkeypatch.setattr(summary, "run", failing(ValueError("odd")))
    code, _, err = run(*arguments)
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("error: odd\n")


def test_ctrl_c_outside_training(run, monkeypatch):
    monkeypatch.setattr(summary, "run", failing(KeyboardInterrupt()))
    assert run("summary", "x") == (130, "", "interrupted\n")
    monkeypatch.setattr(summary, "run", failing(Interrupted(15)))
    assert run("summary", "x") == (143, "", "interrupted\n")


def test_warnings_are_one_line(run, monkeypatch):
    def function(args):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("a damaged copy was skipped", cnn.data.DataWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(summary, "run", function)
    assert run("summary", "x") == (0, "", "warning: a damaged copy was skipped\n")


def test_the_arguments_of_the_process_are_the_default(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cnn", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("cnn ")
