"""Logs: no line is lost or written twice, and no other file is changed."""

import csv
import errno
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.training.logs import CSVLog, EpochLog, JSONLinesLog

NAMES = {CSVLog: "log.csv", JSONLinesLog: "log.jsonl"}
both = pytest.mark.parametrize("kind", list(NAMES))


def at(epoch, step=2, **metrics):
    """Return a step of a training run with two steps per epoch; the second has metrics."""
    measured = {
        "train_loss": 1 / (3 * epoch),
        "train_accuracy": 0.1 * epoch,
        "val_loss": 2.0**-epoch,
        "val_accuracy": math.nan,
        "seconds": 10.0 + epoch,
        **metrics,
    }
    return SimpleNamespace(epoch=epoch, step=step, metrics=measured if step == 2 else None)


def write(log, first, last):
    for epoch in range(first, last + 1):
        log(at(epoch, 1))
        log(at(epoch, 2))


def disk_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def uninterrupted(kind, folder, epochs):
    log = kind(folder / f"uninterrupted-{NAMES[kind]}")
    write(log, 1, epochs)
    return log.path.read_bytes()


def test_csv_has_full_precision_and_empty_fields_for_nan(tmp_path):
    log = CSVLog(tmp_path / "log.csv")
    log(at(1, 1))
    assert log.path.read_bytes() == b"epoch,train_loss,train_accuracy,val_loss,val_accuracy\n"
    log(at(1, 2, train_loss=0.1 + 0.2, val_loss=math.inf))
    with log.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1"]
    assert float(rows[0]["train_loss"]) == 0.1 + 0.2
    assert float(rows[0]["val_loss"]) == math.inf
    assert rows[0]["val_accuracy"] == ""
    assert b"\r" not in log.path.read_bytes()


def test_json_is_strict(tmp_path):
    log = JSONLinesLog(tmp_path / "log.jsonl")
    log(at(1, train_loss=0.1 + 0.2, val_loss=math.inf, lr=0.5))

    def reject(name):
        raise AssertionError(f"{name} is not valid JSON")

    lines = log.path.read_text().splitlines()
    assert [json.loads(line, parse_constant=reject) for line in lines] == [
        {"epoch": 1, "train_loss": 0.1 + 0.2, "train_accuracy": 0.1, "val_loss": None, "val_accuracy": None, "lr": 0.5}
    ]


@both
def test_seconds_only_if_asked_for(kind, tmp_path):
    write(kind(tmp_path / "without"), 1, 1)
    write(kind(tmp_path / "with", seconds=True), 1, 1)
    assert "11.0" not in (tmp_path / "without").read_text()
    assert "seconds" not in (tmp_path / "without").read_text()
    assert "11.0" in (tmp_path / "with").read_text()


@both
def test_a_line_is_on_disk_even_if_the_process_dies_at_once(kind, tmp_path):
    code = (
        "import os, sys, types\n"
        f"from cnn.training.logs import {kind.__name__} as Log\n"
        "log = Log(sys.argv[1])\n"
        "log(types.SimpleNamespace(epoch=1, step=1, metrics={'train_loss': 0.5}))\n"
        "os._exit(9)\n"
    )
    path = tmp_path / NAMES[kind]
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60).returncode == 9
    assert "0.5" in path.read_text().splitlines()[-1]


@both
def test_interrupted_after_any_step_the_final_file_is_the_same(kind, tmp_path):
    """Even if the file has lines from after the checkpoint, as after a kill."""
    expected = uninterrupted(kind, tmp_path, 4)
    steps = [at(epoch, step) for epoch in range(1, 5) for step in (1, 2)]
    for kept in range(len(steps) + 1):
        for killed in range(kept, len(steps) + 1):
            path = tmp_path / f"{kept}-{killed}-{NAMES[kind]}"
            log = kind(path)
            for step in steps[:kept]:
                log(step)
            state = json.loads(json.dumps(log.state_dict()))
            for step in steps[kept:killed]:
                log(step)
            resumed = kind(path)
            resumed.load_state_dict(state)
            assert resumed.state_dict() == state
            for step in steps[kept:]:
                resumed(step)
            assert path.read_bytes() == expected


@settings(max_examples=25)  # each line is synced to disk
@given(st.sampled_from(list(NAMES)), st.integers(0, 4), st.integers(0, 10**6))
def test_a_truncated_file_is_repaired(kind, kept, torn):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = kind(folder / NAMES[kind])
        write(log, 1, kept)
        state = log.state_dict()
        write(log, kept + 1, 5)
        size = log.path.stat().st_size
        os.truncate(log.path, state["length"] + torn % (size - state["length"] + 1))
        resumed = kind(log.path)
        resumed.load_state_dict(state)
        assert log.path.stat().st_size == state["length"]
        write(resumed, kept + 1, 5)
        assert log.path.read_bytes() == uninterrupted(kind, folder, 5)


@both
def test_the_file_of_another_training_run_is_rejected_and_not_changed(kind, tmp_path):
    path = tmp_path / NAMES[kind]
    write(kind(path), 1, 2)
    before = path.read_bytes()
    for begin in (lambda log: log(at(1, 1)), lambda log: log(at(3, 1)), lambda log: log.state_dict()):
        with pytest.raises(
            FileExistsError, match=r"log of another training run: delete it, choose another file, .*resume"
        ):
            begin(kind(path))
    assert path.read_bytes() == before


@both
def test_a_second_training_run_with_the_same_log_is_rejected(kind, tmp_path):
    log = kind(tmp_path / NAMES[kind])
    write(log, 1, 2)
    before = log.path.read_bytes()
    with pytest.raises(FileExistsError, match="another training"):
        log(at(1, 1))
    assert log.path.read_bytes() == before


@both
@pytest.mark.parametrize("begun", [b"", b"epoch,tra", b"epoch,train_loss,train_accuracy,val_loss,val_accuracy\n"])
def test_a_file_without_a_line_is_overwritten(kind, begun, tmp_path):
    path = tmp_path / NAMES[kind]
    path.write_bytes(begun if kind is CSVLog else b"")
    write(kind(path), 1, 2)
    assert path.read_bytes() == uninterrupted(kind, tmp_path, 2)


@both
def test_resuming_truncates_only_its_own_file(kind, tmp_path):
    log = kind(tmp_path / NAMES[kind])
    write(log, 1, 2)
    state = log.state_dict()
    for content in (b"something else, which is longer than the log was: " + b"x" * 500, log.path.read_bytes()[:-5]):
        log.path.write_bytes(content)
        with pytest.raises(
            FileExistsError, match=r"is not the file that the resumed training run wrote, .*: restore that file"
        ):
            kind(log.path).load_state_dict(state)
        assert log.path.read_bytes() == content
    if kind is CSVLog:
        write(kind(tmp_path / "columns"), 1, 2)
        with pytest.raises(FileExistsError, match="or has other columns"):
            kind(tmp_path / "columns", seconds=True).load_state_dict({**state, "name": "columns"})
    other = tmp_path / "other"
    other.write_bytes(b"precious\n" * 50)
    for length in (0, state["length"]):  # also for a state from before the first line, which would fit any file
        resumed = kind(other)
        resumed.load_state_dict({**state, "length": length, "checksum": 0})
        with pytest.raises(FileExistsError, match="another training"):
            resumed(at(3, 1))
    assert other.read_bytes() == b"precious\n" * 50


@both
@pytest.mark.parametrize("name", ["same", "new"])
def test_resuming_without_the_file_creates_one(kind, name, tmp_path):
    log = kind(tmp_path / "same")
    write(log, 1, 2)
    state = log.state_dict()
    if name == "same":
        log.path.unlink()
    resumed = kind(tmp_path / name)
    resumed.load_state_dict(state)
    write(resumed, 3, 4)
    lines, all_lines = resumed.path.read_bytes().splitlines(), uninterrupted(kind, tmp_path, 4).splitlines()
    assert lines == ([] if kind is JSONLinesLog else all_lines[:1]) + all_lines[-2:]


@both
def test_a_full_disk_is_reported_and_leaves_no_partial_line(kind, tmp_path, monkeypatch):
    log = kind(tmp_path / NAMES[kind])
    write(log, 1, 1)
    before = log.path.read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_full)
        with pytest.raises(OSError, match="could not write the log: No space left on device") as caught:
            log(at(2))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(log.path)
    assert log.path.read_bytes() == before
    with log.path.open("ab") as file:
        file.write(b"half a li")  # as if it had been impossible to truncate it
    write(log, 2, 3)
    assert log.path.read_bytes() == uninterrupted(kind, tmp_path, 3)


def test_a_header_that_could_not_be_written_is_written_later(tmp_path, monkeypatch):
    log = CSVLog(tmp_path / "log.csv")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_full)
        with pytest.raises(OSError, match="No space left"):
            log(at(1, 1))
    write(log, 1, 2)
    assert log.path.read_bytes() == uninterrupted(CSVLog, tmp_path, 2)


@both
def test_each_line_is_synced(kind, tmp_path, monkeypatch):
    """Otherwise a power failure could leave a checkpoint that counts lines which are not on disk."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), real(descriptor)))
    log = kind(tmp_path / NAMES[kind])
    for epoch in (1, 2):
        log(at(epoch))
        assert synced[-1] == log.path.stat().st_size
        assert log.state_dict()["length"] == synced[-1]


@both
def test_system_errors_name_the_file(kind, tmp_path):
    missing = kind(tmp_path / "nowhere" / "log")
    with pytest.raises(FileNotFoundError, match=r"nowhere.log: there is no folder .*nowhere; create it first"):
        missing(at(1, 1))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        kind(tmp_path / "folder")(at(1, 1))
    log = kind(tmp_path / "log")
    write(log, 1, 2)
    log.path.unlink()
    with pytest.raises(FileNotFoundError, match="could not write the log") as caught:
        log(at(3))
    assert caught.value.filename == str(log.path)
    log.path.write_bytes(b"epoch")
    with pytest.raises(OSError, match="has lost lines that this training run wrote"):
        log(at(3))
    assert log.path.read_bytes() == b"epoch"


def test_csv_has_columns_for_the_known_metrics_only(tmp_path):
    log = CSVLog(tmp_path / "log.csv")
    with pytest.raises(ValueError, match="CSVLog has no column for lr: use JSONLinesLog"):
        log(at(1, lr=0.5))
    log(SimpleNamespace(epoch=1, step=2, metrics={"val_loss": 0.5}))
    assert log.path.read_text().splitlines()[1] == "1,,,0.5,"


@both
def test_wrong_arguments_and_repr(kind, tmp_path):
    with pytest.raises(TypeError, match="path must be the name of a file, got 3"):
        kind(3)
    with pytest.raises(ValueError, match="seconds must be True or False"):
        kind("log", seconds=1)
    assert repr(kind("log")) == f"{kind.__name__}('log')"
    assert repr(kind(Path("log"), seconds=True)) == f"{kind.__name__}('log', seconds=True)"


def test_a_custom_log_needs_a_line_method(tmp_path):
    class Short(EpochLog):
        def line(self, epoch, metrics):
            return f"{epoch}"

    write(Short(tmp_path / "short"), 1, 3)
    assert (tmp_path / "short").read_text() == "1\n2\n3\n"
    with pytest.raises(NotImplementedError, match="EpochLog needs a method line"):
        EpochLog(tmp_path / "none")(at(1))
