"""The progress display in files and in streams that fail, and the choice of a display."""

import io
import os
import signal
import sys
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import pytest

from cnn.training.progress import LiveLine, NotebookLine, PlainLines, Progress, fit_progress, stream_progress
from tests.training.screen import PseudoTerminal
from tests.training.steps import fake_clock, run_progress, steps_of

needs_terminal = pytest.mark.skipif(os.name != "posix", reason="Windows has no pseudo-terminals of this kind")


@pytest.fixture
def now(monkeypatch):
    return fake_clock(monkeypatch)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("CI", "NO_PROGRESS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize("name", ["NO_PROGRESS", "CI", "TERM", None])
def test_a_pipe_gets_plain_lines_only(name, now, monkeypatch):
    if name is not None:
        monkeypatch.setenv(name, "dumb")
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stream)
        lines = run_progress(fit_progress(verbose=True), epochs=2, steps=1000)
        monkeypatch.undo()
    with open(reading, encoding="utf-8") as stream:  # noqa: PTH123
        text = stream.read()
    assert text.replace("\n", "").isprintable()
    assert text.splitlines() == [
        "epoch 1/2  step  800/1000  loss 0.4312  accuracy 0.8471  5,120 samples/s  0:15 left",
        lines[0],
        "epoch 2/2  step  800/1000  loss 0.4312  accuracy 0.8471  5,120 samples/s  0:02 left",
        lines[1],
    ]


def test_a_plain_line_every_ten_seconds_at_most(now):
    stream = io.StringIO()
    run_progress(PlainLines(stream), epochs=2, steps=4000)  # an epoch takes 50 s
    starts = [line.split("  loss")[0] for line in stream.getvalue().splitlines()]
    assert len(starts) == 2 * (4 + 1)
    assert starts[:5] == [*(f"epoch 1/2  step {800 * i:4}/4000" for i in range(1, 5)), "epoch 1/2  train loss 0.4312"]


def test_without_lines_about_epochs_their_last_steps_are_shown(now):
    stream = io.StringIO()
    with PlainLines(stream) as display:
        for step in steps_of(100, 1):
            now[0] += 6
            display.show(step)
    lines = stream.getvalue().splitlines()
    assert 30 <= len(lines) <= 60
    assert lines[-1].startswith("epoch  99/100  step 1/1  loss 0.4312")


def test_silence(capsys, now):
    run_progress(fit_progress(verbose=False))
    assert capsys.readouterr() == ("", "")


class FakeTerminal(io.StringIO):
    """Like IDLE's window, which claims to be a terminal."""

    def isatty(self):
        return True


class Tee:
    """A stream as users write it to print to two destinations."""

    encoding = None

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text.encode("ascii").decode()

    def flush(self):
        pass


@needs_terminal
def test_the_choice_of_a_display(monkeypatch):
    terminal = PseudoTerminal(80)
    assert type(stream_progress(terminal.stream)) is LiveLine
    for name, value in (("TERM", "dumb"), ("NO_PROGRESS", "1"), ("CI", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert type(stream_progress(terminal.stream)) is PlainLines
    terminal.close()
    assert type(stream_progress(terminal.stream)) is PlainLines  # closed
    assert type(stream_progress(None)) is Progress
    for stream in (FakeTerminal(), io.StringIO(), Tee()):
        assert type(stream_progress(stream)) is PlainLines


def test_a_notebook_is_detected_by_its_kernel_and_its_stream(monkeypatch):
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    cell = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert type(fit_progress(True)) is PlainLines  # the output of the cell is captured
    monkeypatch.setattr(sys, "stdout", cell)
    assert type(fit_progress(True)) is NotebookLine
    assert type(fit_progress(False)) is Progress
    monkeypatch.setenv("NO_PROGRESS", "1")
    assert type(fit_progress(True)) is PlainLines
    monkeypatch.delenv("NO_PROGRESS")
    ipython.get_ipython = lambda: SimpleNamespace()  # IPython in a terminal
    assert type(fit_progress(True)) is PlainLines
    ipython.get_ipython = lambda: None
    assert type(fit_progress(True)) is PlainLines
    monkeypatch.delitem(sys.modules, "IPython")
    assert type(fit_progress(True)) is PlainLines


# Streams that fail


@pytest.mark.parametrize("make", [LiveLine, PlainLines, NotebookLine])
def test_a_closed_stream_is_not_an_error(make, now):
    stream = io.StringIO()
    stream.close()
    run_progress(make(stream))


@pytest.mark.parametrize("make", [LiveLine, PlainLines])
def test_a_pipe_without_a_reader_is_not_an_error(make, now):
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    run_progress(make(stream), steps=1000)
    with suppress(OSError):  # the rest of its buffer
        stream.close()


@needs_terminal
def test_a_closed_terminal_is_not_an_error(now):
    ours, theirs = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stream = open(theirs, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    display = stream_progress(stream)
    assert type(display) is LiveLine
    os.close(ours)
    signal.signal(signal.SIGHUP, before)
    run_progress(display)
    with suppress(OSError):
        stream.close()


@pytest.mark.parametrize("make", [LiveLine, PlainLines])
def test_characters_that_the_encoding_lacks(make, now):
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="latin-1", newline="\n") as stream:
        make(stream).line("größer 靴")
        assert raw.getvalue() == "größer ?\n".encode("latin-1")
    tee = Tee()
    make(tee).line("靴")
    assert tee.text == "?\n"
