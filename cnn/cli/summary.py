"""`cnn summary`: print the layers of a model and how it was trained."""

import argparse
import math
from typing import Any

import numpy as np

from cnn.cli import model_arguments, run_folders
from cnn.cli.formatting import training_text
from cnn.cli.parser import Parser
from cnn.cli.terminal import output_columns, print_data, print_stdout, print_wrapped
from cnn.core.text import printable
from cnn.data.class_folders import shortened

DESCRIPTION = "Print the layers of a model."
CLASSES_SHOWN = 100
EXAMPLE = """\
example:
  cnn summary runs/fashion-mnist-1
prints how the model was trained, its classes, and a table of its layers with their output shapes, parameters,
multiply-adds and memory."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn summary`."""
    model_arguments.add_arguments(parser)


def check(args: argparse.Namespace) -> None:
    """Check nothing: the types of the arguments are enough."""


def run(args: argparse.Namespace) -> int:
    """Print the model, and how it was trained if that is known; return the exit status."""
    path = model_arguments.find_model(args.run)
    model, config = model_arguments.load_model(path), run_folders.read_config(path)
    print_stdout(printable(path))
    if config:
        print_wrapped(printable(training_text(config)))
    if model.class_names:
        names = shortened([printable(name) for name in model.class_names], CLASSES_SHOWN)
        print_wrapped(f"{len(model.class_names):,} classes: {names}")
    if model.preprocessing:
        print_wrapped(f"inputs: {preprocessing_text(model.preprocessing)}")
    print_stdout()
    if model.input_shape is None:
        print_stdout(repr(model))
        raise ValueError(
            f"{path} does not contain the shape of its inputs, so there is no table: set model.input_shape before save"
        )
    table, _, notes = model.summary().text(output_columns()).rpartition("\n")
    print_data(table)
    print_wrapped(notes)
    return 0


def preprocessing_text(settings: dict[str, Any]) -> str:
    """Return how a pixel value from 0 to 255 becomes an input.

    Examples
    --------
    >>> preprocessing_text({"scale": 1 / 255, "mean": [0.2854], "std": [0.3516]})
    'pixel / 255, minus 0.2854, divided by 0.3516'
    >>> preprocessing_text({"scale": 1.0, "mean": 127.0, "std": 128.0})
    'pixel, minus 127, divided by 128'
    """

    def numbers(values: Any) -> str:
        texts = [f"{value:.4g}" for value in np.ravel(values)]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    scale = settings.get("scale", 1 / 255)
    known = {1.0: "pixel", 1 / 255: "pixel / 255"}
    parts = [next((text for s, text in known.items() if math.isclose(scale, s, rel_tol=1e-6)), f"pixel x {scale:.4g}")]
    operations = {"mean": "minus", "std": "divided by"}
    parts += [f"{operation} {numbers(settings[key])}" for key, operation in operations.items() if key in settings]
    return ", ".join(parts)
