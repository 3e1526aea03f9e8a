"""The plots of this project, for the command line and for notebooks.

Every function draws on the axes given as ``ax=`` or makes a new figure, never with pyplot (`canvas.Plot` says why), and
returns the axes. In a notebook, ``plots.confusion(...).figure`` as the last line of a cell displays the plot with
alternative text. Colours are the Okabe-Ito palette, which colour-blind people can distinguish; lines also differ in
style, and points in their markers.

Make axes for ``ax=`` with `panels`, or with a figure that has ``layout="constrained"``: without a layout engine
matplotlib makes no space for colour bars and long class names.
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
    integer_axis,
    label,
    panels,
    same_length,
    save,
    size_in_points,
)
from cnn.report.changes import changes
from cnn.report.comparisons import compare_losses, compare_seeds
from cnn.report.growth import growth
from cnn.report.mosaics import feature_maps, filters, mistakes, samples
from cnn.report.numbers import numbers
from cnn.report.planes import decision_boundary, points
from cnn.report.ratios import ratios

__all__ = [
    "changes", "compare_losses", "compare_seeds", "confusion", "decision_boundary", "describe", "feature_maps",
    "filters", "growth", "history", "mistakes", "numbers", "panels", "points", "ratios", "samples", "save",
]  # fmt: skip


def history(history: Any, ax: Axes | Sequence[Axes] | None = None) -> list[Axes]:
    """Draw loss and accuracy per epoch, of training and validation.

    Parameters
    ----------
    history : object or mapping
        With the list ``train_loss`` and optionally ``val_loss``, ``train_accuracy`` and ``val_accuracy``: one value per
        epoch; accuracies are fractions from 0 to 1; nan where nothing was measured.
    ax : Axes, pair of Axes, or None
        A pair is for (loss, accuracy); single axes are for the loss only; None makes a figure.

    Returns
    -------
    list of Axes
        [loss, accuracy], or [loss] if there is no accuracy (the second axes of a given pair is then hidden).

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

    has_accuracy = any(np.isfinite(curves[name]).any() for name in fields[2:])
    if ax is None:
        ax = panels(2 if has_accuracy else 1, width=5.0, height=3.8)
    axes = [ax] if isinstance(ax, Axes) else list(ax)
    if len(axes) not in (1, 2):
        raise ValueError(f"expected one axes (loss) or two (loss, accuracy), got {len(axes)}")
    if not has_accuracy:
        for unused in axes[1:]:
            unused.set_visible(False)
        axes = axes[:1]
    _curves(axes[0], "Loss", "loss (mean per sample)", curves["train_loss"], curves["val_loss"])
    if len(axes) == 2:
        train, val = (100 * curves[name] for name in fields[2:])
        _curves(axes[1], "Accuracy", "accuracy (%)", train, val)
    return axes


def _curves(ax: Axes, what: str, unit: str, train: np.ndarray, val: np.ndarray) -> None:
    summaries = []
    styles = (("training", train, BLUE, "-", "o"), ("validation", val, VERMILION, "--", "s"))
    for name, values, color, line, marker in styles:
        finite = np.flatnonzero(np.isfinite(values))
        if not finite.size:
            continue
        every = max(1, len(finite) // 20)  # a marker at each of 100 epochs would hide the line
        marked = finite[every // 2 :: every].tolist()
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, color=color, linestyle=line, marker=marker, markevery=marked, label=name)
        ends = [f"{values[i]:.3g} at epoch {i + 1}" for i in sorted({finite[0], finite[-1]})]
        summaries.append(f"{name} {', '.join(ends)}")
    label(
        ax, f"{what} per epoch", "epoch", unit, description=f"Lines: {'; '.join(summaries) or 'none, no finite value'}"
    )
    integer_axis(ax, max(len(train), len(val)))
    if summaries:
        ax.legend()


def confusion(
    labels: ArrayLike, predictions: ArrayLike, class_names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the confusion matrix: counts in the cells, shaded by their share of the true class.

    Parameters
    ----------
    labels, predictions : array of int, (N,)
        True and predicted class ids.
    class_names : sequence of str, optional
        A name for each class id; None shows the ids.
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
    count = len(names)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (true, predicted), 1)
    share = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)

    if ax is None:
        side = float(np.clip(0.52 * count, 3.0, 11.0))
        [ax] = panels(width=side + 2.0, height=side + 1.4)
        cell = 72 * side / count
    else:
        cell = 0.75 * min(size_in_points(ax)) / count  # the rest is for tick labels and colour bar
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    size = float(np.clip(cell / (0.65 * max(2, len(str(table.max())))), 4, 11))
    for (row, column), number in np.ndenumerate(table):
        color = "white" if share[row, column] > 55 else "0.15" if number else "0.65"
        ax.text(column, row, str(number), ha="center", va="center", fontsize=size, color=color)
    ticks, tick_size = range(count), float(np.clip(0.8 * cell, 5, 10))
    long = max(map(len, names)) * 0.6 * tick_size > 0.9 * cell
    ax.set_xticks(ticks, names, fontsize=tick_size, rotation=45 if long else 0, ha="right" if long else "center",
                  rotation_mode="anchor" if long else None)  # fmt: skip
    ax.set_yticks(ticks, names, fontsize=tick_size)
    color_bar(ax, image, "share of the true class (%)")

    correct, total = int(np.trace(table)), len(true)
    wrong = np.where(np.eye(count, dtype=bool), 0, table)
    a, b = np.unravel_index(wrong.argmax(), wrong.shape)
    worst = f"; most often {names[a]} is predicted as {names[b]}, {wrong[a, b]} times" if wrong.any() else ""
    description = f"Confusion matrix of {count} classes, {correct} of {total} correct{worst}"
    title = f"Accuracy {100 * correct / total:.1f} % ({correct:,} of {total:,})"
    return label(ax, title, "predicted class", "true class", description=description)
