"""argparse's parser, with errors that say what was perhaps meant."""

import argparse
import difflib
import itertools
from collections.abc import Sequence
from typing import Any, NoReturn

from cnn.cli.terminal import note


class Parser(argparse.ArgumentParser):
    """argparse's, with usage errors of two lines in place of the whole usage text, and texts as they are written."""

    def __init__(self, **arguments: Any) -> None:
        # Without abbreviations, which a new option could make ambiguous or give another meaning
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and leave with status 2."""
        note(f"{self.prog}: error: {message}\ntry: {self.prog} --help")
        self.exit(2)

    def refuse_unknown_options(self, words: Sequence[str]) -> None:
        """Leave with status 2 if an option among the words is unknown.

        argparse reads the other words first, and would take the 3 of ``--batchsize 3`` for an argument.
        """
        options = self._options()
        for word in itertools.takewhile(lambda word: word not in ("--", "-h", "--help"), words):
            if word.startswith("--") and word.partition("=")[0] not in options:
                self.refuse(word)

    def refuse(self, word: str) -> NoReturn:
        """Say that a word has no place here and which option was perhaps meant; leave with status 2."""
        name = word.partition("=")[0]
        bare = name.lstrip("-").lower()
        meant = {option.lstrip("-"): option for option in self._options() if option.startswith("--")}
        longer = [known for known in meant if len(bare) > 1 and known.startswith(bare)]
        nearest = longer or difflib.get_close_matches(bare, meant, n=1)
        guess = f": did you mean {meant[nearest[0]]}?" if nearest else ""
        what = f"unknown option {name}" if word.startswith("-") else f"unexpected argument {word!r}"
        note(f"{self.prog}: error: {what}{guess}\n{self.format_usage().rstrip()}\ntry: {self.prog} --help")
        self.exit(2)

    def _options(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]
