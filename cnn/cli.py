"""The command line: `cnn train`, `evaluate`, `predict`, `summary`, `data` and `verify`.

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
(128 and the signal's number after another signal than Ctrl-C's).
"""

import argparse
import math
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cnn import __version__
from cnn.commands import pictures, tasks, use
from cnn.commands.interrupts import Interrupted
from cnn.commands.parser import Parser
from cnn.commands.terminal import finish, note, short_warnings, tolerate_any_text
from cnn.commands.train import train
from cnn.commands.verify import check_names, verify
from cnn.data import unknown_name

COMMANDS = ("data", "evaluate", "predict", "summary", "train", "verify")
DEBUG = "show the traceback of an error"

EXAMPLE = """\
example, from nothing to the class of a photograph:
  cnn train fashion-mnist
  cnn evaluate runs/fashion-mnist-1
  cnn predict runs/fashion-mnist-1 shoe.jpg

exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted"""

TRAIN_EXAMPLE = """\
example:
  cnn train fashion-mnist --epochs 8 --seed 1 --out runs/mine
trains small-cnn, prints the figures of each epoch and the test accuracy, and leaves in runs/mine:
  config.json        the settings and the result
  history.jsonl      the figures of each epoch, a line each
  model.safetensors  the model; all that predicting needs
  curves.png, confusion.png, mistakes.png (for the spiral: boundary.png)

Ctrl-C stops after the step at hand and saves the run so far.
NO_PROGRESS=1 gives plain lines in place of the bar, NO_COLOR=1 a bar without colours."""

EVALUATE_EXAMPLE = """\
example:
  cnn evaluate runs/fashion-mnist-1
prints, with digits in place of the letters,
  runs/fashion-mnist-1/model.safetensors on Fashion-MNIST, 10,000 test images
  loss      0.xxxx
  accuracy  0.yyyy  (y,yyy of 10,000 right)"""

PREDICT_EXAMPLE = """\
example:
  cnn predict runs/fashion-mnist-1 shoe.jpg --top 2 --show-input seen.png
prints, with digits in place of the letters,
  shoe.jpg  (640 x 480 pixels, inverted: its border is light, nnn of 255)
     xx.x %  Sneaker
      y.y %  Ankle boot
and writes what the net saw, enlarged, to seen.png. MNIST and Fashion-MNIST show light things on black; a photograph
of a dark thing on white must be inverted first, which --invert auto decides by the brightness of its border.
Best is a picture that one thing fills, on an even ground."""

SUMMARY_EXAMPLE = """\
example:
  cnn summary runs/fashion-mnist-1
prints how the model was trained, its classes, and a table of its layers with their output shapes, parameters,
multiply-adds and memory."""

DATA_EXAMPLE = """\
example:
  cnn data fashion-mnist
prints title, source, licence, citation, the folder of the files and the classes. The data set is looked for in the
folder that the environment variable CNN_DATA names, in the Debian package's, in the user's cache, and is downloaded
only if it is in none. CNN_OFFLINE=1 forbids that."""

VERIFY_EXAMPLE = """\
example:
  cnn verify conv2d adam
prints a table: how many checks of Conv2d and Adam passed against finite differences, PyTorch and the vectors that ONNX
publishes, and the worst error of each; then the score. Without names it checks everything, in less than a minute, and
says how many of ONNX's vectors were left out and why. PyTorch and ONNX are used if they are installed:
  pip install torch onnx==1.22.0

exit status: 0 all passed, 1 something failed, 2 an unknown class"""


def entry_point() -> NoReturn:
    """Run the command line as a program."""
    tolerate_any_text()
    code = main()
    finish()
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Examples
    --------
    >>> main(["data", "spiral"])
    title     The spiral
    source    made by cnn.data.spiral: nothing to fetch
    citation  Stanford CS231n, Putting it together: Minimal Neural Network Case Study
    points    900 to train on, 300 to test with
    classes   arm 0, arm 1, arm 2
    0
    """
    debug = False
    try:
        args = _parse(list(sys.argv[1:] if argv is None else argv))
        debug = args.debug
        with short_warnings(shown=not getattr(args, "quiet", False)):
            return args.function(args)
    except SystemExit as stop:  # argparse's: help, version or a usage error
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as stop:
        note("interrupted")
        return stop.status if isinstance(stop, Interrupted) else 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        note(f"error: {_sentence(error)}")
        return 1


def _sentence(error: Exception) -> str:
    """Say what went wrong, for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError):
        return f"there is not enough memory; a smaller --batch-size needs less. {error}".rstrip(". ")
    if isinstance(error, (OSError, ValueError, FloatingPointError)):
        return str(error)
    return f"{type(error).__name__}: {error}. This is a fault in the program; --debug shows where"


def _parse(argv: list[str]) -> argparse.Namespace:
    parser, commands = _parsers()
    at = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    parser.refuse_unknown_options(argv[:at])
    if at < len(argv):
        if argv[at] not in COMMANDS:
            parser.error(unknown_name("command", argv[at], COMMANDS))
        commands[argv[at]].refuse_unknown_options(argv[at + 1 :])
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        args.parser.refuse(unknown[0])
    try:
        if args.function is train:
            chosen = {name: getattr(args, name) for name in ("model", "epochs", "batch_size", "lr", "seed")}
            args.settings = tasks.settings(args.data, **chosen)
        elif args.function is use.predict:
            args.images = pictures.expanded(args.images)
            _check_show_input(args)
        elif args.function is verify:
            check_names(args.names)
    except ValueError as error:
        args.parser.error(str(error))
    return args


def _check_show_input(args: argparse.Namespace) -> None:
    if args.show_input is None:
        return
    if args.show_input.suffix.lower() != ".png":
        raise ValueError(f"argument --show-input: expected a name that ends in .png, got {str(args.show_input)!r}")
    if any(use.is_same_file(args.show_input, image) for image in args.images):
        raise ValueError(f"argument --show-input: {args.show_input} is one of the pictures to read: give another name")


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the whole line, and that of each command."""
    parser = Parser(
        prog="cnn",
        description="Convolutional neural networks, written from the ground up in NumPy: train one, test it, use it.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=f"cnn {__version__}")
    parser.add_argument("--debug", action="store_true", help=DEBUG)
    several = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def add(name: str, function: Callable[..., int], what: str, example: str) -> Parser:
        help_ = what[0].lower() + what[1:].partition(".")[0]
        one = several.add_parser(name, help=help_, description=what, epilog=example)
        one.set_defaults(function=function, parser=one)
        # SUPPRESS: without the option here, that before the command counts
        one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG)
        return one

    _train_options(add("train", train, "Train a net and test it. It leaves a run folder.", TRAIN_EXAMPLE))
    what = "Print loss and accuracy of a model on a test set."
    _evaluate_options(add("evaluate", use.evaluate, what, EVALUATE_EXAMPLE))
    _predict_options(add("predict", use.predict, "Say what pictures show.", PREDICT_EXAMPLE))
    _run_argument(add("summary", use.summary, "Print what a model is made of.", SUMMARY_EXAMPLE))
    what = "Fetch a data set, unless it is here, and print what it is."
    _data_options(add("data", use.data, what, DATA_EXAMPLE))
    what = "Check layers, losses, optimizers and schedules against finite differences, PyTorch and ONNX."
    _verify_options(add("verify", verify, what, VERIFY_EXAMPLE))
    return parser, several.choices


def _train_options(parser: Parser) -> None:
    pictures, points = tasks.PICTURES, tasks.POINTS

    def default(name: str) -> str:
        return f"(default {getattr(pictures, name):g}; spiral {getattr(points, name):g})"

    parser.add_argument("data", type=_data_set, metavar="DATA", help=", ".join(tasks.DATA_SETS))
    parser.add_argument("--model", type=_model, metavar="NAME", help="small-cnn (default for pictures) or mlp (spiral)")
    parser.add_argument("--epochs", type=_whole(1), metavar="N", help=f"passes over the data {default('epochs')}")
    parser.add_argument("--batch-size", type=_whole(1), metavar="N", help=f"samples per step {default('batch_size')}")
    lr = f"Adam's learning rate at the start; it falls in a straight line to 0 {default('lr')}"
    parser.add_argument("--lr", type=_learning_rate, metavar="X", help=lr)
    seed = "of all that is random (default 0); the same seed gives the same model on the same machine with the same "
    seed += "number of threads"
    parser.add_argument("--seed", type=_whole(0), metavar="N", help=seed)
    out = "the run folder, which must not be there yet (default runs/DATA-1, -2, ...)"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=out)
    parser.add_argument("--json", action="store_true", help="print the results as JSON at the end, in place of text")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _evaluate_options(parser: Parser) -> None:
    _run_argument(parser)
    data = f"by default that of the run; {', '.join(tasks.DATA_SETS)}"
    parser.add_argument("--data", type=_data_set, metavar="NAME", help=data)
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def _predict_options(parser: Parser) -> None:
    _run_argument(parser)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a PNG or JPEG file, of any size and colour; or *.png"
    )
    parser.add_argument("--top", type=_whole(1), default=3, metavar="N", help="how many classes to print (default 3)")
    invert = "swap light and dark (default auto: if the border is light and the net sees grey)"
    parser.add_argument("--invert", choices=("auto", "yes", "no"), default="auto", help=invert)
    shown = "write what the net saw to this PNG file, enlarged"
    parser.add_argument("--show-input", type=Path, metavar="FILE", help=shown)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _data_options(parser: Parser) -> None:
    parser.add_argument("data", type=_data_set, metavar="NAME", help=", ".join(tasks.DATA_SETS))
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _verify_options(parser: Parser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a class, as Conv2d or conv2d (default: all)")
    parser.add_argument("--json", action="store_true", help="print every check as JSON")
    parser.add_argument("--left-out", action="store_true", help="name all vectors that were left out")


def _run_argument(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder, as `cnn train` leaves it, or a .safetensors file")


def _data_set(name: str) -> str:
    if name not in tasks.DATA_SETS:
        raise argparse.ArgumentTypeError(unknown_name("data set", name, tasks.DATA_SETS))
    return name


def _model(name: str) -> str:
    if name not in tasks.MODELS:
        raise argparse.ArgumentTypeError(unknown_name("model", name, tasks.MODELS))
    return name


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return value

    return number


def _learning_rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, such as 0.001, got {text!r}")
    return value
