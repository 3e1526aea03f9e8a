"""What the words after an option may be: each function reads one, or says what was expected."""

import argparse
import math
from collections.abc import Callable, Collection

from cnn.cli import tasks
from cnn.data import unknown_name_message


def one_of(kind: str, known: Collection[str]) -> Callable[[str], str]:
    def name(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(unknown_name_message(kind, text, known))
        return text

    return name


def data_or_folder(name: str) -> str:
    try:
        return tasks.data_set(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return value

    return number


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, such as 0.2, got {text!r}")
    return value


def at_least_0(example: str) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value >= 0 and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"expected a number of at least 0, such as {example}, got {text!r}")
        return value

    return number
