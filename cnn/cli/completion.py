"""Completion of the command line in a shell, with argcomplete if it is installed."""

import argparse
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from cnn.cli.datasets import NAMES


def complete(parser: argparse.ArgumentParser) -> None:
    """Print the words that may follow, as argcomplete does for the shell that asks, and exit."""
    try:
        import argcomplete
    except ImportError:
        sys.exit(1)
    for action in _actions(parser):
        known = getattr(action.type, "known", NAMES if action.metavar == "DATA" else None)
        if known is not None or action.metavar in ("RUN", "FOLDER"):
            action.completer = _completer(known or (), action.metavar != "NAME")  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    """Yield the arguments of a parser and of the parsers of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def _completer(known: Collection[str], with_folders: bool) -> Any:
    """Return a function that gives the known names and the folders that begin with what was typed."""

    def words(prefix: str, **_: Any) -> list[str]:
        folders: list[str] = []
        if with_folders:
            head = prefix.rpartition("/")[0]
            start = f"{head}/" if "/" in prefix else ""
            inside = Path(start or ".")
            if inside.is_dir():
                folders = [f"{start}{path.name}/" for path in inside.iterdir() if path.is_dir()]
        return [word for word in (*known, *sorted(folders)) if word.startswith(prefix)]

    return words
