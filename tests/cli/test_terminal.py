"""Terminals, pipes and encodings."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cnn
from cnn.commands import progress
from cnn.training import Step

pty = pytest.importorskip("pty") if os.name == "posix" else None
needs_terminal = pytest.mark.skipif(pty is None, reason="Windows has no pseudo-terminals of this kind")


def in_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command in a pseudo-terminal; return its exit status and all that it wrote there."""
    ours, theirs = pty.openpty()
    env = (
        os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1]), "TERM": "xterm", "COLUMNS": "100"} | environment
    )
    command = [sys.executable, "-m", "cnn", *arguments]
    running = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return running.wait(), written.decode("utf-8", errors="replace")


TRAIN = ("train", "spiral", "--epochs", "3")


@needs_terminal
def test_a_bar_in_a_terminal():
    code, text = in_terminal(*TRAIN)
    assert code == 0
    assert "\x1b[" in text
    assert "━" in text
    assert re.search(r"epoch +[123]/3", text)
    assert "\x1b[35m" in text or "\x1b[36m" in text
    last = [line.rsplit("\x1b[2K", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
    assert any(line.startswith("test loss") for line in last)


@needs_terminal
def test_no_color():
    _, text = in_terminal(*TRAIN, NO_COLOR="1")
    assert "━" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)


@needs_terminal
@pytest.mark.parametrize("environment", [{"NO_PROGRESS": "1"}, {"TERM": "dumb"}])
def test_plain_lines_in_a_terminal(environment):
    code, text = in_terminal(*TRAIN, **environment)
    assert code == 0
    assert "\x1b" not in text
    assert "epoch 3/3" in text


@needs_terminal
def test_ascii_where_the_encoding_is_not_utf8():
    code, text = in_terminal(*TRAIN, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert code == 0
    assert "epoch" in text
    assert text.isascii()


def test_no_escapes_outside_a_terminal(process):
    done = process(*TRAIN)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_names_that_the_encoding_lacks(process):
    done = process("summary", "Schuhe-größer-靴", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no Schuhe-gr")
    assert "?" in done.stderr


def test_a_reader_that_goes_away_is_no_error():
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-m", "cnn", "train", "spiral", "--epochs", "25"]
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline().startswith("epoch")
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()
    assert running.wait(timeout=60) == 0
    assert "Traceback" not in err
    assert "Broken pipe" not in err
    assert "BrokenPipeError" not in err
    assert len(Path("runs", "spiral-1", "history.jsonl").read_text(encoding="utf-8").splitlines()) == 25


@pytest.mark.parametrize("arguments", [["--help"], ["data", "spiral"], ["nonsense"]])
def test_a_reader_that_was_never_there(arguments):
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cnn", *arguments]
    done = subprocess.run(command, env=env, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == (2 if arguments == ["nonsense"] else 0)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def step(number: int, epoch: int = 2) -> Step:
    return Step(epoch, 5, number, 100, 0.5, 0.75, None)


def test_a_plain_line_every_ten_seconds(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress.Lines() as shown:
        for number in range(1, 101):
            now[0] += 0.5
            shown.show(step(number))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4  # after 10, 20, 30 and 40 s; the line about the epoch says the rest
    assert lines[0] == "epoch 2/5  step 20/100  loss 0.5000  accuracy 0.7500  0:31 left"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_which_progress(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert type(progress.for_training()) is progress.Bar
    assert type(progress.for_training(quiet=True)) is progress.Silent
    monkeypatch.setenv("NO_PROGRESS", "1")
    assert type(progress.for_training()) is progress.Lines
    monkeypatch.delenv("NO_PROGRESS")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(progress.for_training()) is progress.Lines
    monkeypatch.setattr(sys, "stderr", None)
    assert type(progress.for_training()) is progress.Lines


def test_nothing_is_written_without_a_console(monkeypatch):
    from cnn.commands.terminal import finish, note, say, tolerate_any_text

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    tolerate_any_text()
    say("x")
    note("x")
    finish()
