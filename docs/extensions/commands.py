"""The reference of the commands: a page for each, made from the parsers that also print --help."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from reference import escaped, write_changed

from cnn.cli.main import COMMANDS, _parsers

FOLDER = Path(__file__).parent.parent / "reference" / "commands"


def literal(text: str) -> str:
    """Return text as a literal block."""
    lines = "\n".join(f"   {line}".rstrip() for line in text.splitlines())
    return f".. code-block:: text\n\n{lines}\n"


def prose(text: str) -> str:
    """Return text whose indented lines are examples."""
    parts = []
    for block in re.split(r"\n(?=\S)|\n\s*\n", text.strip("\n")):
        first, _, rest = block.partition("\n")
        if block.startswith(" "):
            parts.append(literal(block))
        else:
            parts.append("\n".join(escaped([first])))
            if rest.strip():
                parts.append(literal(rest))
    return "\n\n".join(parts) + "\n"


def option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return one argument or option as an entry of a definition list."""
    formatter = parser._get_formatter()
    spelled = formatter._format_action_invocation(action)
    explained = formatter._expand_help(action) if action.help else ""
    entry = f"``{spelled}``\n    {' '.join(escaped(explained.split(chr(10))))}"
    if action.choices is not None and str(action.metavar or "") and not isinstance(action.choices, dict):
        entry += f" (One of {', '.join(f'``{choice}``' for choice in action.choices)}.)"
    return entry


def page(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the page of a command."""
    heading = f"cnn {name}".strip()
    parts = [
        f"{heading}\n{'=' * len(heading)}",
        prose(parser.description or ""),
        literal(parser.format_usage().strip()),
    ]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if actions and not isinstance(actions[0], argparse._SubParsersAction):
            title = (group.title or "options").capitalize()
            parts.append(f"{title}\n{'-' * len(title)}")
            parts.extend(option(parser, action) for action in actions)
    if parser.epilog:
        parts.append(f"Examples\n--------\n\n{prose(parser.epilog)}")
    return "\n\n".join(parts) + "\n"


def write(app: Any) -> None:
    """Write a page for each command, and the page that lists them."""
    os.environ["COLUMNS"] = "72"  # the width of the usage, which otherwise depends on the terminal
    whole, parsers = _parsers()
    for name, parser in parsers.items():
        parser.prog = f"cnn {name}"
        write_changed(FOLDER / f"{name}.rst", page(name, parser))
    listed = "\n".join(
        f"   * - :doc:`cnn {name} <{name}>`\n     - {escaped([command.DESCRIPTION.partition('.')[0]])[0]}."
        for name, command in COMMANDS.items()
    )
    toctree = "\n".join(f"   {name}" for name in COMMANDS)
    text = page("", whole).replace("cnn\n===", "The commands\n============", 1)
    text += (
        f"\n.. list-table::\n   :header-rows: 1\n   :widths: auto\n\n   * - command\n     - what it does\n{listed}\n"
    )
    write_changed(FOLDER / "index.rst", f"{text}\n.. toctree::\n   :hidden:\n\n{toctree}\n")


def setup(app: Any) -> dict[str, Any]:
    """Write the pages at the beginning of a build."""
    app.connect("config-inited", lambda app, config: write(app))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
