"""Plots of samples with two features: the samples alone, and with the decision regions of a model."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike

from cnn.core.checks import integer
from cnn.report.canvas import (
    MARKERS,
    PALETTE,
    class_ids,
    label,
    panels,
    same_length,
    size_in_points,
)
from cnn.report.names import class_labels, legend_text, plain, short_names

LEGEND = 20  # classes in a legend; more would be higher than the plot
LONGEST = 30  # columns of a class name


def points(X: ArrayLike, y: ArrayLike, class_names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw samples with two features, with a colour and a marker for each class.

    Parameters
    ----------
    X : array, (N, 2)
        Samples.
    y : array of int, (N,)
        Their class ids.
    class_names : sequence of str, optional
        A name for each class id.
    ax : Axes, optional
        Where to draw; None makes a figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes or lengths do not match, a value is not finite, or a class id has no name.

    Examples
    --------
    >>> points([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0]], [0, 1, 1]).get_title()
    '3 points, 2 classes'
    """
    plane, true = _plane(X, y)
    names = class_labels(class_names, int(true.max()) + 1)
    if ax is None:
        [ax] = panels(width=6.0, height=5.4)
    ax.set_aspect("equal")
    _draw(ax, plane, true, names, legend=True)
    present, counts = np.unique(true, return_counts=True)
    title = f"{len(true):,} point{'s' * (len(true) != 1)}, {len(present)} class{'es' * (len(present) != 1)}"
    each = ", ".join(f"{names[k]} {count:,}" for k, count in zip(present, counts, strict=True))
    return label(ax, title, "x1", "x2", description=f"Points of each class: {each}")


def decision_boundary(
    predict: Callable[[np.ndarray], Any],
    X: ArrayLike,
    y: ArrayLike,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    resolution: int = 200,
    legend: bool = True,
) -> Axes:
    """Draw the decision regions of a model, coloured by predicted class, with the samples on top.

    Parameters
    ----------
    predict : callable, (M, 2) float32 -> (M,) int
        For example ``model.predict``. It is called once, with the points of a grid followed by X.
    X : array, (N, 2)
        Samples.
    y : array of int, (N,)
        Their class ids.
    class_names : sequence of str, optional
        A name for each class id.
    ax : Axes, optional
        Where to draw; None makes a figure.
    resolution : int
        Number of grid points along each axis.
    legend : bool
        Whether to draw the legend; several plots of the same classes side by side need only one.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes or lengths do not match, or ``predict`` does not return class ids.

    Examples
    --------
    >>> ax = decision_boundary(lambda X: (X[:, 0] > 0).astype(int), [[-1.0, 0.0], [1.0, 0.5]], [0, 1], resolution=20)
    >>> ax.get_title()
    'Predicted class (100.0 % correct)'
    """
    plane, true = _plane(X, y)
    resolution = integer(resolution, "resolution", 2)
    left, right, bottom, top = _frame(plane)
    across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(np.float32)
    predicted = np.asarray(predict(np.concatenate([grid, plane.astype(np.float32)])))
    if predicted.shape != (len(grid) + len(plane),) or predicted.dtype.kind not in "iu":
        raise ValueError(
            f"predict: expected integer class ids of shape ({len(grid) + len(plane)},), "
            f"got {predicted.dtype} {predicted.shape}"
        )
    names = class_labels(class_names, int(max(true.max(), class_ids("predictions", predicted).max())) + 1)
    regions = predicted[: len(grid)].reshape(resolution, resolution)
    accuracy = np.mean(predicted[len(grid) :] == true)

    if ax is None:
        [ax] = panels(width=6.0, height=5.4)
    pale = 0.35 * np.array([to_rgb(PALETTE[k % len(PALETTE)]) for k in range(len(names))]) + 0.65
    ax.imshow(pale[regions], extent=(left, right, bottom, top), origin="lower", interpolation="nearest", aspect="equal")
    present = np.unique(regions)
    for k in present[:-1]:  # the boundaries of the last class belong to the others, too
        ax.contour(across, up, regions == k, levels=[0.5], colors="0.25", linewidths=0.8)
    _draw(ax, plane, true, names, legend)
    regions_of = ", ".join(f"{names[k]} {np.mean(regions == k):.0%}" for k in present)
    title = f"Predicted class ({100 * accuracy:.1f} % correct)"
    description = f"{len(true)} points of {len(np.unique(true))} classes over the regions predicted: {regions_of}"
    return label(ax, title, "x1", "x2", description=description)


def _plane(X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check samples with two features and their class ids."""
    plane, true = np.asarray(X, dtype=np.float64), class_ids("y", y)
    if plane.ndim != 2 or plane.shape[1] != 2 or not np.isfinite(plane).all():
        raise ValueError(f"X: expected finite values of shape (N, 2), got shape {plane.shape}")
    same_length("X", plane, "y", true)
    return plane, true


def _frame(plane: np.ndarray) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of the part of the plane that is drawn."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    margin = 0.08 * float((high - low).max()) or 1.0
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return left, right, bottom, top


def _draw(ax: Axes, plane: np.ndarray, true: np.ndarray, names: Sequence[str], legend: bool) -> None:
    """Draw the samples in the style of their classes, and the legend."""
    left, right, bottom, top = _frame(plane)
    shown, present = short_names(names, LONGEST), np.unique(true)
    in_legend = present if len(present) <= LEGEND else present[:LEGEND]
    area = min(22.0, 22 * min(size_in_points(ax)) / 290)  # smaller markers in small panels
    for k in present:
        style: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "marker": MARKERS[k % len(MARKERS)]}
        style["label"] = legend_text(plain(shown[k])) if k in in_legend else None
        ax.scatter(
            plane[true == k, 0], plane[true == k, 1], s=area, edgecolor="black", linewidth=0.5, zorder=3, **style
        )
    ax.set(xlim=(left, right), ylim=(bottom, top))
    if not legend:
        return
    if len(in_legend) < len(present):
        ax.plot([], [], linestyle="", label=f"and {len(present) - len(in_legend)} more")
    # A legend beside the axes hides no points, but only a figure with a layout engine makes space for it.
    figure = ax.get_figure(root=True)
    beside = figure is not None and figure.get_layout_engine() is not None
    position: dict[str, Any] = (
        {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)} if beside else {"loc": "upper right"}
    )
    ax.legend(title="class", fontsize=9, borderaxespad=0.2, markerscale=(22 / area) ** 0.5, **position)
