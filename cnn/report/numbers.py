"""A plot of numbers: small matrices side by side, such as window * kernel = products."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cnn.report.canvas import finite, label, panels, size_in_points
from cnn.report.names import CHARACTER, plain

LARGEST = 8  # rows and columns of a matrix whose numbers can still be read
# Space between two matrices, and font size of their names; the unit of both, and of all lengths below, is a cell.
GAP, NAME = 0.7, 0.27


def numbers(matrices: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Draw small matrices side by side, with each number in a cell: negative blue, zero white, positive red.

    Each matrix has its own colour scale, up to its largest absolute value.

    Parameters
    ----------
    matrices : mapping of str to array, (rows, columns)
        The matrices by name, 8 x 8 at most; the names are written under them.
    ax : Axes, optional
        Where to draw; None makes a figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no matrix, a matrix is too large or not 2-dimensional, or a value is not finite.

    Examples
    --------
    >>> ax = numbers({"window": [[1.0, 2.0]], "* kernel": [[0.5, -1.0]], "= products": [[0.5, -2.0]]})
    >>> ax.get_title()
    '3 matrices'
    >>> [text.get_text() for text in ax.texts[:3]]
    ['1.00', '2.00', 'window']
    """
    if not matrices:
        raise ValueError("matrices: expected at least one named matrix, got none")
    tables = {}
    for name, values in matrices.items():
        table = finite(name, values, "(rows, columns)", 2).astype(np.float64)
        if max(table.shape) > LARGEST:
            raise ValueError(f"{name}: expected at most {LARGEST} x {LARGEST} numbers, got {_size(table)}")
        tables[name] = table

    # A name wider than its matrix widens the slot of that matrix.
    slots = [max(table.shape[1], CHARACTER * NAME * len(name)) for name, table in tables.items()]
    width, height = sum(slots) + GAP * (len(slots) - 1), max(len(table) for table in tables.values())
    below = 2.0 * NAME
    if ax is None:
        unit = 72 * min(0.62, 12 / width)
        [ax] = panels(width=max(3.0, width * unit / 72 + 0.3), height=(height + below) * unit / 72 + 0.8)
    else:
        space = size_in_points(ax)
        unit = min(0.95 * space[0] / width, 0.8 * space[1] / (height + below))  # the rest is for title and label
    texts = {name: _cell_texts(table) for name, table in tables.items()}
    longest = max(len(text) for rows in texts.values() for row in rows for text in row)
    size = unit * min(0.3, 0.85 / (CHARACTER * longest))

    left = 0.0
    for (name, table), slot in zip(tables.items(), slots, strict=True):
        rows, columns = table.shape
        x, y = left + (slot - columns) / 2, (height - rows) / 2
        share = table / (np.abs(table).max() or 1.0)
        # Only the middle of the colour map is used: its strongest colour is still light enough for dark text.
        ax.pcolormesh(x + np.arange(columns + 1), y + np.arange(rows + 1), share, cmap="RdBu_r", vmin=-2.5, vmax=2.5,
                      edgecolors="0.6", linewidth=0.6)  # fmt: skip
        for (row, column), _ in np.ndenumerate(table):
            text = texts[name][row][column]
            ax.text(x + column + 0.5, y + row + 0.5, text, ha="center", va="center", fontsize=size, color="0.1")
        ax.text(left + slot / 2, y + rows + 0.4 * NAME, plain(name), ha="center", va="top", fontsize=NAME * unit)
        left += slot + GAP
    ax.set(xlim=(-0.05, width + 0.05), ylim=(height + below, -0.05), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    summary = "; ".join(
        f"{name}, {_size(table)}, from {table.min():.3g} to {table.max():.3g}" for name, table in tables.items()
    )
    title = f"{len(tables)} matri{'x' if len(tables) == 1 else 'ces'}"
    return label(ax, title, "name under each matrix", description=f"Numbers in cells: {summary}")


def _cell_texts(table: np.ndarray) -> list[list[str]]:
    """Return each number with two decimals, or in scientific notation if that would show 0 or be too long."""
    largest = np.abs(table).max()
    form = "z.2f" if 0.1 <= largest < 1000 or largest == 0 else ".1e"
    return [[format(value, form) for value in row] for row in table.tolist()]


def _size(table: np.ndarray) -> str:
    return f"{table.shape[0]} x {table.shape[1]}"
