"""What the words after an option may be: each function reads one, or says what was expected."""

import argparse
import math
from collections.abc import Callable

from cnn.commands import tasks
from cnn.commands.settings import DATA_SETS, MODELS, RECIPES
from cnn.data import unknown_name
from cnn.zoo import trained


def data_set(name: str) -> str:
    if name not in DATA_SETS:
        raise argparse.ArgumentTypeError(unknown_name("data set", name, DATA_SETS))
    return name


def data_or_folder(name: str) -> str:
    try:
        return tasks.data_set(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def model(name: str) -> str:
    if name not in MODELS:
        raise argparse.ArgumentTypeError(unknown_name("model", name, MODELS))
    return name


def trained_net(name: str) -> str:
    if name not in trained.FOLDERS:
        raise argparse.ArgumentTypeError(unknown_name("trained net", name, trained.FOLDERS))
    return name


def recipe(name: str) -> str:
    if name not in RECIPES:
        raise argparse.ArgumentTypeError(unknown_name("recipe", name, RECIPES))
    return name


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
