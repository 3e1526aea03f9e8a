"""Commands to copy."""

import os
import sys
from pathlib import Path

import pytest

from cnn.cli.formatting import program_name, shell_quoted


@pytest.mark.parametrize(
    ("called", "found", "expected"),
    [
        ("/home/me/.venv/bin/cnn", "/usr/bin/cnn", "cnn"),
        (".venv/bin/cnn", None, ".venv/bin/cnn"),
        ("/site-packages/cnn/__main__.py", "/usr/bin/cnn", "python -m cnn"),
        ("/usr/bin/pytest", None, "cnn"),
    ],
)
def test_program_name(monkeypatch, called, found, expected):
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("shutil.which", lambda name: found)
    assert program_name() == expected


@pytest.mark.parametrize(
    ("system", "name", "expected"),
    [
        ("posix", "runs/a-1", "runs/a-1"),
        ("posix", "my run", "'my run'"),
        ("nt", "my run", '"my run"'),
        ("nt", "runs\\a-1", "runs\\a-1"),
    ],
)
def test_shell_quoted(monkeypatch, system, name, expected):
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", system)
        assert shell_quoted(name) == expected


def test_the_command_to_try_next_can_be_copied(run, no_plots, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["bin/cnn"])
    err = run("train", "spiral", "--epochs", "1", "--out", "my run")[2]
    assert err.splitlines()[-1] == f"try it: bin/cnn summary {shell_quoted(Path('my run'))}"
