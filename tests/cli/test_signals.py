"""Ctrl-C, `kill`, and terminals that are closed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cnn
from cnn import training
from cnn.cli.train_run import TrainingRun
from cnn.core.interrupts import SIGNALS
from cnn.sequential import Sequential

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for one process")
pytestmark = pytest.mark.usefixtures("restored_handlers")
each_signal = pytest.mark.parametrize("number", SIGNALS)


def status(folder=Path("runs", "spiral-1")):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["status"]


@each_signal
def test_a_signal_while_training(run, monkeypatch, number):
    real = training.train

    def train(*arguments, **chosen):
        for i, step in enumerate(real(*arguments, **chosen)):
            if i == 30:
                signal.raise_signal(number)
            yield step

    monkeypatch.setattr(training, "train", train)
    code, _, err = run("train", "spiral")
    assert code == 128 + number
    assert "interrupted after step 8 of 23 in epoch 2 of 100\n" in err
    assert status() == "interrupted"


@each_signal
@pytest.mark.parametrize(("when", "left"), [("evaluate", "interrupted"), ("_draw", "finished")])
def test_a_signal_after_training(run, monkeypatch, number, when, left):
    owner = Sequential if when == "evaluate" else TrainingRun
    monkeypatch.setattr(owner, when, lambda *_, **__: signal.raise_signal(number))
    real = training.train
    monkeypatch.setattr(training, "train", lambda *a, validation_data, **k: real(*a, **k))
    monkeypatch.setattr(TrainingRun, "_record_epoch", lambda *_: None)
    code, _, err = run("train", "spiral", "--epochs", "1")
    assert code == 128 + number
    assert "saved in" in err
    assert status() == left


@pytest.mark.slow
@needs_signals
@each_signal
def test_a_real_signal(number):
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-m", "cnn", "train", "spiral", "--epochs", "100000"]
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline().startswith("epoch")
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert "the run so far is saved in" in err
    assert "Traceback" not in err
    folder = Path("runs", "spiral-1")
    assert (folder / "history.jsonl").read_text(encoding="utf-8").count("\n") >= 1
    assert status() == "interrupted"
    assert Sequential.load(folder / "model.safetensors").class_names == ["arm 0", "arm 1", "arm 2"]


OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "cnn", *sys.argv[1:]])
"""


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("plain", ["", "1"])
def test_a_terminal_that_is_closed(plain):
    import pty

    ours, theirs = pty.openpty()
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1]), "TERM": "xterm", "NO_PROGRESS": plain}
    command = [sys.executable, "-c", OWN_TERMINAL, "train", "spiral", "--epochs", "100000"]
    running = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    output = b""
    while b"val loss" not in output:
        output += os.read(ours, 65536)
    os.close(ours)
    assert running.wait(timeout=60) == 128 + signal.SIGHUP
    assert status() == "interrupted"
