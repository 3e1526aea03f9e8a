"""Completion in a shell: the words that may follow, from the parsers of the commands."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cnn.cli import completion, datasets, main, train_settings

ROOT = Path(__file__).parents[2]


def completed(line, folder):
    """What argcomplete answers a shell: the words are written to file descriptor 8."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\013",
        "_ARGCOMPLETE_SHELL": "bash",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    command = 'exec 8>words 9>&2; exec "$0" -m cnn'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stdout == done.stderr == ""
    return {word.strip() for word in (folder / "words").read_text().split("\013")}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cnn tr", {"train"}),
        ("cnn train --re", {"--recipe", "--resume"}),
        ("cnn train --model ", set(train_settings.MODELS)),
        ("cnn train f", {"fashion-mnist", "flowers/"}),
        ("cnn evaluate runs/", {"runs/flowers-1/"}),
        ("cnn data ", {*datasets.NAMES, "-h", "--help", "--json", "--debug"}),
    ],
)
def test_a_shell_gets_the_words_that_may_follow(line, words, tmp_path):
    pytest.importorskip("argcomplete")
    for name in ("flowers", "runs/flowers-1"):
        (tmp_path / name).mkdir(parents=True)
    assert completed(line, tmp_path) == words


def test_a_completion_knows_the_names_and_folders(tmp_path, monkeypatch):
    """With a stand-in for argcomplete, which answers with what our completers give."""
    for name in ("flowers", "fruit/apples", "runs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file.txt").touch()
    monkeypatch.chdir(tmp_path)
    given = []
    stand_in = ModuleType("argcomplete")
    stand_in.autocomplete = given.append
    monkeypatch.setitem(sys.modules, "argcomplete", stand_in)
    parser, commands = main._parsers()
    completion.complete(parser)
    assert given == [parser]
    actions = {(name, action.dest): action for name, command in commands.items() for action in command._actions}
    assert actions["train", "data"].completer("f") == ["fashion-mnist", "flowers/", "fruit/"]
    assert actions["train", "data"].completer("fruit/") == ["fruit/apples/"]
    assert actions["train", "data"].completer("missing/") == []
    assert actions["train", "model"].completer("fash") == ["fashion-cnn"]
    assert actions["train", "resume"].completer("") == ["flowers/", "fruit/", "runs/"]
    assert actions["evaluate", "run"].completer("r") == ["runs/"]
    assert not hasattr(actions["predict", "images"], "completer")  # files, as a shell completes them


def test_a_completion_without_argcomplete_runs_nothing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setattr(main, "main", lambda: pytest.fail("a command ran"))
    with pytest.raises(SystemExit) as stop:
        main.entry_point()
    assert stop.value.code == 1
    assert capsys.readouterr() == ("", "")


def test_argcomplete_finds_its_mark():
    """It looks at the first 1024 bytes of the file with the entry point."""
    for name in ("cnn/cli/main.py", "cnn/__main__.py"):
        assert b"PYTHON_ARGCOMPLETE_OK" in (ROOT / name).read_bytes()[:1024]
