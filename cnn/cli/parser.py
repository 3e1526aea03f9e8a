"""argparse's parser with errors that suggest what was meant, and the argument types that several commands use."""

import argparse
import difflib
import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from cnn.cli.terminal import fitted, print_stderr
from cnn.core.explain import ours_for
from cnn.data import unknown_name_message

# Options of other programs without a counterpart
HINTS = {
    **dict.fromkeys(("gpu", "gpus", "cuda", "device"), ": leave it out, everything runs on the CPU"),
    "verbose": ": leave it out; cnn train --quiet prints less",
}


class ExampleFormatter(argparse.HelpFormatter):
    """argparse's formatter, which keeps the lines of the example text that are indented, and fills the others."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs: list[str] = []
        for line in text.splitlines():
            continues = (
                paragraphs and paragraphs[-1] and not line.startswith(" ") and not paragraphs[-1].startswith(" ")
            )
            if line and continues:
                paragraphs[-1] += f" {line}"
            else:
                paragraphs.append(line)
        return fitted("\n".join(paragraphs), width, hanging=False)


class Parser(argparse.ArgumentParser):
    """argparse's parser, with usage errors of two lines instead of the whole usage text, and unwrapped example text."""

    def __init__(self, **arguments: Any) -> None:
        # Without abbreviations: a new option could make them ambiguous or change their meaning
        super().__init__(formatter_class=ExampleFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """Print the error and how to get help, and exit with status 2."""
        print_stderr(f"{self.prog}: error: {message}\ntry: {self.prog} --help")
        self.exit(2)

    def reject_unknown_options(self, words: Sequence[str]) -> None:
        """Exit with status 2 if an option among the words is unknown.

        argparse reads positional arguments first, and would take the 3 of ``--batchsize 3`` for one.
        """
        options = self._option_names()
        for word in itertools.takewhile(lambda word: word not in ("--", "-h", "--help"), words):
            if word.startswith("--") and word.partition("=")[0] not in options:
                self.reject(word)

    def reject(self, word: str) -> NoReturn:
        """Print that a word is not expected, suggest the most similar option, and exit with status 2."""
        name = word.partition("=")[0]
        bare = name.lstrip("-").lower()
        known = {option.lstrip("-"): option for option in self._option_names() if option.startswith("--")}
        longer = [option for option in known if len(bare) > 1 and option.startswith(bare)]
        elsewhere = ours_for(bare.replace("-", "_"), [option.replace("-", "_") for option in known])
        nearest = [elsewhere.replace("_", "-")] if elsewhere else longer or difflib.get_close_matches(bare, known, n=1)
        suggestion = f": did you mean {known[nearest[0]]}?" if nearest else HINTS.get(bare, "")
        problem = f"unknown option {name}" if word.startswith("-") else f"unexpected argument {word!r}"
        usage = self.format_usage().rstrip()
        print_stderr(f"{self.prog}: error: {problem}{suggestion}\n{usage}\ntry: {self.prog} --help")
        self.exit(2)

    def _option_names(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]


# Argument types: functions that convert the text of an argument, or raise an error that says what was expected


def one_of(kind: str, known: Collection[str]) -> Callable[[str], str]:
    """Return the type of an argument that is one of these names."""

    def convert(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(unknown_name_message(kind, text, known))
        return text

    convert.known = known  # type: ignore[attr-defined]  # for completion.py
    return convert


def integer_at_least(minimum: int) -> Callable[[str], int]:
    """Return the type of an argument that is an integer with this minimum."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {minimum}, got {text!r}")
        return value

    return convert


def non_negative_number(example: str) -> Callable[[str], float]:
    """Return the type of an argument that is a finite number of at least 0; the error message shows the example."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value >= 0 and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"expected a number of at least 0, such as {example}, got {text!r}")
        return value

    return convert
