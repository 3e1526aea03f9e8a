"""Plots that compare libraries: losses step by step, and accuracies over seeds."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cnn.report.canvas import (
    BLACK,
    BLUE,
    MARKERS,
    PALETTE,
    SKY,
    VERMILION,
    AxesList,
    finite,
    integer_axis,
    label,
    panels,
    same_length,
    size_in_points,
)
from cnn.report.names import CHARACTER, legend_text, plain


def compare_losses(losses: Mapping[str, ArrayLike], ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Draw two loss curves on top of each other, and their difference at each step.

    Parameters
    ----------
    losses : mapping of str to array, (steps,)
        Exactly two curves by name, of equal length, with a finite value for each step.
    ax : pair of Axes, optional
        Where to draw (losses, difference); None makes a figure.

    Returns
    -------
    list of Axes
        [losses, difference].

    Raises
    ------
    ValueError
        If there are not two curves or two axes, the lengths differ, or a value is not finite.

    Examples
    --------
    >>> losses, difference = compare_losses({"cnn": [2.3, 1.5, 0.75], "PyTorch": [2.3, 1.5, 0.5]})
    >>> difference.get_title()
    'Largest difference 0.25'
    """
    if len(losses) != 2:
        got = f"{len(losses)}: {', '.join(losses)}" if losses else "none"
        raise ValueError(f"losses: expected two named curves, got {got}")
    curves = {name: finite(f"losses of {name}", values, "(steps,), at least one step", 1).astype(np.float64)
              for name, values in losses.items()}  # fmt: skip
    (first, a), (second, b) = curves.items()
    same_length(f"losses of {first}", a, f"losses of {second}", b)
    if ax is None:
        ax = panels(2, width=5.0, height=3.8)
    axes = AxesList([ax] if isinstance(ax, Axes) else ax)
    if len(axes) != 2:
        raise ValueError(f"ax: expected two axes (losses, difference), got {len(axes)}")

    steps = np.arange(1, len(a) + 1)
    marker = "o" if len(a) == 1 else ""  # a line with one point is invisible
    axes[0].plot(steps, a, color=SKY, linewidth=5, marker=marker, markersize=11, label=legend_text(plain(first)))
    axes[0].plot(
        steps,
        b,
        color=BLACK,
        linewidth=1.3,
        linestyle="--",
        marker=marker,
        markersize=4,
        label=legend_text(plain(second)),
    )
    axes[0].legend()
    integer_axis(axes[0], len(a))
    ranges = "; ".join(f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in curves.items())
    label(
        axes[0], "Loss per step", "step", "loss (mean per sample)", description=f"Lines over {_steps(len(a))}: {ranges}"
    )
    _difference(axes[1], steps, np.abs(a - b))
    return axes


def _difference(ax: Axes, steps: np.ndarray, difference: np.ndarray) -> None:
    equal = difference == 0
    largest, zeros = float(difference.max()), _steps(int(equal.sum()))
    # If the losses are equal at every step, the axis shows the order of magnitude of float64 rounding errors.
    low, high = np.log10([difference[~equal].min(), largest] if largest else [1e-17, 1e-15])
    high += 0.2
    low = min(low - 0.2, high - 2)  # at least two decades, for readable ticks
    ax.set_yscale("log")
    ax.plot(steps[~equal], difference[~equal], color=BLUE, linestyle="", marker="o", markersize=3.5)
    if equal.any():  # 0 is not on a logarithmic axis: drawn at its bottom, below all others
        ax.plot(steps[equal], np.full(equal.sum(), 0.03), color=VERMILION, linestyle="", marker="v", markersize=5,
                transform=ax.get_xaxis_transform(), label=f"exactly 0 ({zeros})")  # fmt: skip
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.05), fontsize=9)
        low -= 0.3 * (high - low)
    ax.set_ylim(10.0 ** max(low, -300), 10.0**high)
    integer_axis(ax, len(steps))
    where = f", the largest at step {steps[difference.argmax()]}" if largest else ""
    description = f"Differences over {_steps(len(steps))}{where}; exactly 0 at {zeros}"
    label(ax, f"Largest difference {largest:.2g}", "step", "|difference of the losses|", description=description)


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"


def compare_seeds(accuracies: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    r"""Draw the accuracies of several libraries: a dot for each seed, the mean as a bar, the spread as an error bar.

    Parameters
    ----------
    accuracies : mapping of str to array, (seeds,)
        For each name the accuracy of each seed, a fraction from 0 to 1. The dots are side by side in the order given.
    ax : Axes, optional
        Where to draw; None makes a figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no name or no seed, or a value is not a fraction from 0 to 1.

    Examples
    --------
    >>> ax = compare_seeds({"cnn": [0.92, 0.94], "PyTorch": [0.93, 0.92]})
    >>> ax.get_title()
    'Accuracy over 2 seeds'
    >>> ax.get_xticklabels()[0].get_text()
    'cnn\n93.00 ± 1.41 %'
    """
    if not accuracies:
        raise ValueError("accuracies: expected at least one name with its accuracies, got none")
    groups = {}
    for name, values in accuracies.items():
        array = finite(f"accuracies of {name}", values, "(seeds,), at least one seed", 1).astype(np.float64)
        if array.min() < 0 or array.max() > 1:
            wrong = float(array.max() if array.max() > 1 else array.min())
            raise ValueError(f"accuracies of {name}: expected fractions from 0 to 1, got {wrong:.4g}")
        groups[name] = 100 * array

    if ax is None:
        [ax] = panels(width=max(5.0, 1.0 + 1.7 * len(groups)), height=4.2)
    width = 0.9 * size_in_points(ax)[0] / len(groups)
    column = max(12, int(width / (CHARACTER * 10)))  # characters; longer names are wrapped
    captions, summaries, ends = [], [], []
    for i, (name, values) in enumerate(groups.items()):
        mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
        # Side by side, so that equal accuracies are both visible.
        positions = np.linspace(i - 0.24, i + 0.16, len(values)) if len(values) > 1 else i
        ax.scatter(positions, values, s=30, color=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)],
                   edgecolor="black", linewidth=0.5, zorder=3, label=legend_text(plain(name)))  # fmt: skip
        ax.hlines(mean, i - 0.3, i + 0.3, color="0.15", linewidth=1.6, zorder=2)
        if len(values) > 1:
            ax.errorbar(i + 0.26, mean, yerr=spread, color="0.15", linewidth=1.2, capsize=4, zorder=2)
        captions.append(
            f"{textwrap.fill(plain(name), column)}\n{mean:.2f}" + f" ± {spread:.2f}" * (len(values) > 1) + " %"
        )
        deviation = f", standard deviation {spread:.2f}" if len(values) > 1 else ""
        summaries.append(f"{name} mean {mean:.2f} %{deviation}, {_seeds(len(values))}")
        ends += [values.min(), values.max(), mean - spread, mean + spread]

    longest = max(len(line) for caption in captions for line in caption.split("\n"))
    size = float(np.clip(width / (CHARACTER * longest), 5, 10))
    ax.set_xticks(range(len(groups)), captions, fontsize=size)
    margin = max(0.1, 0.12 * (max(ends) - min(ends)))
    ax.set(xlim=(-0.6, len(groups) - 0.4), ylim=(min(ends) - margin, max(ends) + margin))
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.grid(axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    counts = {len(values) for values in groups.values()}
    over = _seeds(*counts) if len(counts) == 1 else "seeds"
    x_label = "library: accuracy" if counts == {1} else "library: mean ± standard deviation"
    description = f"A dot for each seed, a bar at the mean: {'; '.join(summaries)}"
    return label(ax, f"Accuracy over {over}", x_label, "accuracy (%)", description=description)


def _seeds(count: int) -> str:
    return f"{count:,} seed{'s' * (count != 1)}"
