"""The options of `cnn train`, and its help."""

import argparse
import math
from pathlib import Path

from cnn.cli import augmentation, datasets
from cnn.cli.keep_best import METRICS
from cnn.cli.parser import Parser, integer_at_least, non_negative_number, one_of
from cnn.cli.train_settings import FOLDER_SETTINGS, HEAD_SETTINGS, IMAGE_SETTINGS, MODELS, POINT_SETTINGS, RECIPES
from cnn.data.folder_splits import group_pattern
from cnn.errors import InputError

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
few photographs, 30 per class:
  cnn train flowers --pretrained
  cnn train flowers --pretrained --fine-tune 5
starts from a net that has seen ImageNet, and trains a new last layer for your classes in seconds; then, if asked for,
the upper layers for 5 epochs. --from RUN starts from a net of your own. docs/fine_tuning.md says more.

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
    size = f"resize the images of a folder to N x N pixels (default {FOLDER_SETTINGS.image_size}); with --from, only "
    size += "for an .onnx file that leaves the size open"
    parser.add_argument("--image-size", type=integer_at_least(16), metavar="N", help=size)
    val = f"fraction of the images of a folder to hold out for validation (default {FOLDER_SETTINGS.validation:g})"
    parser.add_argument("--val", type=fraction, metavar="X", help=val)
    group_by = (
        "keep related images on one side when images are held out: a pattern of file names in which {group} marks "
    )
    group_by += "the name of the group, such as '{group}_*' or, for folders inside the class folders, '{group}/*'"
    parser.add_argument("--group-by", type=pattern, metavar="PATTERN", help=group_by)
    resume = (
        "resume a run that was stopped or killed, with bit-identical results; only --epochs, --fine-tune, --data and "
    )
    resume += "--from (if the files have moved) can be given"
    augment = "random changes of the training images of a folder: auto, which tries which of the others help (the "
    augment += "default, but none with --pretrained or --from); none; flip, left to right; light: small shifts, "
    augment += "brightness and contrast; strong: larger ones, rotation; light+flip; strong+flip"
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
    pretrained = "for a folder: start from a net that has seen ImageNet, and train a new last layer for the classes; "
    pretrained += "best with few photographs; --epochs, --batch-size and --lr are then those of this layer, by default "
    pretrained += f"{HEAD_SETTINGS.epochs}, {HEAD_SETTINGS.batch_size} and {HEAD_SETTINGS.lr:g}"
    parser.add_argument("--pretrained", action="store_true", default=None, help=pretrained)
    start = "for a folder: start from the net of this run, .safetensors or .onnx file, with a new last layer"
    parser.add_argument("--from", type=path, dest="start", metavar="FILE", help=start)
    fine_tune = "with --pretrained or --from: then train the upper layers, too, for N epochs at a small rate"
    parser.add_argument("--fine-tune", type=integer_at_least(1), metavar="N", help=fine_tune)
    parser.add_argument("--resume", type=path, metavar="RUN", help=resume)
    moved = "with --resume: where the folder of images is now, if it has moved; its images must be the same"
    parser.add_argument("--data", type=path, dest="moved", metavar="FOLDER", help=moved)
    out = "the run folder, which must not exist yet (default runs/DATA-1, -2, ...)"
    parser.add_argument("--out", type=path, metavar="FOLDER", help=out)
    stall = "with mpiexec: all processes end if one makes the others wait for so long (default 600)"
    parser.add_argument("--stall-seconds", type=integer_at_least(1), default=600, metavar="N", help=stall)
    parser.add_argument("--json", action="store_true", help="print the results as JSON at the end, instead of text")
    parser.add_argument("--quiet", action="store_true", help="print only errors")


def path(text: str) -> Path:
    """Convert the text of an argument that is a file or a folder; an empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a file or a folder, got an empty text")
    return Path(text)


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
