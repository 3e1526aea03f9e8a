"""Plot of data augmentation: some images, and what random changes make of them. Use it through `plots.py`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cnn.report.canvas import at_least, displayable, image_batch, label, panels, same_length
from cnn.report.names import drawable, plain, shortened

GAP = 0.08  # between two images, in widths of an image
LABEL = 26  # characters in a line of the text beside a row
LINES = 4


def changes(originals: ArrayLike, changed: Sequence[ArrayLike], labels: Sequence[str], title: str = "") -> Axes:
    """Draw a row for each image: its label, the original, and changed versions of it.

    Parameters
    ----------
    originals : array, (N, 1, H, W) or (N, 3, H, W)
        uint8, or floating; floating images outside 0..1 are scaled from their own range.
    changed : sequence of array
        At least one; each has the shape of ``originals`` and holds one changed version of every image.
    labels : sequence of str
        The text beside each row, such as the class and the name of the file, with a line break between them. Long lines
        lose their middle, and there are at most four.
    title : str
        For example which changes they are.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes or lengths do not match, or there is no changed version.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 3, 8, 8), np.uint8)
    >>> changes(images, [images, images], ["cat", "dog"], "flipped").get_title()
    'flipped'
    """
    versions = [image_batch(originals), *map(image_batch, changed)]
    at_least(2, "images and their changed versions", len(versions))
    for version in versions[1:]:
        if version.shape != versions[0].shape:
            raise ValueError(f"changed: expected the shape of originals, {versions[0].shape}, got {version.shape}")
    same_length("originals", versions[0], "labels", np.asarray(labels, dtype=object))
    ratio = versions[0].shape[2] / versions[0].shape[3]
    columns, rows, cell = len(versions), len(versions[0]), ratio + GAP
    [ax] = panels(width=1.1 * columns + 2.2, height=1.1 * rows * cell + 0.8)
    for column, version in enumerate(versions):
        left = column * (1 + GAP) + (0.5 * GAP if column else -0.5 * GAP)
        for row, image in enumerate(displayable(version)):
            extent = (left, left + 1, row * cell + ratio, row * cell)
            ax.imshow(image, "gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    for row, text in enumerate(labels):
        ax.text(-0.15, row * cell + ratio / 2, wrapped(text), ha="right", va="center", fontsize=9)
    ax.set(xlim=(-GAP, columns * (1 + GAP)), ylim=(rows * cell - GAP, -GAP), yticks=[])
    ax.set_xticks([0.5, (columns + 1) * (1 + GAP) / 2 - GAP], ["original", "changed"])
    ax.tick_params(length=0, labelsize=10)
    ax.spines[:].set_visible(False)
    what = ", ".join(plain(text.split("\n")[0]) for text in labels)
    return label(ax, title, description=f"{rows} images, each beside {columns - 1} changed versions: {what}")


def wrapped(text: str) -> str:
    r"""Return the first lines of a text, each without its middle if it is long, so that no name breaks inside a word.

    Examples
    --------
    >>> print(wrapped("dandelion\na-very-long-name-of-a-photograph-of-a-flower.jpg"))
    dandelion
    a-very-long-n…a-flower.jpg
    """
    lines = [shortened(drawable(line), LABEL).replace("$", r"\$") for line in text.split("\n")]
    return "\n".join(lines[:LINES])
