"""`cnn predict`: print the most likely classes of images."""

import argparse
import warnings
from contextlib import closing
from pathlib import Path

from cnn.cli import model_arguments
from cnn.cli.parser import Parser, integer_at_least
from cnn.cli.predict_images import expand_patterns, files_in, read_for_model
from cnn.cli.predict_output import INPUTS_SHOWN, MANY_CLASSES, TOP, TOP_OF_MANY, Output
from cnn.cli.predict_stream import fewer_kernel_threads, predictions
from cnn.cli.run_folders import is_same_file
from cnn.loss.bce_loss import BinaryLoss
from cnn.model.objective import Objective
from cnn.sequential import Sequential

DESCRIPTION = "Print the most likely classes of images."
EXAMPLE = """\
example, with the trained model that comes with cnn, for the classes of Fashion-MNIST:
  cnn predict --model fashion shoe.jpg

example, with the 1,000 classes of ImageNet, such as hen, daisy and coffee mug; needs: pip install "cnn[pretrained]"
  cnn predict --model imagenet photo.jpg

example:
  cnn predict runs/fashion-mnist-1 shoe.jpg --top 2 --show-input input.png
prints, with digits instead of the letters,
  shoe.jpg  (640 x 480 pixels, inverted: its border is light, nnn of 255)
     xx.x %  Sneaker
      y.y %  Ankle boot
and writes the input of the model, enlarged, to input.png. MNIST and Fashion-MNIST show light objects on black; a photo
of a dark object on white must be inverted first, which --invert auto decides by the brightness of its border. A model
that was trained on a folder of images reads an image exactly as in training.
Best is an image that one object fills, on a plain background.

example, for all images in a folder and in the folders inside it, except those of runs:
  cnn predict runs/flowers-1 photos
  cnn predict runs/flowers-1 photos --csv > flowers.csv
The first prints a line for each image. The second prints rows of file, class, probability, the second guess and its
probability, and the error of a file that cannot be read. In the CSV, backslashes and control characters in names are
escaped as in Python, ./ in front of a file name or an apostrophe in front of a class means that it would otherwise
start like a formula. --json prints one JSON object on a line for each image, as soon as it is done.

exit status: 1 if an image could not be read; other files in a folder, such as notes.txt, are only named"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn predict`."""
    model_arguments.add_arguments(parser)
    images = "an image file of any size, in colour or grey; a pattern such as *.png; or a folder"
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=images)
    top = f"number of classes to print for an image (default {TOP}; of {MANY_CLASSES} classes or more, {TOP_OF_MANY}; "
    top += "in a line of text, 1)"
    parser.add_argument("--top", type=integer_at_least(1), metavar="N", help=top)
    invert = "swap light and dark (default auto: if the border is light and the model takes grey images)"
    parser.add_argument("--invert", choices=("auto", "yes", "no"), default="auto", help=invert)
    show_input = f"write the input of the model, enlarged, to this PNG file (the first {INPUTS_SHOWN} images)"
    parser.add_argument("--show-input", type=Path, metavar="FILE", help=show_input)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the result as JSON, one line for each image")
    forms.add_argument("--csv", action="store_true", help="print the result as CSV, one row for each image")


def check(args: argparse.Namespace) -> None:
    """Expand patterns in ``args.images``, and check that --show-input does not overwrite one of them."""
    if "" in args.images:
        raise ValueError("argument IMAGE: the name is empty: write . for the current folder")
    args.images = expand_patterns(args.images)
    if args.csv and args.top is not None:
        raise ValueError("argument --top: not with --csv, which has the two most likely classes; --json takes --top")
    if args.show_input is None:
        return
    if args.show_input.suffix.lower() != ".png":
        raise ValueError(f"argument --show-input: expected a name that ends in .png, got {str(args.show_input)!r}")
    _check_not_read(args.show_input, args.images)


def _check_not_read(show_input: Path, names: list[str]) -> None:
    if any(is_same_file(show_input, name) for name in names):
        raise ValueError(f"argument --show-input: {show_input} is one of the images to read: give another name")


def run(args: argparse.Namespace) -> int:
    """Print the most likely classes of each image, and return the exit status: 1 if an image could not be read."""
    path = model_arguments.find_model(args.run)
    model = model_arguments.load_model(path)
    if model.input_shape is None:
        raise ValueError(
            f"{path} does not contain the shape of its inputs: set model.input_shape = (1, 28, 28) before save"
        )
    _check_has_classes(model)
    shape, preprocessing = model.input_shape, model.preprocessing
    found = {name: files_in(name) for name in args.images if Path(name).is_dir()}
    names = [file for name in args.images for file in (found.get(name) or [name])]
    if args.show_input is not None:
        _check_not_read(args.show_input, names)
    given = set(args.images)
    predicted = predictions(model, names, lambda name: read_for_model(name, shape, args.invert, preprocessing))
    form = form_of(args, any(found.values()))
    with (
        Output(model, form, args.top, args.show_input, len(names)) as output,
        warnings.catch_warnings(),
        fewer_kernel_threads(),
        closing(predicted),  # before the warnings are as they were, the readers have ended
    ):
        # Pillow's warnings about invalid metadata; ignored here, because only one thread at a time can do so safely
        warnings.filterwarnings("ignore", module=r"PIL\.|cnn\.data\.images")
        for one in predicted:
            if not output.add(one, is_given=one.name in given):
                return 0
        return output.end()


def form_of(args: argparse.Namespace, has_folder: bool) -> str:
    """Return one of "json", "csv", "lines" and "blocks": how predictions are printed."""
    if args.json or args.csv:
        return "json" if args.json else "csv"
    return "lines" if has_folder else "blocks"


def _check_has_classes(model: Sequential) -> None:
    if not (isinstance(model.loss_func, BinaryLoss) or Objective(model, model.loss_func).has_classes):
        raise ValueError(
            f"the model has no classes: its loss is {model.loss_func!r}, without a final Softmax: use model.predict(x) "
            "in Python"
        )
