"""`cnn evaluate`: print loss and accuracy of a model on a test set."""

import argparse
import json
from pathlib import Path
from typing import Any

from cnn.cli import datasets, labelled_images, model_arguments, run_folders, run_images
from cnn.cli.datasets import model_inputs
from cnn.cli.formatting import correct_text, sample_shape_text
from cnn.cli.keep_best import balanced_accuracy
from cnn.cli.labelled_images import LabelledImages, first_names
from cnn.cli.parser import Parser
from cnn.cli.terminal import print_data, print_stderr, print_stdout, stdout_columns
from cnn.core.text import printable
from cnn.loss.bce_loss import BinaryLoss
from cnn.metrics import class_report
from cnn.sequential import Sequential
from cnn.training.evaluation import EVALUATION_BATCH_SIZE

VALUES_IN_A_BATCH = 2**23  # of images of 224 x 224 pixels 55: the layers of a net may need ten times their memory
DESCRIPTION = "Print loss and accuracy of a model on a test set."
EXAMPLE = """\
example:
  cnn evaluate runs/fashion-mnist-1
prints, with digits instead of the letters,
  runs/fashion-mnist-1/model.safetensors on Fashion-MNIST, 10,000 test images
  loss      0.xxxx
  accuracy  0.yyyy  (y,yyy of 10,000 correct; 95 % interval 0.zzz to 0.zzz)
and a table with precision, recall and F1 of each class. --data FOLDER evaluates a model that was trained on a folder
of images on other images, in folders with the same class names; some classes may be missing. Images that the model was
trained on are left out, also from a copy of the folder: the run knows them by their content."""


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
    model, config = model_arguments.load_model(path), run_folders.read_config(path)
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
        images = LabelledImages(*dataset.test, dataset.class_names, f"test {dataset.kind}", 0, [])
        title = dataset.title
    else:
        title, images = _load_folder(model, str(name), path, config)
    for line in images.told:
        print_stderr(line)
    x, y = images.x, images.y
    inputs = model_inputs(model, x)
    if isinstance(model.loss_func, BinaryLoss) and model.predict(inputs[:1]).shape == (1, 1):
        y = y.reshape(-1, 1)  # the classes 0 and 1 are no and yes
    batch_size = max(1, min(EVALUATION_BATCH_SIZE, VALUES_IN_A_BATCH // inputs[0].size))
    loss, accuracy = model.evaluate(inputs, y, batch_size)
    if args.json:
        result = {"model": str(path), "data": name, "part": images.part, "samples": len(x)}
        result |= {"left_out": images.left_out, "loss": loss, "accuracy": accuracy}
        result["balanced_accuracy"] = balanced_accuracy(y, model.predict(inputs, batch_size))
        print_data(json.dumps(result, indent=2))
        return 0
    print_stdout(f"{printable(path)} on {title}, {len(x):,} {images.what}")
    print_stdout(f"loss      {loss:.4f}")
    print_stdout(f"accuracy  {accuracy:.4f}  ({correct_text(accuracy, len(x))})")
    print_stdout(class_report(y, model.predict(inputs, batch_size), images.class_names).text(stdout_columns()))
    return 0


def data_name(text: str) -> str:
    """Convert the text of an argument that is the name of a data set or a folder."""
    try:
        return datasets.check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _load_folder(model: Sequential, folder: str, path: Path, config: dict[str, Any]) -> tuple[str, LabelledImages]:
    """Read a folder of images for the model in the file ``path``: -> (title, images).

    Images that the model was trained on are left out. If there is no list of them, and it is the folder of the run,
    those that it held out are used.
    """
    shape = model.input_shape or ()
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model takes inputs of {sample_shape_text(shape)}, not images: give another --data")
    print_stderr(f"reading the images in {printable(folder)} ...")
    title = f"the images in {printable(folder)}"
    saved = run_images.read(path.parent) if config else None
    if saved is None and run_folders.is_same_file(folder, str(config.get("data", ""))):
        size, grey = (shape[1], shape[2]), shape[0] == 1
        conversion = run_images.conversion_without_list(model.preprocessing)
        dataset = datasets.load(
            folder, int(config.get("seed", 0)), True, size, config.get("validation"), grey, config.get("group_by"),
            **conversion,
        )  # fmt: skip
        _check_match(model, dataset.kind, dataset.input_shape, dataset.class_names, folder)
        what = "test images" if dataset.has_test else labelled_images.VALIDATION_IMAGES
        return title, LabelledImages(*dataset.test, dataset.class_names, what, 0, dataset.skipped)
    return title, labelled_images.load(Path(folder), model, saved)


def _check_match(model: Sequential, kind: str, shape: tuple[int, ...], class_names: list[str], name: str) -> None:
    """Raise an error if the data have another sample shape or other classes than the model."""
    if model.input_shape is not None and tuple(model.input_shape) != shape:
        raise ValueError(
            f"the model takes inputs of {sample_shape_text(model.input_shape)}, but {name} has {kind} of "
            f"{sample_shape_text(shape)}: give another --data"
        )
    if model.class_names is not None and [*map(printable, model.class_names)] != [*map(printable, class_names)]:
        raise ValueError(
            f"the model has the classes {first_names(model.class_names)}, but {name} has {first_names(class_names)}: "
            "give another --data"
        )
