"""The command line: `cnn train`, `evaluate`, `predict`, `summary`, `data`, `verify` and `bench`.

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
(128 and the signal's number after another signal than Ctrl-C's).
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cnn import __version__
from cnn.bench.run import LAYER_SECONDS, NET_SECONDS, NOTHING, ROUNDS, TORCH
from cnn.cli import examples, image_files, use, values
from cnn.cli.bench import bench
from cnn.cli.bench import check as check_bench
from cnn.cli.choices import settings, with_folder
from cnn.cli.interrupts import Interrupted
from cnn.cli.parser import Parser
from cnn.cli.settings import DATA_SETS, FOLDER, IMAGES, MODELS, POINTS, RECIPES
from cnn.cli.terminal import finish, note, short_warnings, tolerate_any_text
from cnn.cli.train import train
from cnn.cli.verify import check_names, verify
from cnn.data import unknown_name_message
from cnn.zoo import trained

COMMANDS = ("bench", "data", "evaluate", "predict", "summary", "train", "verify")
WITH_A_MODEL = ("evaluate", "predict", "summary")
DEBUG = "show the traceback of an error"


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
            parser.error(unknown_name_message("command", argv[at], COMMANDS))
        commands[argv[at]].refuse_unknown_options(argv[at + 1 :])
        if argv[at] in WITH_A_MODEL:
            try:
                argv = [*argv[: at + 1], *with_folder(argv[at + 1 :])]
            except ValueError as error:
                commands[argv[at]].error(str(error))
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        args.parser.refuse(unknown[0])
    try:
        if args.function is train:
            args.data, args.settings = settings(args)
        elif args.function is use.predict:
            args.images = image_files.expanded(args.images)
            _check_show_input(args)
        elif args.function is verify:
            check_names(args.names)
        elif args.function is bench:
            check_bench(args)
    except ValueError as error:
        args.parser.error(str(error))
    return args


def _check_show_input(args: argparse.Namespace) -> None:
    if args.show_input is None:
        return
    if args.show_input.suffix.lower() != ".png":
        raise ValueError(f"argument --show-input: expected a name that ends in .png, got {str(args.show_input)!r}")
    if any(use.is_same_file(args.show_input, image) for image in args.images):
        raise ValueError(f"argument --show-input: {args.show_input} is one of the images to read: give another name")


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the whole line, and that of each command."""
    parser = Parser(
        prog="cnn",
        description="Convolutional neural networks, written from the ground up in NumPy: train one, test it, use it.",
        epilog=examples.ALL,
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

    _train_options(add("train", train, "Train a net and test it. It leaves a run folder.", examples.TRAIN))
    what = "Print loss and accuracy of a model on a test set."
    _evaluate_options(add("evaluate", use.evaluate, what, examples.EVALUATE))
    _predict_options(add("predict", use.predict, "Say what images show.", examples.PREDICT))
    _run_argument(add("summary", use.summary, "Print what a model is made of.", examples.SUMMARY))
    what = "Fetch a data set, unless it is here, and print what it is."
    _data_options(add("data", use.data, what, examples.DATA))
    what = "Check layers, losses, optimizers and schedules against finite differences, PyTorch and ONNX."
    _verify_options(add("verify", verify, what, examples.VERIFY))
    what = "Measure speed and memory, beside PyTorch if it is installed."
    _bench_options(add("bench", bench, what, examples.BENCH))
    return parser, several.choices


def _train_options(parser: Parser) -> None:
    def default(name: str) -> str:
        values = (f"{getattr(usual, name):g}" for usual in (IMAGES, POINTS, FOLDER))
        return "(default {}; spiral {}; folder {})".format(*values)

    data = f"{', '.join(DATA_SETS)}, or a folder that holds a folder of images for each class"
    parser.add_argument("data", nargs="?", metavar="DATA", help=data)
    recipe = "for fashion-mnist: fast or best, which train fashion-cnn with changed images (docs/results.md); "
    recipe += "it sets --model, --epochs, --batch-size and --lr, each of which may be given as well"
    parser.add_argument("--recipe", type=values.one_of("recipe", RECIPES), metavar="NAME", help=recipe)
    models = "small-cnn (default for data sets of images), mlp (spiral), photo-cnn (folders) or fashion-cnn"
    parser.add_argument("--model", type=values.one_of("model", MODELS), metavar="NAME", help=models)
    parser.add_argument("--epochs", type=values.whole(1), metavar="N", help=f"passes over the data {default('epochs')}")
    parser.add_argument(
        "--batch-size", type=values.whole(1), metavar="N", help=f"samples per step {default('batch_size')}"
    )
    lr = "Adam's learning rate at the start; it falls in a straight line to 0"
    lr += f" {default('lr')}; of a recipe, the highest"
    parser.add_argument("--lr", type=values.at_least_0("0.001"), metavar="X", help=lr)
    seed = "of all that is random (default 0); the same seed gives the same model on the same machine with the same "
    seed += "number of threads"
    parser.add_argument("--seed", type=values.whole(0), metavar="N", help=seed)
    size = f"scale a folder's images to N x N pixels (default {FOLDER.image_size})"
    parser.add_argument("--image-size", type=values.whole(16), metavar="N", help=size)
    val = f"share of a folder's images held out for validation (default {FOLDER.validation:g})"
    parser.add_argument("--val", type=values.share, metavar="X", help=val)
    resume = "go on with a run that was stopped or killed, with the same bits; only --epochs may be given as well"
    parser.add_argument("--resume", type=Path, metavar="RUN", help=resume)
    out = "the run folder, which must not be there yet (default runs/DATA-1, -2, ...)"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=out)
    parser.add_argument("--json", action="store_true", help="print the results as JSON at the end, in place of text")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _evaluate_options(parser: Parser) -> None:
    _run_argument(parser)
    data = f"by default that of the run; {', '.join(DATA_SETS)}, or a folder of images"
    parser.add_argument("--data", type=values.data_or_folder, metavar="NAME", help=data)
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def _predict_options(parser: Parser) -> None:
    _run_argument(parser)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a PNG or JPEG file, of any size and colour; or *.png"
    )
    parser.add_argument(
        "--top", type=values.whole(1), default=3, metavar="N", help="how many classes to print (default 3)"
    )
    invert = "swap light and dark (default auto: if the border is light and the net sees grey)"
    parser.add_argument("--invert", choices=("auto", "yes", "no"), default="auto", help=invert)
    shown = "write what the net saw to this PNG file, enlarged"
    parser.add_argument("--show-input", type=Path, metavar="FILE", help=shown)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _data_options(parser: Parser) -> None:
    parser.add_argument("data", type=values.one_of("data set", DATA_SETS), metavar="NAME", help=", ".join(DATA_SETS))
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _verify_options(parser: Parser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a class, as Conv2d or conv2d (default: all)")
    parser.add_argument("--json", action="store_true", help="print every check as JSON")
    parser.add_argument("--left-out", action="store_true", help="name all vectors that were left out")


def _bench_options(parser: Parser) -> None:
    parser.add_argument("suite", nargs="?", default="all", metavar="SUITE", help="what to measure (default all); below")
    against = "torch (default if it is installed), or nothing: measure ours alone"
    parser.add_argument("--against", choices=(TORCH, NOTHING), metavar="LIBRARY", help=against)
    seconds = f"to spend on a case (default {NET_SECONDS:g}; single layers {LAYER_SECONDS:g})"
    parser.add_argument("--seconds", type=values.at_least_0("2.5"), metavar="X", help=seconds)
    rounds = f"turns of each program, at least (default {ROUNDS})"
    parser.add_argument("--rounds", type=values.whole(1), default=ROUNDS, metavar="N", help=rounds)
    parser.add_argument("--threads", type=values.whole(1), metavar="N", help="of both (default: the cores there are)")
    names = "of ours: reference, array or jit (default: the fastest there is)"
    parser.add_argument("--kernels", choices=("reference", "array", "jit"), metavar="NAME", help=names)
    parser.add_argument("--json", action="store_true", help="print all metrics as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios into this PNG file")


def _run_argument(parser: Parser) -> None:
    what = "a run folder, as `cnn train` leaves it, or a .safetensors file; or --model NAME in its place"
    parser.add_argument("run", metavar="RUN", help=what)
    known = f"in place of RUN, a net that comes with the library: {', '.join(trained.FOLDERS)}"
    parser.add_argument("--model", type=values.one_of("trained net", trained.FOLDERS), metavar="NAME", help=known)
