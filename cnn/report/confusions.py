"""Plots of which classes a classifier confuses. Use them through `plots.py`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from cnn.core.text import width
from cnn.report.canvas import BLUE, class_ids, color_bar, label, panels, same_length, size_in_points
from cnn.report.names import CHARACTER, class_labels, plain, short_names

MOST_CELLS = 30  # classes; the numbers in the cells of a larger matrix could not be read
PAIRS = 25  # pairs of classes drawn instead
LONGEST = 26  # columns of a class name


def confusion(
    labels: ArrayLike, predictions: ArrayLike, class_names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the confusion matrix: counts in the cells, shaded by their share of the true class.

    With more than 30 classes, whose numbers could not be read, draw the pairs that are confused most often instead.

    Parameters
    ----------
    labels, predictions : array of int, (N,)
        True and predicted class ids.
    class_names : sequence of str, optional
        A name for each class id; None shows the ids. Long names are drawn without their middle.
    ax : Axes, optional
        Where to draw; None makes a figure sized for the number of classes.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is nothing to compare, the lengths differ, or a class id has no name.

    Examples
    --------
    >>> confusion([0, 1, 1, 1], [0, 1, 1, 0], ["cat", "dog"]).get_title()
    'Accuracy 75.0 % (3 of 4)'
    """
    true, predicted = class_ids("labels", labels), class_ids("predictions", predictions)
    same_length("labels", true, "predictions", predicted)
    names = class_labels(class_names, int(max(true.max(), predicted.max())) + 1)
    correct, total = int((true == predicted).sum()), len(true)
    title = f"Accuracy {100 * correct / total:.1f} % ({correct:,} of {total:,})"
    a, b, counts = _confused_pairs(true, predicted)
    worst = f"; most often {names[a[0]]} is predicted as {names[b[0]]}, {counts[0]:,} times" if len(a) else ""
    description = f"of {len(names)} classes, {correct:,} of {total:,} correct{worst}"
    if len(names) > MOST_CELLS:
        sizes = np.bincount(true, minlength=len(names))
        return _pairs(ax, names, sizes, (a, b, counts), title, f"Most frequent confusions {description}")
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(table, (true, predicted), 1)
    return _matrix(ax, names, table, title, f"Confusion matrix {description}")


def _confused_pairs(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true class, predicted class and count of the pairs that differ, the most frequent first."""
    wrong = true != predicted
    pairs, counts = np.unique(np.stack([true[wrong], predicted[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return pairs[0, order], pairs[1, order], counts[order]


def _matrix(ax: Axes | None, names: list[str], table: np.ndarray, title: str, description: str) -> Axes:
    count = len(names)
    share = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = float(np.clip(0.52 * count, 3.0, 13.0))
        cell, longest = 72 * side / count, LONGEST
        size = float(np.clip(0.8 * cell, 5, 10))
        shown = short_names(names, longest)
        space = max(map(width, shown)) * CHARACTER * size / 72  # inches for the names beside the matrix
        [ax] = panels(width=side + 1.5 + space, height=side + 1.2 + 0.7 * space)
    else:
        inside = min(size_in_points(ax))
        cell = 0.75 * inside / count  # the rest is for tick labels and colour bar
        size = float(np.clip(0.8 * cell, 5, 10))
        longest = int(np.clip(0.35 * inside / (CHARACTER * size), 6, LONGEST))
        shown = short_names(names, longest)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    number_size = float(np.clip(cell / (0.65 * max(2, len(str(table.max())))), 4, 11))
    for (row, column), number in np.ndenumerate(table):
        color = "white" if share[row, column] > 55 else "0.15" if number else "0.65"
        if number or count <= 20:  # many zeros would hide the rest
            ax.text(
                column, row, str(number), ha="center", va="center", fontsize=number_size, color=color, in_layout=False
            )
    texts = [plain(name) for name in shown]
    long = max(map(width, shown)) * 0.6 * size > 0.9 * cell
    ax.set_xticks(range(count), texts, fontsize=size, rotation=45 if long else 0, ha="right" if long else "center",
                  rotation_mode="anchor" if long else None)  # fmt: skip
    ax.set_yticks(range(count), texts, fontsize=size)
    color_bar(ax, image, "share of the true class (%)")
    return label(ax, title, "predicted class", "true class", description=description)


def _pairs(
    ax: Axes | None,
    names: list[str],
    sizes: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    title: str,
    description: str,
) -> Axes:
    true, predicted, counts = (values[:PAIRS] for values in pairs)
    if ax is None:
        [ax] = panels(width=8.5, height=1.6 + 0.24 * max(3, len(true)))
    if not len(true):
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center", transform=ax.transAxes, fontsize=12)
        return label(ax, title, description=description)
    wide, high = size_in_points(ax)
    size = float(np.clip(0.7 * high / (len(true) + 1), 4, 9))
    shown = short_names(names, int(np.clip(0.25 * wide / (CHARACTER * size), 6, LONGEST)))
    rows = np.arange(len(true))
    ax.barh(rows, counts, height=0.72, color=BLUE, alpha=0.85)
    for row, of, number in zip(rows, sizes[true], counts, strict=True):
        text = f"{number:,} of {of:,}"
        ax.annotate(text, (number, row), (4, 0), textcoords="offset points", va="center", fontsize=size)
    # Three columns, because in one text names that are written from the right would change places.
    texts = [(shown[a], "→", shown[b]) for a, b in zip(true, predicted, strict=True)]
    texts.insert(0, ("true class", "→", "predicted class"))
    left = -8 - CHARACTER * size * max(width(name) for _, _, name in texts)
    columns = ((left - 1.6 * size, "right"), (left - 0.8 * size, "center"), (left, "left"))
    for at, words in enumerate(texts, start=-1):
        for word, (x, side) in zip(words, columns, strict=True):
            ax.annotate(plain(word), (0, at), (x, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                        ha=side, va="center", fontsize=size, color="0.4" if at < 0 else "0")  # fmt: skip
    ax.set(xlim=(0, 1.2 * counts.max()), ylim=(len(true) - 0.4, -1.6), yticks=[])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    rest = len(pairs[0]) - len(true)
    most = f"the {len(true)} most frequent confusions" if rest else "all confusions"
    return label(ax, title, f"images ({most})", description=description)
