"""`cnn evaluate`: print loss and accuracy of a model on a test set."""

import argparse
import json
from typing import Any

import numpy as np

from cnn.cli import datasets, model_arguments, run_folders
from cnn.cli.datasets import Dataset, model_inputs
from cnn.cli.formatting import correct_text, sample_shape_text
from cnn.cli.parser import Parser
from cnn.cli.terminal import print_data, print_stderr, print_stdout, stdout_columns
from cnn.core.text import printable
from cnn.loss.bce_loss import BinaryLoss
from cnn.metrics import class_report
from cnn.module import Array
from cnn.sequential import Sequential

DESCRIPTION = "Print loss and accuracy of a model on a test set."
EXAMPLE = """\
example:
  cnn evaluate runs/fashion-mnist-1
prints, with digits instead of the letters,
  runs/fashion-mnist-1/model.safetensors on Fashion-MNIST, 10,000 test images
  loss      0.xxxx
  accuracy  0.yyyy  (y,yyy of 10,000 correct; 95 % interval 0.zzz to 0.zzz)
and a table with precision, recall and F1 of each class. --data FOLDER evaluates a model that was trained on a folder
of images on other images, in folders with the same class names."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn evaluate`."""
    model_arguments.add_arguments(parser)
    data = f"{', '.join(datasets.NAMES)}, or a folder of images (default: the data of the run)"
    parser.add_argument("--data", type=data_name, metavar="NAME", help=data)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def check(args: argparse.Namespace) -> None:
    """Check nothing: the types of the arguments are enough."""


def run(args: argparse.Namespace) -> int:
    """Print loss and accuracy on a test set, and return the exit status."""
    path = model_arguments.find_model(args.run)
    model, config = Sequential.load(path), run_folders.read_config(path)
    name = args.data or config.get("data")
    if name is None:
        raise ValueError(f"{path} does not name its training data: add --data NAME, such as --data fashion-mnist")
    try:
        datasets.check_name(str(name))
    except ValueError as error:
        raise ValueError(f"{path.with_name(run_folders.CONFIG)}: {error}; use other data with --data NAME") from None
    if name in datasets.NAMES:
        _check_match(model, *datasets.expected(name), name)  # before the data are fetched
        dataset = datasets.load(name, int(config.get("seed", 0)))
        (x, y), samples = dataset.test, f"test {dataset.kind}"
    else:
        dataset, (x, y), samples = _load_folder(model, str(name), config)
    inputs = model_inputs(model, x)
    if isinstance(model.loss_func, BinaryLoss) and model.predict(inputs[:1]).shape == (1, 1):
        y = y.reshape(-1, 1)  # the classes 0 and 1 are no and yes
    loss, accuracy = model.evaluate(inputs, y)
    if args.json:
        result = {"model": str(path), "data": name, "samples": len(x), "loss": loss, "accuracy": accuracy}
        print_data(json.dumps(result, indent=2))
        return 0
    print_stdout(f"{printable(path)} on {dataset.title}, {len(x):,} {samples}")
    print_stdout(f"loss      {loss:.4f}")
    print_stdout(f"accuracy  {accuracy:.4f}  ({correct_text(accuracy, len(x))})")
    print_stdout(class_report(y, model.predict(inputs), dataset.class_names).text(stdout_columns()))
    return 0


def data_name(text: str) -> str:
    """Convert the text of an argument that is the name of a data set or a folder."""
    try:
        return datasets.check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _load_folder(model: Sequential, folder: str, config: dict[str, Any]) -> tuple[Dataset, tuple[Array, Array], str]:
    """Read a folder of images for the model: -> (data set, samples and labels to evaluate on, what they are).

    Of the folder that the model was trained on, only the held-out part; of another folder, all images.
    """
    shape = model.input_shape or ()
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model takes inputs of {sample_shape_text(shape)}, not images: give another --data")
    dataset = datasets.load(
        folder,
        int(config.get("seed", 0)),
        image_size=(shape[1], shape[2]),
        validation=config.get("validation"),
        grey=shape[0] == 1,
    )
    _check_match(model, dataset.kind, dataset.input_shape, dataset.class_names, folder)
    for line in dataset.skipped:
        print_stderr(line)
    if dataset.has_test:
        return dataset, dataset.test, "test images"
    if run_folders.is_same_file(folder, str(config.get("data", ""))):
        return dataset, dataset.validation, "validation images, because there is no folder of test images"
    x, y = (np.concatenate(pair) for pair in zip(dataset.train, dataset.validation, strict=True))
    return dataset, (x, y), "images"


def _check_match(model: Sequential, kind: str, shape: tuple[int, ...], class_names: list[str], name: str) -> None:
    """Raise an error if the data have another sample shape or other classes than the model."""
    if model.input_shape is not None and tuple(model.input_shape) != shape:
        raise ValueError(
            f"the model takes inputs of {sample_shape_text(model.input_shape)}, but {name} has {kind} of "
            f"{sample_shape_text(shape)}: give another --data"
        )
    if model.class_names is not None and list(model.class_names) != class_names:
        raise ValueError(
            f"the model has the classes {_first_names(model.class_names)}, but {name} has {_first_names(class_names)}: "
            "give another --data"
        )


def _first_names(names: list[str]) -> str:
    shown = [printable(name) for name in (names[:3] if len(names) > 4 else names)]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 4 else "")
