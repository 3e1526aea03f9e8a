"""`cnn predict`: print the most likely classes of images."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from cnn.cli import model_arguments
from cnn.cli.formatting import sample_shape_text
from cnn.cli.parser import Parser, integer_at_least
from cnn.cli.predict_images import ModelImage, contact_sheet, expand_patterns, read_for_model
from cnn.cli.run_folders import is_same_file
from cnn.cli.terminal import print_stderr, print_stdout
from cnn.core.files import write_bytes
from cnn.core.text import printable
from cnn.loss.bce_loss import BinaryLoss
from cnn.model.objective import Objective
from cnn.module import Array
from cnn.sequential import Sequential

DESCRIPTION = "Print the most likely classes of images."
EXAMPLE = """\
example, with the trained model that comes with cnn, for the classes of Fashion-MNIST:
  cnn predict --model fashion shoe.jpg

example:
  cnn predict runs/fashion-mnist-1 shoe.jpg --top 2 --show-input input.png
prints, with digits instead of the letters,
  shoe.jpg  (640 x 480 pixels, inverted: its border is light, nnn of 255)
     xx.x %  Sneaker
      y.y %  Ankle boot
and writes the input of the model, enlarged, to input.png. MNIST and Fashion-MNIST show light objects on black; a photo
of a dark object on white must be inverted first, which --invert auto decides by the brightness of its border. A model
that was trained on a folder of images reads an image exactly as in training.
Best is an image that one object fills, on a plain background."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn predict`."""
    model_arguments.add_arguments(parser)
    images = "a PNG or JPEG file of any size, in colour or grey; or a pattern such as *.png"
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=images)
    top = "number of classes to print (default 3)"
    parser.add_argument("--top", type=integer_at_least(1), default=3, metavar="N", help=top)
    invert = "swap light and dark (default auto: if the border is light and the model takes grey images)"
    parser.add_argument("--invert", choices=("auto", "yes", "no"), default="auto", help=invert)
    show_input = "write the input of the model, enlarged, to this PNG file"
    parser.add_argument("--show-input", type=Path, metavar="FILE", help=show_input)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def check(args: argparse.Namespace) -> None:
    """Expand patterns in ``args.images``, and check that --show-input does not overwrite one of them."""
    args.images = expand_patterns(args.images)
    if args.show_input is None:
        return
    if args.show_input.suffix.lower() != ".png":
        raise ValueError(f"argument --show-input: expected a name that ends in .png, got {str(args.show_input)!r}")
    if any(is_same_file(args.show_input, image) for image in args.images):
        raise ValueError(f"argument --show-input: {args.show_input} is one of the images to read: give another name")


def run(args: argparse.Namespace) -> int:
    """Print the most likely classes of each image, and return the exit status: 1 if an image could not be read."""
    path = model_arguments.find_model(args.run)
    model = Sequential.load(path)
    if model.input_shape is None:
        raise ValueError(
            f"{path} does not contain the shape of its inputs: set model.input_shape = (1, 28, 28) before save"
        )
    results: list[dict[str, Any]] = []
    pixels: list[Array] = []
    for name in args.images:
        try:
            image = read_for_model(name, model.input_shape, args.invert, model.preprocessing)
        except (OSError, ValueError) as error:
            results.append({"image": name, "error": str(error)})
            print_stderr(f"error: {error}")
            continue
        if image.nearly_one_colour:
            where = f"see {args.show_input}" if args.show_input else "--show-input FILE shows the input of the model"
            print_stderr(f"warning: {printable(name)}: the image is nearly one colour; {where}")
        classes = _most_likely(model, image, args.top)
        results.append(
            {"image": name, "inverted": image.inverted, "border_brightness": image.border, "classes": classes}
        )
        if not args.json:
            if pixels:
                print_stdout()
            width, height = image.size
            print_stdout(f"{printable(name)}  ({width} x {height} pixels, {image.reason})")
            for row in classes:
                print_stdout(f"  {100 * row['probability']:5.1f} %  {printable(row['name'])}")
        pixels.append(image.pixels)
    if args.json:
        print_stdout(json.dumps({"model": str(path), "images": results}, indent=2))
    if args.show_input is not None and pixels:
        write_bytes(args.show_input, contact_sheet(pixels))
        print_stderr(f"the input of the model is saved in {printable(args.show_input)}")
    return 0 if len(pixels) == len(args.images) else 1


def _most_likely(model: Sequential, image: ModelImage, count: int) -> list[dict[str, Any]]:
    names, is_binary = model.class_names, isinstance(model.loss_func, BinaryLoss)
    if not (is_binary or Objective(model, model.loss_func).has_classes):
        raise ValueError(
            f"the model has no classes: its loss is {model.loss_func!r}, without a final Softmax: use model.predict(x) "
            "in Python"
        )
    probabilities = model.predict_proba(model.preprocess(image.pixels[None]))[0]
    if probabilities.ndim != 1:
        raise ValueError(
            f"the model has no single class for an image, but outputs of {sample_shape_text(probabilities.shape)} for "
            "each: use model.predict(x) in Python"
        )
    if is_binary and probabilities.shape == (1,):  # the probability of yes; two names are those of no and yes
        probabilities = np.concatenate([1 - probabilities, probabilities])
        names = names if names is not None and len(names) == 2 else ["no", "yes"]
    if names is None:
        names = [f"{'label' if is_binary else 'class'} {k}" for k in range(len(probabilities))]
    top = np.argsort(-probabilities, kind="stable")[:count]
    return [{"name": names[k], "probability": float(probabilities[k])} for k in top]
