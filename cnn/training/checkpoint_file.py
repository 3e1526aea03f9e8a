"""One checkpoint as a file: what it holds, and how it is written and read."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.files import read_tensors, write_tensors
from cnn.core.text import printable, short_text
from cnn.module import Array
from cnn.training import state as states
from cnn.training.content import check_state

FORMAT = 1
TIMES = "times.json"
STEPS = "step-{:08}.safetensors"


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the paths of the checkpoints in a folder, the latest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def times(run: Any) -> dict[str, Any]:
    """Return the times, which are never the same in two runs."""
    return {"seconds": run.history.seconds, "epoch so far": run.seconds}


def snapshot(run: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the current state of a training run: its arrays, and everything else in a form that JSON can hold."""
    arrays: dict[str, Array] = {f"model.{name}": t.data for name, t in run.model.named_tensors()}
    metrics = {name: values for name, values in vars(run.history).items() if name != "seconds"}
    state = {
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "input_shape": getattr(run.model, "input_shape", None),
        "stopped": run.stopped,
        "means": run.means.sums,
        "history": metrics,
        "optimizer": run.model.optimizer.state_dict(),
        "loader": run.loader.state_dict(),
        "frozen": states.frozen(run.model),
        "random": states.random_state(run.model),
        "callbacks": [
            [type(callback).__name__, callback.state_dict() if hasattr(callback, "state_dict") else None]
            for callback in run.callbacks
        ],
        "settings": [settings_text(callback) for callback in run.callbacks],
        "architecture": states.architecture(run.model),
        "loss": repr(run.loss_func or run.model.loss_func),
        "first": run.first,
        "data": run.data,
        "validation": run.validation,
        "evaluate_train": run.evaluate_train,
        "clip_norm": run.clip_norm,
        "transforms": transforms_text(run.loader),
        "environment": states.environment(),
    }
    return arrays, states.pack(state, arrays, "state")


def settings_text(callback: Any) -> str:
    """Return a callback with those of its settings that a resumed training run must have, or the name of its class."""
    text = getattr(callback, "settings_text", None)
    return str(text()) if callable(text) else type(callback).__name__


def transforms_text(loader: Any) -> list[str]:
    """Return the transforms as strings that are the same in every process."""
    return [getattr(t, "__qualname__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(t)) for t in loader.transforms]


def write(path: Path, arrays: dict[str, Array], description: dict[str, Any]) -> None:
    """Write one checkpoint atomically."""
    digest = checksum(arrays, description)
    write_tensors(path, arrays, {"checkpoint": FORMAT, "sha256": digest, "state": description})


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read one checkpoint: its arrays, and everything else as JSON holds it.

    Raises
    ------
    ValueError
        If it is damaged or not a checkpoint.
    """
    arrays, text = read_tensors(path)
    name = printable(path)
    if not isinstance(text, dict) or "checkpoint" not in text:
        raise ValueError(f"{name} is not a checkpoint")
    if text["checkpoint"] != FORMAT:
        version = short_text(text["checkpoint"])
        raise ValueError(f"{name} has format {version}, this version reads {FORMAT}: update the library")
    if not {"state", "sha256"} <= text.keys() or checksum(arrays, text["state"]) != text["sha256"]:
        raise ValueError(f"{name} is damaged: its checksum does not match")
    return arrays, text["state"]


def read_state(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read one checkpoint: its arrays, and its state as `snapshot` has it.

    Raises
    ------
    ValueError
        If it is damaged, not a checkpoint, or holds something that no checkpoint does; the message names the key.
    """
    arrays, description = read(path)
    try:
        state = states.unpack(description, arrays)
        check_state(state)
    except ValueError as error:
        raise ValueError(f"{printable(path)} is damaged or not of this library: {error}") from None
    return arrays, state


def checksum(arrays: dict[str, Array], description: dict[str, Any]) -> str:
    """Return the SHA-256 of the whole content of a checkpoint."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
