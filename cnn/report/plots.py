"""The images of this project, for the command line and for notebooks.

Every function draws on the axes given as ``ax=`` or makes a figure of its own, never through pyplot (`canvas.Plot`
says why), and returns what it drew on. In a notebook, ``plots.confusion(...).figure`` as the last line of a cell shows
the image with alternative text. Colours are the Okabe-Ito palette, which colour-blind people can tell apart; lines
differ by style and points by marker as well.

Axes for ``ax=`` come from `panels`, or from a figure made with ``layout="constrained"``: without a layout engine
matplotlib makes no room for colour bars and long class names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cnn.report.canvas import (
    BLUE,
    VERMILION,
    class_ids,
    class_labels,
    color_bar,
    describe,
    label,
    panels,
    same_length,
    save,
    size_in_points,
    whole_numbers,
)
from cnn.report.comparisons import compare_losses, compare_seeds
from cnn.report.growth import growth
from cnn.report.mosaics import feature_maps, filters, mistakes, samples
from cnn.report.numbers import numbers
from cnn.report.planes import decision_boundary, points
from cnn.report.ratios import ratios

__all__ = [
    "compare_losses", "compare_seeds", "confusion", "decision_boundary", "describe", "feature_maps", "filters",
    "growth", "history", "mistakes", "numbers", "panels", "points", "ratios", "samples", "save",
]  # fmt: skip


def history(history: Any, ax: Axes | Sequence[Axes] | None = None) -> list[Axes]:
    """Draw loss and accuracy per epoch, training beside validation.

    Parameters
    ----------
    history : object or mapping
        With the lists ``train_loss`` and, where there are any, ``val_loss``, ``train_accuracy``, ``val_accuracy``: a
        value an epoch; accuracies are fractions 0 to 1; nan where nothing was measured.
    ax : Axes, pair of Axes, or None
        A pair is drawn on as (loss, accuracy); single axes get the loss alone; None makes a figure.

    Returns
    -------
    list of Axes
        [loss, accuracy], or [loss] where there is no accuracy (of a pair given, the second is then left blank).

    Raises
    ------
    ValueError
        If there is no epoch, the lists differ in length, or ``ax`` has more than two axes.

    Examples
    --------
    >>> loss, accuracy = history({"train_loss": [0.9, 0.4], "train_accuracy": [0.7, 0.85]})
    >>> accuracy.get_ylabel()
    'accuracy (%)'
    """
    fields = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    source = history if isinstance(history, Mapping) else {name: getattr(history, name, ()) for name in fields}
    curves = {name: np.asarray(source.get(name, ()), dtype=np.float64) for name in fields}
    epochs = curves["train_loss"].size
    if epochs == 0:
        raise ValueError("the history has no epoch: expected a list train_loss with at least one value")
    for name, values in curves.items():
        if values.shape not in ((epochs,), (0,)):
            raise ValueError(f"{name} has shape {values.shape}, expected {epochs} values, as many as train_loss")

    rated = any(np.isfinite(curves[name]).any() for name in fields[2:])
    if ax is None:
        ax = panels(2 if rated else 1, width=5.0, height=3.8)
    axes = [ax] if isinstance(ax, Axes) else list(ax)
    if len(axes) not in (1, 2):
        raise ValueError(f"expected one axes (loss) or two (loss, accuracy), got {len(axes)}")
    if not rated:
        for unused in axes[1:]:
            unused.set_visible(False)
        axes = axes[:1]
    _curves(axes[0], "Loss", "loss (mean per sample)", curves["train_loss"], curves["val_loss"])
    if len(axes) == 2:
        train, val = (100 * curves[name] for name in fields[2:])
        _curves(axes[1], "Accuracy", "accuracy (%)", train, val)
    return axes


def _curves(ax: Axes, what: str, unit: str, train: np.ndarray, val: np.ndarray) -> None:
    said = []
    styles = (("training", train, BLUE, "-", "o"), ("validation", val, VERMILION, "--", "s"))
    for name, values, color, line, marker in styles:
        known = np.flatnonzero(np.isfinite(values))
        if not known.size:
            continue
        every = max(1, len(known) // 20)  # a marker at each of 100 epochs would hide the line
        marked = known[every // 2 :: every].tolist()
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, color=color, linestyle=line, marker=marker, markevery=marked, label=name)
        ends = [f"{values[i]:.3g} at epoch {i + 1}" for i in sorted({known[0], known[-1]})]
        said.append(f"{name} {', '.join(ends)}")
    label(ax, f"{what} per epoch", "epoch", unit, description=f"Lines: {'; '.join(said) or 'none, no finite value'}")
    whole_numbers(ax, max(len(train), len(val)))
    if said:
        ax.legend()


def confusion(
    labels: ArrayLike, predictions: ArrayLike, class_names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw which class is taken for which: counts in the cells, shaded by their share of the true class.

    Parameters
    ----------
    labels, predictions : array of int, (N,)
        True and predicted class ids.
    class_names : sequence of str, optional
        A name for each class id; without it, the ids.
    ax : Axes, optional
        Where to draw; None makes a figure that suits the number of classes.

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
    true, said = class_ids("labels", labels), class_ids("predictions", predictions)
    same_length("labels", true, "predictions", said)
    names = class_labels(class_names, int(max(true.max(), said.max())) + 1)
    count = len(names)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (true, said), 1)
    share = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)

    if ax is None:
        side = float(np.clip(0.52 * count, 3.0, 11.0))
        [ax] = panels(width=side + 2.0, height=side + 1.4)
        cell = 72 * side / count
    else:
        cell = 0.75 * min(size_in_points(ax)) / count  # tick labels and colour bar take their part
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    size = float(np.clip(cell / (0.65 * max(2, len(str(table.max())))), 4, 11))
    for (row, column), number in np.ndenumerate(table):
        ink = "white" if share[row, column] > 55 else "0.15" if number else "0.65"
        ax.text(column, row, str(number), ha="center", va="center", fontsize=size, color=ink)
    ticks, tick_size = range(count), float(np.clip(0.8 * cell, 5, 10))
    long = max(map(len, names)) * 0.6 * tick_size > 0.9 * cell
    ax.set_xticks(ticks, names, fontsize=tick_size, rotation=45 if long else 0, ha="right" if long else "center",
                  rotation_mode="anchor" if long else None)  # fmt: skip
    ax.set_yticks(ticks, names, fontsize=tick_size)
    color_bar(ax, image, "share of the true class (%)")

    right, total = int(np.trace(table)), len(true)
    wrong = np.where(np.eye(count, dtype=bool), 0, table)
    a, b = np.unravel_index(wrong.argmax(), wrong.shape)
    worst = f"; most often {names[a]} is taken for {names[b]}, {wrong[a, b]} times" if wrong.any() else ""
    description = f"Confusion matrix of {count} classes, {right} of {total} right{worst}"
    title = f"Accuracy {100 * right / total:.1f} % ({right:,} of {total:,})"
    return label(ax, title, "predicted class", "true class", description=description)
