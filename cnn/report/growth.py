"""A plot of speed against the size of the problem."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from cnn.report.canvas import BLUE, AxesList, label, panels


def growth(table: Mapping[str, Sequence[tuple[int, float, float]]], ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Draw GFLOP/s against each size that is varied. Where a line is flat, the cost is proportional to the work.

    Parameters
    ----------
    table : mapping of str to sequence of (value, milliseconds, GFLOP/s)
        The measurements by the name of the size.
    ax : sequence of Axes, optional
        Where to draw, one of them for each size; None makes a figure.

    Returns
    -------
    list of Axes

    Raises
    ------
    ValueError
        If there is nothing to draw.

    Examples
    --------
    >>> axes = growth({"batch": [(1, 2.0, 50.0), (2, 3.0, 66.7)]})
    >>> axes[0].get_xlabel()
    'batch'
    """
    if not table or not all(table.values()):
        raise ValueError("table: expected at least one size with its values, got none")
    axes = panels(len(table), width=3.6, height=3.2) if ax is None else AxesList(ax)
    highest = max(rate for rows in table.values() for _, _, rate in rows)
    for panel, (name, rows) in zip(axes, table.items(), strict=True):
        values = [value for value, _, _ in rows]
        panel.plot([rate for _, _, rate in rows], color=BLUE, marker="o", markersize=4)
        panel.set_xticks(range(len(values)), [str(value) for value in values])
        panel.set_ylim(0, 1.08 * highest)
        rates = ", ".join(f"{rate:.0f} at {value}" for value, _, rate in rows)
        label(panel, f"growing {name}", name, "GFLOP/s", description=f"GFLOP/s by {name}: {rates}")
    return axes
