"""Terminals, pipes and encodings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnn
from cnn.cli.train_output import progress_display
from tests.training.screen import Screen

pty = pytest.importorskip("pty") if os.name == "posix" else None
needs_terminal = pytest.mark.skipif(pty is None, reason="Windows has no pseudo-terminals of this kind")


def in_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command in a pseudo-terminal; return its exit status and everything that it wrote there."""
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
@pytest.mark.parametrize("columns", ["40", "100"])
def test_the_progress_line_in_a_terminal_is_rewritten_and_removed(columns):
    code, text = in_terminal(*TRAIN, COLUMNS=columns, CI="")
    assert code == 0
    assert "\x1b" not in text
    screen = Screen(text)
    shown = [frame for frame in screen.frames if re.match(r"(epoch )?\d/3  (step )? *\d+/\d", frame)]
    assert shown
    assert max(map(len, shown)) < int(columns) - 2
    assert not set(shown) & set(screen.rows)
    assert [row.split("  ")[0] for row in screen.rows if row.startswith("epoch")] == [f"epoch {i}/3" for i in (1, 2, 3)]
    assert any(row.startswith("test loss") for row in screen.rows)


@needs_terminal
@pytest.mark.parametrize("environment", [{"NO_PROGRESS": "1"}, {"TERM": "dumb"}])
def test_plain_lines_in_a_terminal(environment):
    code, text = in_terminal(*TRAIN, **environment)
    assert code == 0
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "\n")
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


def test_a_reader_that_closes_the_pipe_is_not_an_error():
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
def test_a_pipe_that_was_closed_before(arguments):
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cnn", *arguments]
    done = subprocess.run(command, env=env, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == (2 if arguments == ["nonsense"] else 0)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_progress_goes_to_stderr_unless_quiet(capsys):
    for quiet in (False, True):
        with progress_display(quiet) as progress:
            progress.line("epoch 1/3")
    assert capsys.readouterr() == ("", "epoch 1/3\n")


def test_printing_without_a_console(monkeypatch):
    from cnn.cli.terminal import flush_streams, print_stderr, print_stdout, replace_unencodable_characters

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    replace_unencodable_characters()
    print_stdout("x")
    print_stderr("x")
    flush_streams()
