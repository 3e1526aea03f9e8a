"""Ctrl-C, `kill`, and terminals that are closed."""

import contextlib
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
from cnn.core.interrupts import SIGNALS, Interrupted, Interrupts
from cnn.sequential import Sequential

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for one process")
each_signal = pytest.mark.parametrize("number", SIGNALS)


@pytest.fixture(autouse=True)
def restored_handlers():
    """Every test restores the signal handlers."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


def status(folder=Path("runs", "spiral-1")):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["status"]


@each_signal
def test_a_signal_waits_for_the_end_of_the_step(number):
    with Interrupts() as interrupts, contextlib.ExitStack() as stack:
        assert stack.enter_context(interrupts.delayed()) is None
        interrupts.check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as caught:
            interrupts.check()
        assert caught.value.status == 128 + number
        stack.pop_all()


def test_only_a_second_ctrl_c_does_not_wait():
    with pytest.raises(Interrupted), Interrupts() as interrupts, interrupts.delayed():  # noqa: PT012
        for number in (*SIGNALS[1:], *SIGNALS[1:]):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@each_signal
def test_a_signal_acts_at_once_outside_a_step(number):
    with Interrupts():
        with pytest.raises(Interrupted):
            signal.raise_signal(number)
        if number != signal.SIGINT:
            signal.raise_signal(number)  # while saving: the second one is ignored


def test_a_signal_after_the_last_check_is_not_lost():
    with pytest.raises(Interrupted), Interrupts() as interrupts, interrupts.delayed():
        signal.raise_signal(signal.SIGTERM)


@each_signal
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_is_ignored_or_handled_is_left_alone(number, handler):
    before = signal.signal(number, handler)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(number) is handler
            interrupts.check()
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


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
