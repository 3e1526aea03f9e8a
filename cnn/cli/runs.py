"""Run folders: what `cnn train` leaves, and how the other commands find the model in it."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

from cnn.core.files import write_bytes

CONFIG, HISTORY, TIMES, MODEL = "config.json", "history.jsonl", "times.jsonl", "model.safetensors"
CHECKPOINTS = "checkpoints"
CURVES, CONFUSION, MISTAKES, BOUNDARY = "curves.png", "confusion.png", "mistakes.png", "boundary.png"
RUNS = Path("runs")


def refuse_existing(out: Path) -> None:
    """Raise an error if ``out`` is there already: a run never writes into what it did not make.

    Raises
    ------
    FileExistsError
        With the fix in the message.
    """
    if os.path.lexists(out):  # a dangling link is in the way as well
        raise FileExistsError(f"{out} exists already: give another --out, or omit --out for a new folder in runs")


def create(name: str, out: Path | None = None) -> Path:
    """Make the folder for a run: ``out``, or the first of runs/NAME-1, runs/NAME-2, ... that is free.

    Parameters
    ----------
    name : str
        What is trained on.
    out : Path, optional
        The folder wanted; its parents are made too.

    Raises
    ------
    FileExistsError
        If ``out`` is there already.
    """
    if out is not None:
        try:
            out.mkdir(parents=True)
        except FileExistsError:
            refuse_existing(out)  # says it better
            raise
        return out
    try:
        RUNS.mkdir(exist_ok=True)
    except FileExistsError:
        raise FileExistsError(f"{RUNS}, where the run folder goes, is a file: move it, or give --out FOLDER") from None
    except OSError as error:
        raise _elsewhere(error, RUNS) from error
    for number in itertools.count(1):
        folder = RUNS / f"{name}-{number}"
        try:
            folder.mkdir()  # fails if it is there, so two runs at once never share a folder
        except FileExistsError:
            continue
        except OSError as error:
            raise _elsewhere(error, folder) from error
        break
    return folder


def _elsewhere(error: OSError, folder: Path) -> OSError:
    return type(error)(error.errno, f"{error.strerror}; give --out FOLDER", str(folder))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json, whole or not at all."""
    write_bytes(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def append_epoch(folder: Path, epoch: int, metrics: dict[str, Any]) -> None:
    """Append a line to history.jsonl at once, so that it is there whatever happens in the next epoch; and the time that
    the epoch took to times.jsonl, so that the same training gives the same history.
    """
    for name, values in lines(epoch, metrics).items():
        path = folder / name
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise OSError(error.errno, f"could not append: {error.strerror}", str(path)) from error


def lines(epoch: int, metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what goes into each file about an epoch; what is nan is null there."""
    known = {name: value if value == value else None for name, value in metrics.items()}
    seconds = known.pop("seconds")
    return {HISTORY: {"epoch": epoch, **known}, TIMES: {"epoch": epoch, "seconds": seconds}}


def rewrite_history(folder: Path, history: Any) -> None:
    """Cut the files about epochs back to those that a resumed training has."""
    texts = {HISTORY: "", TIMES: ""}
    for i in range(len(history)):
        for name, values in lines(i + 1, history.epoch(i)).items():
            texts[name] += json.dumps(values) + "\n"
    for name, text in texts.items():
        if text or (folder / name).exists():
            write_bytes(folder / name, text.encode())


def is_run(folder: Path) -> bool:
    """Tell whether `cnn train` made this folder."""
    return (folder / CONFIG).is_file() and ((folder / MODEL).is_file() or (folder / CHECKPOINTS).is_dir())


def is_model(name: str) -> bool:
    """Tell whether a name is of a run folder or a model file."""
    path = Path(name)
    return path.suffix == ".safetensors" or is_run(path)


def to_resume(folder: Path) -> dict[str, Any]:
    """Return the config.json of a run that can go on.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is no run folder, or a damaged one.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder} to resume")
    config = read_config(folder / MODEL)
    if is_run(folder) and not any((folder / CHECKPOINTS).glob("step-*")):
        raise FileNotFoundError(f"{folder} has no checkpoint to go on from: train again")
    if "data" not in config:
        raise FileNotFoundError(f"{folder} is not a run folder: it has no {CONFIG} that says what was trained on")
    return config


def find_model(run: str | Path) -> Path:
    """Return the model file of RUN, which is a run folder or a .safetensors file.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is neither; the message says what is missing.
    """
    path = Path(run)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(f"{path} is neither a run folder nor a .safetensors file")
        return path
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no {path}: expected a run folder, as `cnn train` leaves it, or a .safetensors file"
        )
    if (path / MODEL).is_file():
        return path / MODEL
    within = sorted(child.name for child in path.iterdir() if (child / MODEL).is_file())
    if within:
        raise ValueError(
            f"{path} is not a run folder but contains some: {_few(within)}. Name one, as {path / within[-1]}"
        )
    if (path / CONFIG).is_file():
        raise FileNotFoundError(f"{path} has no {MODEL}: its training stopped before a model was saved. Train again")
    held = _few(sorted(child.name for child in path.iterdir())) or "nothing"
    raise FileNotFoundError(f"{path} is not a run folder: {MODEL} and {CONFIG} are missing (it holds {held})")


def read_config(model_file: Path) -> dict[str, Any]:
    """Return the config.json beside a model file, or an empty dict if it has none.

    Raises
    ------
    ValueError
        If config.json is damaged.
    """
    path = model_file.with_name(CONFIG)
    if model_file.name != MODEL or not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it does not hold an object")
    except ValueError as error:  # JSON's and UTF-8's errors are ValueErrors
        raise ValueError(f"{path} is damaged: {error}") from None
    return config


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
