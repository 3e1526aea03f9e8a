"""What `cnn predict` prints for each image, as blocks of text, lines of text, JSON or CSV, and for all of them."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cnn.cli.csv_text import csv_line, path_cell, text_cell
from cnn.cli.formatting import count_text, sample_shape_text
from cnn.cli.predict_images import ModelImage, contact_sheet, looks_like_an_image
from cnn.cli.predict_stream import Prediction
from cnn.cli.terminal import LiveCount, print_data, print_stderr, print_stdout, stdout_columns
from cnn.core.files import write_bytes
from cnn.core.text import cut, padded, printable, width
from cnn.data.class_folders import shortened
from cnn.loss.bce_loss import BinaryLoss
from cnn.module import Array
from cnn.sequential import Sequential

TOP, TOP_OF_MANY = 3, 5  # classes of an image, if --top is not given
MANY_CLASSES = 100
INPUTS_SHOWN = 96  # images of --show-input
NAMES_SHOWN, CLASSES_SHOWN = 3, 20
NOT_IMAGES = ("is not an image", "are not images")
CLASS_WIDTH = 24  # columns for a class before the name of the file
CSV_COLUMNS = ("file", "class", "probability", "second_class", "second_probability", "error")

Classes = list[dict[str, Any]]  # the most likely first, each with "name" and "probability"


class Output:
    """Prints each prediction in one of four forms, and at the end what is to be said about all of them.

    Parameters
    ----------
    model : Sequential
    form : {"blocks", "lines", "json", "csv"}
    top : int or None
        Number of classes to print for an image; None for the default of the form.
    show_input : Path or None
        The PNG file for the inputs of the model.
    total : int
        The number of files.
    """

    def __init__(self, model: Sequential, form: str, top: int | None, show_input: Path | None, total: int) -> None:
        self._live, self._seen = LiveCount(total), 0
        self._model, self._form, self._show_input = model, form, show_input
        many = len(model.class_names or ()) >= MANY_CLASSES
        self._top = top or {"csv": 2, "lines": 1}.get(form, TOP_OF_MANY if many else TOP)
        self._names: list[str] | None = None  # of the classes, after the first image
        self._counts: Counter[str] = Counter()  # images of each class
        self._pixels: list[Array] = []
        self._failed = 0
        self._not_images: list[str] = []
        self._nearly_one_colour: list[str] = []
        if form == "csv":
            if hasattr(sys.stdout, "reconfigure"):  # a name must not lose a character that the encoding lacks
                sys.stdout.reconfigure(errors="backslashreplace")
            print_data(csv_line(CSV_COLUMNS))

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *error: object) -> None:
        """Remove what is not to stay in the terminal."""
        self._live.hide()

    def add(self, one: Prediction, is_given: bool) -> bool:
        """Print a prediction; return False if nobody reads the output any more.

        Parameters
        ----------
        one : Prediction
            It is the next one in order.
        is_given : bool
            Whether the user named the file, and not a folder that it is in.
        """
        self._seen += 1
        self._live.show(self._seen)
        if one.image is None or one.probabilities is None:
            return self._add_error(one, is_given)
        names = self._names = self._names or class_names(self._model, one.probabilities)
        classes = most_likely(names, one.probabilities, self._top)
        is_first = not self._counts
        self._counts[classes[0]["name"]] += 1
        if len(self._pixels) < INPUTS_SHOWN and self._show_input is not None:
            self._pixels.append(one.image.pixels)
        if one.nearly_one_colour:
            self._nearly_one_colour.append(one.name)
            if self._form == "blocks":
                self._warn_about_colour(printable(one.name))
        if self._form == "json":
            return print_data(json_line(one.name, one.image, classes))
        if self._form == "csv":
            return print_data(csv_row(one.name, classes))
        if self._form == "lines":
            columns = min(CLASS_WIDTH, max(width(printable(name)) for name in names))
            if stdout_columns() is not None:  # a terminal, where a line should not be broken
                classes = [{**row, "name": cut(printable(row["name"]), columns)} for row in classes]
            return print_data(text_line(one.name, classes, columns))
        return print_stdout(("" if is_first else "\n") + block(one.name, one.image, classes))

    def _add_error(self, one: Prediction, is_given: bool) -> bool:
        if not (is_given or looks_like_an_image(one.name)):
            self._not_images.append(one.name)
            return True
        self._failed += 1
        self._live.hide()
        print_stderr(f"error: {one.error}")
        if self._form == "json":
            return print_data(json.dumps({"image": one.name, "error": one.error}))
        if self._form == "csv":
            return print_data(csv_row(one.name, [], one.error.removeprefix(f"{printable(one.name)} ")))
        return True

    def _warn_about_colour(self, names: str) -> None:
        shown = self._show_input
        where = f"see {printable(shown)}" if shown else "--show-input FILE shows the input of the model"
        print_stderr(f"warning: {names}: the image is nearly one colour; {where}")

    def end(self) -> int:
        """Print what is to be said about all images, and return the exit status."""
        self._live.hide()
        if self._show_input is not None and self._pixels:
            write_bytes(self._show_input, contact_sheet(self._pixels))
            print_stderr(f"the input of the model is saved in {printable(self._show_input)}")
        if self._form != "blocks":
            self._print_notes()
        if self._form == "lines":
            counts = [f"{printable(name)} {count:,}" for name, count in self._counts.most_common()]
            print_stderr(
                f"{count_text(self._counts.total(), 'image')}: {shortened(counts, CLASSES_SHOWN) or 'nothing'}"
            )
        return int(self._failed > 0 or not self._counts)

    def _print_notes(self) -> None:
        """Print what would be repeated too often if each image said it, and how many files are not predicted."""
        if count := len(self._nearly_one_colour):
            example = printable(self._nearly_one_colour[0])
            self._warn_about_colour(example if count == 1 else f"{example} and {count - 1:,} more")
        if count := len(self._not_images):
            names = shortened([printable(name) for name in self._not_images], NAMES_SHOWN)
            print_stderr(f"skipped {count_text(count, 'file')} that {NOT_IMAGES[count > 1]}: {names}")
        if self._failed and self._form != "json":
            print_stderr(f"{count_text(self._failed, 'image')} could not be read")


def json_line(name: str, image: ModelImage, classes: Classes) -> str:
    """Return a prediction as a JSON object on one line, in ASCII; images in colour are inverted only on request."""
    says_more = len(image.pixels) == 1 or image.inverted
    found = {"inverted": image.inverted, "border_brightness": image.border} if says_more else {}
    return json.dumps({"image": name, **found, "classes": classes})


def csv_row(name: str, classes: Classes, error: str = "") -> str:
    """Return the row of an image, with the columns of `CSV_COLUMNS`.

    Examples
    --------
    >>> csv_row("a,b.png", [{"name": "rose", "probability": 0.75}, {"name": "tulip", "probability": 0.25}])
    '"a,b.png",rose,0.750000,tulip,0.250000,'
    """
    cells = [cell for row in classes[:2] for cell in (text_cell(row["name"]), f"{row['probability']:.6f}")]
    empty = [""] * (len(CSV_COLUMNS) - 2 - len(cells))
    return csv_line([path_cell(name), *cells, *empty, text_cell(error)])


def text_line(name: str, classes: Classes, columns: int) -> str:
    """Return a prediction as one line of text, with so many ``columns`` for each class.

    Examples
    --------
    >>> text_line("a.png", [{"name": "rose", "probability": 0.75}], 6)
    ' 75.0 %  rose    a.png'
    """
    texts = [f"{100 * row['probability']:5.1f} %  {padded(printable(row['name']), columns)}" for row in classes]
    return "  ".join([*texts, printable(name)])


def block(name: str, image: ModelImage, classes: Classes) -> str:
    """Return a prediction as lines of text, with the size of the image and whether it was inverted."""
    across, down = image.size
    lines = [f"  {100 * row['probability']:5.1f} %  {printable(row['name'])}" for row in classes]
    about = f"{across} x {down} pixels" + (f", {image.reason}" if image.reason else "")
    return "\n".join([f"{printable(name)}  ({about})", *lines])


def class_names(model: Sequential, probabilities: Array) -> list[str]:
    """Return the names of the classes, or of the labels.

    Raises
    ------
    ValueError
        If the model does not give one probability for each class of an image.
    """
    if probabilities.ndim != 1:
        raise ValueError(
            f"the model has no single class for an image, but outputs of {sample_shape_text(probabilities.shape)} for "
            "each: use model.predict(x) in Python"
        )
    names, is_binary = model.class_names, isinstance(model.loss_func, BinaryLoss)
    if is_binary and len(probabilities) == 1:  # the probability of yes; two names are those of no and yes
        return list(names) if names is not None and len(names) == 2 else ["no", "yes"]
    return (
        list(names)
        if names is not None
        else [f"{'label' if is_binary else 'class'} {k}" for k in range(len(probabilities))]
    )


def most_likely(names: list[str], probabilities: Array, count: int) -> Classes:
    """Return the most likely classes.

    Examples
    --------
    >>> most_likely(["no", "yes"], np.array([0.75]), 1)
    [{'name': 'yes', 'probability': 0.75}]
    """
    if len(probabilities) == 1 and len(names) == 2:
        probabilities = np.concatenate([1 - probabilities, probabilities])
    top = np.argsort(-probabilities, kind="stable")[:count]
    return [{"name": names[k], "probability": float(probabilities[k])} for k in top]
