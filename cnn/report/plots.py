"""The plots of this project, for the command line and for notebooks.

Every function draws on the axes given as ``ax=`` or makes a new figure, never with pyplot (`canvas.Plot` says why), and
returns the axes. In a notebook, ``plots.confusion(...)`` as the last line of a cell displays the plot with alternative
text. Colours are the Okabe-Ito palette, which colour-blind people can distinguish; lines also differ in
style, and points in their markers.

Make axes for ``ax=`` with `panels`, or with a figure that has ``layout="constrained"``: without a layout engine
matplotlib makes no space for colour bars and long class names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cnn.report.canvas import BLUE, VERMILION, AxesList, describe, integer_axis, label, panels, save
from cnn.report.changes import changes
from cnn.report.comparisons import compare_losses, compare_seeds
from cnn.report.confusions import confusion
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
    axes = AxesList([ax] if isinstance(ax, Axes) else ax)
    if len(axes) not in (1, 2):
        raise ValueError(f"expected one axes (loss) or two (loss, accuracy), got {len(axes)}")
    if not has_accuracy:
        for unused in axes[1:]:
            unused.set_visible(False)
        axes = AxesList(axes[:1])
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
