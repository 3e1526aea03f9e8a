"""A plot of the ratio of two times, case by case."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from cnn.report.canvas import BLUE, VERMILION, finite, label, panels, size_in_points
from cnn.report.names import CHARACTER, plain

STEPS = (
    (12, (1, 1.5, 2, 3, 5, 7)),
    (500, (1, 2, 5)),
    (math.inf, (1,)),
)  # (range of the axis up to which this holds, ticks in each decade)
ROW, SIZE = 0.22, 9.0  # height of a row in inches, and its font size


def ratios(groups: Mapping[str, Mapping[str, tuple[float, float, float]]], ax: Axes | None = None) -> Axes:
    """Draw ratios as bars that start at 1: to the left faster cases, to the right slower ones.

    The axis is logarithmic, so half the time and twice the time are bars of the same length.

    Parameters
    ----------
    groups : mapping of str to mapping of str to (ratio, low, high)
        The cases of each group, in the order of drawing: our time divided by PyTorch's, and its quartiles.
    ax : Axes, optional
        Where to draw; None makes a figure sized for the number of cases.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no case, or a value is not a positive number.

    Examples
    --------
    >>> ax = ratios({"training": {"lenet5": (0.8, 0.7, 0.9), "vgg": (1.1, 1.0, 1.2)}})
    >>> ax.get_title()
    'Faster than PyTorch (left of 1) in 1 of 2 cases'
    """
    names = [name for bars in groups.values() for name in bars]
    if not names:
        raise ValueError("groups: expected at least one case with its ratio, got none")
    values = finite("ratios", [bar for bars in groups.values() for bar in bars.values()], "(cases, 3)", 2)
    if values.min() <= 0:
        raise ValueError(f"ratios: expected numbers above 0, got {values.min():.4g}")
    rows = len(names) + len(groups)
    if ax is None:
        [ax] = panels(width=9.0, height=ROW * rows + 1.2)
    size = min(SIZE, 0.75 * size_in_points(ax)[1] / rows)

    ax.set_xscale("log")
    texts, row, at = [], 0, iter(values)
    for group, bars in groups.items():
        texts.append((row, group, "bold"))
        for name in bars:
            row += 1
            ratio, low, high = map(float, next(at))
            color = BLUE if ratio <= 1 else VERMILION
            ax.barh(row, ratio - 1, left=1, height=0.72, color=color, alpha=0.85)
            ax.plot([low, high], [row, row], color="0.15", linewidth=1.2)
            end = min(ratio, low) if ratio <= 1 else max(ratio, high)
            ax.annotate(f"{ratio:.2f}", (end, row), (-4 if ratio <= 1 else 4, 0), textcoords="offset points",
                        ha="right" if ratio <= 1 else "left", va="center", fontsize=size)  # fmt: skip
            texts.append((row, name, "normal"))
        row += 1
    ax.axvline(1, color="0.15", linewidth=1.2)

    ax.set_yticks([at for at, _, _ in texts], [plain(text) for _, text, _ in texts], fontsize=size)
    for tick, (_, _, weight) in zip(ax.get_yticklabels(), texts, strict=True):
        tick.set_fontweight(weight)
    ax.tick_params(axis="y", length=0)
    # Space for the text beside the longest bars, as a fraction of the width of the axis
    margin = 1.25 * (4 * CHARACTER * size + 8) / (0.6 * size_in_points(ax)[0])
    low, high = np.log(min(values.min(), 0.7)), np.log(max(values.max(), 1.4))
    span = (high - low) / (1 - 2 * min(margin, 0.4))
    ax.set_xlim(np.exp(low - margin * span), np.exp(high + margin * span))
    ax.set_ylim(rows - 0.4, -0.6)
    left, right = ax.get_xlim()
    steps = next(steps for limit, steps in STEPS if right / left < limit)
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=99))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["left", "right", "top"]].set_visible(False)

    faster = int((values[:, 0] <= 1).sum())
    listed = "; ".join(f"{name} {value:.2f}" for name, value in zip(names, values[:, 0], strict=True))
    title = f"Faster than PyTorch (left of 1) in {faster:,} of {len(names):,} case{'s' * (len(names) != 1)}"
    x_label = "our time / PyTorch's, and its spread"
    return label(ax, title, x_label, "case", description=f"Bars of ratios: {listed}")
