"""`cnn train`: train a model on a data set and write a run folder."""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import cnn
from cnn.cli import augmentation, datasets, run_folders, run_images, train_recipes, trials
from cnn.cli.augmentation import Augmentation
from cnn.cli.datasets import Dataset
from cnn.cli.keep_best import METRICS
from cnn.cli.parser import Parser, integer_at_least, non_negative_number, one_of
from cnn.cli.terminal import print_stderr
from cnn.cli.train_recipes import (
    FOLDER_SETTINGS,
    IMAGE_SETTINGS,
    MODELS,
    POINT_SETTINGS,
    RECIPES,
    Settings,
    settings_for,
)
from cnn.cli.train_run import TrainingRun
from cnn.core.text import printable
from cnn.data.folder_splits import group_pattern
from cnn.errors import InputError
from cnn.sequential import Sequential

DESCRIPTION = "Train a model, test it, and write a run folder."
EXAMPLE = """\
example:
  cnn train fashion-mnist --epochs 8 --seed 1 --out runs/mine
  cnn train fashion-mnist --recipe best
trains small-cnn (with a recipe: fashion-cnn, for longer and with data augmentation), prints the metrics of each epoch
and the test accuracy, and writes to runs/mine:
  config.json        the settings and the result
  history.jsonl      the metrics, one line per epoch
  model.safetensors  the model; prediction needs no other file
  curves.png, confusion.png, mistakes.png (for the spiral: boundary.png)
  predictions.csv    for a folder: what was predicted for each validation or test image

your own images:
  cnn train flowers
where the folder flowers has one folder per class, such as flowers/rose/1.jpg and flowers/tulip/a.png. A fifth of each
class is held out for validation; or divide the images into flowers/train, flowers/val and flowers/test (for a final
test) yourself, each with the folders of the classes. JPEG, PNG, GIF, BMP, TIFF and WebP images of any size are
rotated upright and resized to 64 x 64 pixels; files that cannot be read are listed and skipped. 50 images per class
are few, 200 are good. If several images show the same thing, such as rose_1.jpg and rose_2.jpg the same flower, keep
them on one side with --group-by '{group}_*'; copies of a file are recognised without it. The run folder also has
images.json, by which cnn evaluate knows the images that the model was trained on.
The training images are changed at random, so that the net cannot learn them by heart: shifted, flipped, and so on.
Which changes help, short trials decide (--augment auto); samples.png shows the changes. If some classes have far fewer
images than others, cnn says so; --balance lets their errors count more.
The names of data sets take precedence: use ./mnist for a folder called mnist.

Ctrl-C stops after the current step and saves the run so far.
NO_PROGRESS=1 prints plain lines instead of the progress bar, NO_COLOR=1 a bar without colours."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn train`."""

    def defaults(name: str) -> str:
        values = (f"{getattr(settings, name):g}" for settings in (IMAGE_SETTINGS, POINT_SETTINGS, FOLDER_SETTINGS))
        return "(default {}; spiral {}; folder {})".format(*values)

    data = f"{', '.join(datasets.NAMES)}, or a folder with one folder of images per class"
    parser.add_argument("data", nargs="?", metavar="DATA", help=data)
    recipe = "for fashion-mnist: fast or best, which train fashion-cnn with data augmentation (docs/results.md); "
    recipe += "sets --model, --epochs, --batch-size and --lr, which can still be given"
    parser.add_argument("--recipe", type=one_of("recipe", RECIPES), metavar="NAME", help=recipe)
    model = "small-cnn (default for image data sets), mlp (for the spiral), photo-cnn (for folders) or fashion-cnn"
    parser.add_argument("--model", type=one_of("model", MODELS), metavar="NAME", help=model)
    epochs = f"passes over the training data {defaults('epochs')}"
    parser.add_argument("--epochs", type=integer_at_least(1), metavar="N", help=epochs)
    batch_size = f"samples per step {defaults('batch_size')}"
    parser.add_argument("--batch-size", type=integer_at_least(1), metavar="N", help=batch_size)
    lr = f"initial learning rate of Adam, which decreases linearly to 0 {defaults('lr')}; of a recipe, the highest"
    parser.add_argument("--lr", type=non_negative_number("0.001"), metavar="X", help=lr)
    seed = "random seed (default 0); on one machine, the same seed and number of threads give the same model"
    parser.add_argument("--seed", type=integer_at_least(0), metavar="N", help=seed)
    size = f"resize the images of a folder to N x N pixels (default {FOLDER_SETTINGS.image_size})"
    parser.add_argument("--image-size", type=integer_at_least(16), metavar="N", help=size)
    val = f"fraction of the images of a folder to hold out for validation (default {FOLDER_SETTINGS.validation:g})"
    parser.add_argument("--val", type=fraction, metavar="X", help=val)
    group_by = (
        "keep related images on one side when images are held out: a pattern of file names in which {group} marks "
    )
    group_by += "the name of the group, such as '{group}_*' or, for folders inside the class folders, '{group}/*'"
    parser.add_argument("--group-by", type=pattern, metavar="PATTERN", help=group_by)
    resume = (
        "resume a run that was stopped or killed, with bit-identical results; only --epochs and --data can be given"
    )
    augment = (
        "random changes of the training images of a folder: auto (default), which tries which of the others help; "
    )
    augment += (
        "none; flip, left to right; light: small shifts, brightness and contrast; strong: larger ones, rotation; "
    )
    augment += "light+flip; strong+flip"
    names = (*augmentation.NAMES, augmentation.AUTO)
    parser.add_argument("--augment", type=one_of("kind of changes", names), metavar="NAME", help=augment)
    balance = (
        "for a folder: let the errors in classes with few images count more in training; the validation loss stays "
    )
    balance += "comparable"
    parser.add_argument("--balance", action="store_true", default=None, help=balance)
    keep = "for a folder: the result is the weights of the epoch with the best accuracy, balanced-accuracy or loss on "
    keep += "the validation images, of equal ones that with the lowest loss (default: those of the last epoch)"
    parser.add_argument("--keep-best", type=one_of("metric", METRICS), metavar="METRIC", help=keep)
    parser.add_argument("--resume", type=Path, metavar="RUN", help=resume)
    moved = "with --resume: where the folder of images is now, if it has moved; its images must be the same"
    parser.add_argument("--data", type=Path, dest="moved", metavar="FOLDER", help=moved)
    out = "the run folder, which must not exist yet (default runs/DATA-1, -2, ...)"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=out)
    parser.add_argument("--json", action="store_true", help="print the results as JSON at the end, instead of text")
    parser.add_argument("--quiet", action="store_true", help="print only errors")


def check(args: argparse.Namespace) -> None:
    """Replace ``args.data`` by the data set or folder to train on, and add ``args.settings``."""
    args.data, args.settings = data_and_settings(args)


def run(args: argparse.Namespace) -> int:
    """Train, test, write a run folder, and return the exit status."""
    settings: Settings = args.settings
    if args.resume is None and args.out is not None:
        run_folders.check_new(args.out)  # before the data are read, which may take long
    if (
        args.resume is not None
        and is_finished(args.resume, settings.epochs)
        and not lacks_files(args.resume, args.data)
    ):
        print_stderr(f"{args.resume} is finished: give --epochs N with more than {settings.epochs} to train it further")
        return 0
    saved = None if args.resume is None else run_images.read(args.resume)
    try:
        dataset = datasets.load(
            args.data,
            settings.seed,
            args.quiet,
            image_size=settings.image_size,
            validation=settings.validation,
            group_by=settings.group_by,
            **(_conversion(args.resume, saved) if args.resume is not None else {}),
        )
    except InputError as error:
        origin = f"; {args.resume} was trained on it" if args.resume is not None else ""
        text = str(error).replace("group_by=", "--group-by ", 1)
        raise type(error)(f"{text}{origin}") from None
    if saved is not None:
        run_images.check_same(args.resume, saved[0], dataset)
    changes = changes_for(dataset, settings, args.resume, args.quiet)
    if changes is not None:
        dataset = dataclasses.replace(dataset, transforms=changes.transforms)
    cnn.manual_seed(settings.seed)
    plan = train_recipes.plan(dataset, settings)
    folder = run_folders.create(dataset.name, args.out) if args.resume is None else args.resume
    if args.resume is None:
        run_images.write(folder, dataset)
    return TrainingRun(
        dataset,
        settings,
        plan,
        folder,
        changes=changes,
        resume=args.resume is not None,
        quiet=args.quiet,
        as_json=args.json,
    ).run()


def _conversion(run: Path, saved: tuple[run_images.RunImages, dict[str, Any]] | None) -> dict[str, Any]:
    """Return how a run that is resumed read its images: from images.json, or else from its model."""
    if saved is not None:
        return saved[1]
    path = run / run_folders.MODEL
    return run_images.conversion_without_list(Sequential.load(path).preprocessing if path.is_file() else None)


def changes_for(dataset: Dataset, settings: Settings, resume: Path | None, quiet: bool) -> Augmentation | None:
    """Return the random changes of the training images: as given, as recorded, or as trials decide; None: no folder."""
    if settings.augment is None:
        return None
    if resume is not None:
        return augmentation.recorded(run_folders.config_to_resume(resume), dataset)
    if settings.augment == augmentation.AUTO:
        try:
            if quiet:
                return trials.choose(dataset, settings, tell=lambda line: None)
            return trials.choose(dataset, settings, print_stderr, trials.live_line())
        except KeyboardInterrupt:
            raise KeyboardInterrupt("nothing is saved yet: run the same command again") from None
    return augmentation.fixed(settings.augment, dataset)


def data_and_settings(args: argparse.Namespace) -> tuple[str, Settings]:
    """Return the data and the settings: from the options, or from the run to resume, where only the epochs may differ.

    Raises
    ------
    ValueError
        If options do not fit together; the message names them.
    """
    chosen = {
        "model": args.model,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "lr": args.lr,
        "seed": args.seed,
        "image_size": args.image_size,
        "validation": args.val,
        "group_by": args.group_by,
        "recipe": args.recipe,
        "augment": args.augment,
        "balance": args.balance,
        "keep_best": args.keep_best,
    }
    if args.resume is None:
        if args.data is None:
            raise ValueError(f"give the data to train on: {', '.join(datasets.NAMES)} or a folder of images")
        if run_folders.is_run_folder(Path(args.data)):
            raise ValueError(f"{args.data} is a run folder: did you mean --resume {args.data}?")
        if args.moved is not None:
            raise ValueError("--data is for --resume: give the folder to train on without it")
        return datasets.check_name(args.data), settings_for(args.data, **chosen)
    if args.data is not None:
        raise ValueError(
            f"--resume takes the data from the run; if they have moved, write --data {printable(args.data)}"
        )
    given = [name for name, value in chosen.items() if value is not None and name != "epochs"]
    given += ["out"] if args.out is not None else []
    if given:
        raise ValueError(
            f"--resume uses the settings of the run, and only --epochs and --data may change, not {given[0]}"
        )
    config = run_folders.config_to_resume(args.resume)
    data = str(config["data"])
    saved = {name: config.get(name) for name in chosen}
    if data not in datasets.NAMES and saved["augment"] is None:
        saved["augment"] = augmentation.EARLIER
    if args.epochs is not None:
        if args.epochs < int(config.get("epochs", 1)):
            raise ValueError(f"{args.resume} has {config['epochs']} epochs: --epochs must be at least as many")
        saved["epochs"] = args.epochs
    if data in datasets.NAMES and args.moved is not None:
        raise ValueError(f"--data is for a folder of images that has moved, but {args.resume} was trained on {data}")
    if args.moved is not None:
        data = str(args.moved.resolve())
    elif data not in datasets.NAMES and not Path(data).is_dir():
        raise FileNotFoundError(
            f"there is no folder {printable(data)}, on which {printable(args.resume)} was trained: if it has moved, "
            "give --data FOLDER"
        )
    return datasets.check_name(data), settings_for(data, **saved)


def is_finished(folder: Path, epochs: int) -> bool:
    """Return whether a run has completed this number of epochs and its final test."""
    config = run_folders.config_to_resume(folder)
    return config.get("status") == "finished" and config.get("epochs") == epochs


def lacks_files(folder: Path, data: str) -> bool:
    """Return whether files are missing that a finished run on these data has, because something stopped it earlier."""
    names = [run_folders.CURVES, run_folders.CONFUSION]
    names.append(run_folders.BOUNDARY if data == "spiral" else run_folders.MISTAKES)
    names += [] if data in datasets.NAMES else [run_folders.PREDICTIONS]
    return not all((folder / name).is_file() for name in names)


def pattern(text: str) -> str:
    """Check the text of an argument that is a pattern of file names with a group."""
    try:
        group_pattern(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).replace("group_by must be", "expected", 1)) from None
    return text


def fraction(text: str) -> float:
    """Convert the text of an argument that is a number between 0 and 1, both excluded."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, such as 0.2, got {text!r}")
    return value
