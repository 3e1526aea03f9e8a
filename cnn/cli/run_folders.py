"""Run folders: the folder that `cnn train` creates for each training, and the files in it."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

from cnn.core.files import parse_json, write_bytes
from cnn.core.text import printable, short_text

CONFIG, HISTORY, TIMES, MODEL = "config.json", "history.jsonl", "times.jsonl", "model.safetensors"
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions.csv"
CURVES, CONFUSION, MISTAKES, BOUNDARY = "curves.png", "confusion.png", "mistakes.png", "boundary.png"
SAMPLES = "samples.png"
IMAGES = "images.json"
RESULTS = (CONFIG, HISTORY, MODEL, CURVES, CONFUSION, MISTAKES, BOUNDARY, SAMPLES, PREDICTIONS, IMAGES)
RUNS = Path("runs")
INTEGER, NUMBER, STRING = (int, "an integer of at least 0"), ((int, float), "a number of at least 0"), (str, "a string")
SETTINGS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("data", "model", "recipe", "status", "group_by", "augment", "keep_best", "start"), STRING),
    **dict.fromkeys(("epochs", "batch_size", "seed", "image_size", "fine_tune"), INTEGER),
    **dict.fromkeys(("lr", "validation"), NUMBER),
    **{
        f"{part}_{name}": NUMBER
        for part in ("test", "validation")
        for name in ("accuracy", "balanced_accuracy", "loss")
    },
    **dict.fromkeys(("balance", "pretrained"), (bool, "true or false")),
}


def check_new(out: Path) -> None:
    """Raise an error if ``out`` exists: a run never writes into a folder that it did not create.

    Raises
    ------
    FileExistsError
        With the fix in the message.
    """
    if os.path.lexists(out):  # a dangling link counts as well
        raise FileExistsError(f"{out} exists already: give another --out, or omit --out for a new folder in runs")


def create(name: str, out: Path | None = None) -> Path:
    """Create the folder of a run: ``out``, or the first of runs/NAME-1, runs/NAME-2, ... that does not exist.

    Parameters
    ----------
    name : str
        The short name of the data set.
    out : Path, optional
        The folder to create, with its parents.

    Raises
    ------
    FileExistsError
        If ``out`` exists.
    """
    if out is not None:
        try:
            out.mkdir(parents=True)
        except FileExistsError:
            check_new(out)  # has the better message
            raise
        return out
    try:
        RUNS.mkdir(exist_ok=True)
    except FileExistsError:
        raise FileExistsError(f"{RUNS}, the folder of the runs, is a file: move it, or give --out FOLDER") from None
    except OSError as error:
        raise _suggest_out(error, RUNS) from error
    for number in itertools.count(1):
        folder = RUNS / f"{name}-{number}"
        try:
            folder.mkdir()  # fails if it exists, so two runs at the same time never share a folder
        except FileExistsError:
            continue
        except OSError as error:
            raise _suggest_out(error, folder) from error
        break
    return folder


def _suggest_out(error: OSError, folder: Path) -> OSError:
    return type(error)(error.errno, f"{error.strerror}; give --out FOLDER", str(folder))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json, completely or not at all."""
    write_bytes(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def append_epoch(folder: Path, epoch: int, metrics: dict[str, Any]) -> None:
    """Append a line to history.jsonl, and the duration of the epoch to times.jsonl.

    Each epoch is written at once, so that it is not lost if the next one fails. The durations have their own file, so
    that the same training gives the same history.jsonl.
    """
    for name, values in epoch_lines(epoch, metrics).items():
        path = folder / name
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise OSError(error.errno, f"could not append: {error.strerror}", str(path)) from error


def epoch_lines(epoch: int, metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the line of an epoch for each file: -> {file name: values}; nan becomes null."""
    known = {name: value if value == value else None for name, value in metrics.items()}
    seconds = known.pop("seconds")
    return {HISTORY: {"epoch": epoch, **known}, TIMES: {"epoch": epoch, "seconds": seconds}}


def rewrite_history(folder: Path, history: Any) -> None:
    """Cut history.jsonl and times.jsonl back to the epochs in the history of a resumed training."""
    texts = {HISTORY: "", TIMES: ""}
    for i in range(len(history)):
        for name, values in epoch_lines(i + 1, history.epoch(i)).items():
            texts[name] += json.dumps(values) + "\n"
    for name, text in texts.items():
        if text or (folder / name).exists():
            write_bytes(folder / name, text.encode())


def is_run_folder(folder: Path) -> bool:
    """Return whether `cnn train` created this folder."""
    return (folder / CONFIG).is_file() and ((folder / MODEL).is_file() or (folder / CHECKPOINTS).is_dir())


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run has a checkpoint from which it can continue."""
    return any((folder / CHECKPOINTS).glob("step-*"))


def has_results(folder: Path, config: dict[str, Any]) -> bool:
    """Return whether a run has completed an epoch or ended by itself: starting it anew would lose something."""
    history = folder / HISTORY
    is_over = config.get("status") not in ("running", "interrupted", "failed")
    return is_over or (history.is_file() and history.stat().st_size > 0)


def config_to_resume(folder: Path) -> dict[str, Any]:
    """Return the config.json of a run that can be resumed, or that was stopped before its first checkpoint.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is not a run folder, or a damaged one.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no run folder {folder} to resume: if its training was stopped before the first epoch began, "
            "nothing is saved yet, so run the same command again"
        )
    config = read_config(folder / MODEL)
    if "data" not in config:
        raise FileNotFoundError(f"{folder} is not a run folder: it has no {CONFIG} that names the training data")
    if not has_checkpoint(folder) and has_results(folder, config):
        raise FileNotFoundError(f"{folder} has no checkpoint to resume from: train again")
    return config


def read_config(model_file: Path) -> dict[str, Any]:
    """Return the config.json next to a model file, or an empty dict if there is none.

    Raises
    ------
    ValueError
        If config.json is damaged.
    """
    path = model_file.with_name(CONFIG)
    if model_file.name != MODEL or not path.is_file():
        return {}
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it does not contain a JSON object")
        for name in SETTINGS.keys() & config.keys():
            check_setting(name, config[name])
    except ValueError as error:  # JSON's and UTF-8's errors are ValueErrors
        raise ValueError(f"{printable(path)} is damaged: {error}") from None
    return config


def check_setting(name: str, value: Any) -> None:
    """Raise an error unless a setting in config.json is of the right type, and a number is not negative or huge."""
    kinds, expected = SETTINGS[name]
    always = ("data", "model", "epochs", "batch_size", "seed", "lr", "status")
    may_be_absent = name not in always and not name.startswith(("test_", "validation_"))
    is_bool = isinstance(value, bool)
    is_right = (value is None and may_be_absent) or (isinstance(value, kinds) and is_bool == (kinds is bool))
    if not is_right or (isinstance(value, (int, float)) and not 0 <= value < 2**63):
        raise ValueError(f"{name} must be {expected}, got {short_text(value)}")


def is_same_file(a: str | Path, b: str | Path) -> bool:
    """Return whether two paths lead to the same existing file or folder."""
    try:
        return Path(a).samefile(b)
    except OSError:
        return False
