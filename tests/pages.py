"""Run a page of the documentation from top to bottom, and compare what it prints with what it shows."""

import math
import os
import re
import shlex
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from cnn.cli.main import main

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^(?:<!-- without (\w+) -->\n\n)?```(python|bash|console)\n(?P<code>.*?)^```\n"
    r"(?:\n(<!-- numbers differ -->\n\n)?```text\n(.*?)^```)?",
    re.M | re.S,
)
RUN = "<!-- run by tests/test_how_to.py -->\n\n"
DECIMAL = re.compile(r"\d+\.\d+(?:e[-+]\d+)?")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
ELISION = re.compile(r"^\.\.\.$", re.M)


def run_page(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run the blocks of a page one after another, as one program, and return its names.

    A block of Python, or of shell commands under the comment `RUN`, prints what stands in the block of text right below
    it, if there is one. That may begin with the name of an error or a warning, which the block must then raise or give.
    A console shows a command that fails, and what it says.
    """
    text = (ROOT / name).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    for found in BLOCK.finditer(text):
        without, language, code, numbers_differ, shown = found.groups()
        capsys.readouterr()
        if language == "python":
            program = compile("\n" * text.count("\n", 0, found.start("code")) + code, name, "exec")
            with pytest.MonkeyPatch.context() as patch:
                if without:
                    patch.setitem(sys.modules, without, None)
                run_program(program, names, shown or "")
        elif language == "console":
            program_name, *arguments = shlex.split(code.removeprefix("$ "))
            assert program_name == "cnn"
            assert main(arguments) != 0
        elif text[: found.start()].endswith(RUN):
            for line in code.splitlines():
                program_name, *arguments = shlex.split(line, comments=True)
                assert program_name == "cnn"
                assert main(arguments) == 0, line
        if shown is not None:
            out, err = capsys.readouterr()
            printed = (err if language == "console" else out).replace(os.sep, "/")
            same = same_text(printed, shown, any_numbers=numbers_differ is not None)
            assert same, f"{name} shows\n{shown}\nbut its code printed\n{printed}"
    return names


def run_program(program: types.CodeType, names: dict[str, Any], shown: str) -> None:
    """Run a block, and print the error or the warning with which the text below it begins."""
    expected = re.match(r"(\w+(?:Error|Warning)): ", shown)
    if expected is None:
        exec(program, names)
        return
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            exec(program, names)
        except Exception as error:
            if type(error).__name__ != expected[1]:
                raise
            print(f"{type(error).__name__}: {error}")
    print(*(f"{warning.category.__name__}: {warning.message}" for warning in found), sep="\n")


def same_text(printed: str, shown: str, any_numbers: bool = False) -> bool:
    r"""Return whether texts agree, apart from spaces: a line ``...`` stands for any lines, decimals agree to 5 %.

    With ``any_numbers``, for what a net has learned on one machine, only the words are compared.

    Examples
    --------
    >>> same_text("a\nb\nloss   0.4012", "...\nloss 0.40")
    True
    >>> same_text("loss 0.40", "loss 0.45"), same_text("loss 0.40", "loss 0.45", any_numbers=True)
    (False, True)
    """
    parts = [r"\s+".join(_pattern(word, any_numbers) for word in part.split()) for part in ELISION.split(shown)]
    found = re.fullmatch(r"\s*" + r"\s*(?:.*\n)?\s*".join(parts) + r"\s*", printed, re.S)
    if found is None or any_numbers:
        return found is not None
    return all(
        math.isclose(float(a), float(b), rel_tol=0.05, abs_tol=0.005)
        for a, b in zip(found.groups(), DECIMAL.findall(shown), strict=True)
    )


def _pattern(word: str, any_numbers: bool) -> str:
    """Return the regular expression of a word: with a group for each decimal, or, if so, with any numbers."""
    if any_numbers and (word == "-" or NUMBER.fullmatch(word)):
        return rf"(?:-|{NUMBER.pattern})"  # "-" is a ratio that is undefined
    number, gap = (NUMBER, NUMBER.pattern) if any_numbers else (DECIMAL, f"({DECIMAL.pattern})")
    return gap.join(re.escape(part) for part in number.split(word))
