"""The progress display: the live line in terminals."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cnn
from cnn.training.progress import LiveLine, fit_progress, stream_progress
from tests.training.screen import PseudoTerminal, Screen
from tests.training.steps import Step, fake_clock, run_progress, steps_of

needs_terminal = pytest.mark.skipif(os.name != "posix", reason="Windows has no pseudo-terminals of this kind")


@pytest.fixture
def now(monkeypatch):
    return fake_clock(monkeypatch)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("CI", "NO_PROGRESS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@needs_terminal
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_one_line_in_place_and_the_epochs_stay(columns, now, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # as exported before the window was made narrower
    terminal = PseudoTerminal(columns)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    lines = run_progress(fit_progress(verbose=True), epochs=3)
    screen = Screen(terminal.close())
    assert screen.rows == [*lines, ""]
    assert screen.widest < columns
    assert max(map(len, screen.frames)) <= columns - 3
    drawn = {frame for frame in screen.frames if "/938" in frame}
    assert 250 < len(drawn) < 290  # one in ten steps
    assert sum("0.4312" in frame for frame in drawn) == len(drawn)
    assert sum("left" in frame or ":" in frame for frame in drawn) == len(drawn) - 1  # all except the very first
    assert any(
        {40: "/938  loss 0.4312  0:02 left", 80: "5,120/s", 120: "5,120 samples/s"}[columns] in frame for frame in drawn
    )


@needs_terminal
@pytest.mark.parametrize("columns", [40, 80])
def test_an_exception_leaves_nothing_behind(columns, now):
    terminal = PseudoTerminal(columns)

    def raises():
        with stream_progress(terminal.stream) as display:
            display.show(Step(1, 2, 1, 9), 8)
            raise FloatingPointError("the loss became nan")

    with pytest.raises(FloatingPointError):
        raises()
    screen = Screen(terminal.close())
    assert screen.rows == [""]
    assert any("loss 0.4312" in frame for frame in screen.frames)


INTERRUPTED = """
import fcntl, itertools, sys, termios, time
from types import SimpleNamespace
from cnn.training.progress import fit_progress
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C goes to the processes of this terminal
try:
    with fit_progress(True) as display:
        display.line("epoch 1/9")
        for i in range(1, 10000):
            display.show(SimpleNamespace(epoch=2, epochs=9, step=i, steps=9999, loss=0.5, accuracy=0.5), 32)
            time.sleep(0.002)
except KeyboardInterrupt:
    print("stopped")
"""


@needs_terminal
@pytest.mark.parametrize("columns", [38, 40, 80])
def test_control_c_leaves_nothing_behind(columns):
    terminal = PseudoTerminal(columns)
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-c", INTERRUPTED]
    side = terminal.theirs
    running = subprocess.Popen(command, env=env, stdin=side, stdout=side, stderr=side, start_new_session=True)
    end = time.monotonic() + 60
    while terminal.text.count("9999") < 6 and time.monotonic() < end:
        time.sleep(0.01)
    os.write(terminal.ours, b"\x03")
    assert running.wait(timeout=60) == 0
    screen = Screen(terminal.close())
    assert any(frame.endswith("^C") for frame in screen.frames)
    assert screen.rows == ["epoch 1/9", "stopped", ""]
    assert screen.widest <= columns


def test_hidden_while_other_lines_are_printed(now, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    with LiveLine(stream) as display:
        for step in steps_of(2, 50):
            display.show(step, 8)
            if step.step == 50:
                with display.hidden():
                    stream.write("saved\n")
    assert Screen(stream.getvalue()).rows == ["saved", "saved", ""]
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()


def test_other_output_follows_the_line_and_is_not_overwritten(now, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    with LiveLine(stream) as display:
        display.show(Step(1, 2, 5, 9), 8)
        stream.write("  a callback's line\n")
        now[0] += 1
        display.show(Step(1, 2, 6, 9), 8)
    assert Screen(stream.getvalue()).rows == [
        "epoch 1/2  step 5/9  loss 0.4312  accuracy 0.8471  a callback's line",
        "",
    ]


def test_at_most_eight_updates_per_second(now):
    stream = io.StringIO()
    with LiveLine(stream) as display:
        for step in steps_of(1, 801):  # ten seconds
            display.show(step, 8)
        assert 70 <= stream.getvalue().count("\r") / 2 <= 81


def test_a_clock_that_is_set_back_neither_stops_the_display_nor_changes_its_numbers(now):
    stream = io.StringIO()
    with LiveLine(stream) as display:
        for step in steps_of(1, 800):
            if step.step == 400:
                now[0] -= 500
                before = len(stream.getvalue())
            display.show(step, 8)
        after = stream.getvalue()[before:]
    assert "step 400/800  loss 0.4312  accuracy 0.8471  640/s  0:05 left" in after
    assert after.count("640/s  0:00 left") == after.count("0:00 left") > 10
    assert after.count("\r") > 60
