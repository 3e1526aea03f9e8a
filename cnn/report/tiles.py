"""Images as tiles of one Axes, for the plots in mosaics.py."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cnn.core.text import width
from cnn.report.canvas import color_bar, panels, size_in_points
from cnn.report.names import drawable, shortened

GAP = 0.12  # space between two tiles, in tile widths
WIDE = 0.62  # width of a character, relative to the font size; names of files have more capitals and digits than texts


def mosaic(
    ax: Axes | None,
    images: Sequence[np.ndarray],
    captions: Iterable[str] | None = None,
    *,
    columns: int | None = None,
    tile: float = 1.0,
    cmap: str = "gray",
    limits: tuple[float, float] = (0.0, 1.0),
    bar: str = "",
) -> Axes:
    """Draw images of the same size, (H, W) or (H, W, 3), as tiles of one Axes; a tile is 1 wide in data coordinates.

    With tiles inside one Axes, not an Axes for each, a mosaic can be drawn on any given axes, and one Axes is returned.
    """
    texts = (
        [[drawable(words) for words in text.split("\n")] for text in captions]
        if captions is not None
        else [[] for _ in images]
    )
    ratio = images[0].shape[0] / images[0].shape[1]
    space = None if ax is None else size_in_points(ax)
    tile_points = 72 * tile if space is None else 0.8 * math.sqrt(space[0] * space[1] / len(images))
    longest = max((width(words) for text in texts for words in text), default=1)
    line = float(np.clip(11 / tile_points, 0.15, 0.3))  # height of a line of text, in tile widths
    if space is None:  # less for small text
        line = min(line, 1.3 * _font_size(tile_points, line, longest) / tile_points)
    cell = ratio + GAP + line * max(map(len, texts))
    if columns is None:
        wanted = max(1, round(math.sqrt(len(images) * cell * (1.2 if space is None else space[0] / space[1]))))
        # Of the numbers near that, the one that leaves the last row most complete.
        candidates = range(max(1, wanted - 2), wanted + 4)
        columns = min(candidates, key=lambda k: (-len(images) % k, abs(k - wanted), -k))
    rows = math.ceil(len(images) / columns)
    if ax is None or space is None:
        across = columns * (1 + GAP) * tile + (1.0 if bar else 0.2)
        [ax] = panels(width=max(4.8, across), height=rows * cell * tile + 0.7)
        unit = 72 * tile
    else:
        unit = min(space[0] / (columns * (1 + GAP)), space[1] / (rows * cell))
    size = _font_size(unit, line, longest)
    fits = max(3, int(unit * (1 + GAP) / (WIDE * size)))  # longer lines lose their middle

    for i, (image, text) in enumerate(zip(images, texts, strict=True)):
        x, y = (i % columns) * (1 + GAP), (i // columns) * cell
        extent = (x, x + 1, y + ratio, y)
        drawn = ax.imshow(image, cmap, vmin=limits[0], vmax=limits[1], extent=extent, interpolation="nearest")
        if not bar:  # a frame shows where a white image ends; colours with a scale are no pictures
            ax.add_patch(Rectangle((x, y), 1, ratio, fill=False, edgecolor="0.8", linewidth=0.5))
        caption = "\n".join(shortened(words, fits).replace("$", r"\$") for words in text)
        ax.text(x + 0.5, y + ratio + 0.03, caption, ha="center", va="top", fontsize=size)
    ax.set(xlim=(-GAP / 2, columns * (1 + GAP) - GAP / 2), ylim=(rows * cell - GAP / 2, -GAP / 2), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if bar:
        color_bar(ax, drawn, bar)
    return ax


def _font_size(unit: float, line: float, longest: int) -> float:
    """Return the size of captions of ``longest`` columns under tiles that are ``unit`` points wide."""
    size = min(10.0, unit * line / 1.3, unit * (1 + GAP) / (WIDE * max(1, longest)))
    return max(size, 7.0 if unit > 60 else 5.0)
