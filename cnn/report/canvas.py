"""What all plots share: figures, labels, alternative text, saving, and checks of arguments."""

import base64
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from cnn.core.files import write_bytes
from cnn.report.names import CHARACTER, font_families

Drawn = Axes | Sequence[Axes] | Figure

BLUE, VERMILION, SKY, BLACK = "#0072B2", "#D55E00", "#56B4E9", "#000000"
PALETTE = (BLUE, "#E69F00", "#009E73", "#CC79A7", SKY, VERMILION, "#F0E442", BLACK)  # Okabe-Ito
MARKERS = "os^DvPX<>"  # one more than the colours, so that pairs of colour and marker repeat only after 72 classes
PNG_METADATA = {"Software": None}  # otherwise matplotlib writes its version, and files of equal plots differ


class Plot(Figure):
    """A figure that a notebook displays, with alternative text, when it is the value of a cell.

    Figures are never made with pyplot: pyplot keeps every figure alive until it is closed, chooses a backend for the
    whole process, and in a notebook displays figures at the end of the cell without alternative text.
    """

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        data = base64.b64encode(_png(self, dpi=100)).decode("ascii")
        return {"image/png": data}, {"image/png": {"alt": describe(self)}}


class PlotAxes(Axes):
    """The axes of a `Plot`; a notebook displays the figure when they are the value of a cell."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return _shown(self)


class AxesList(list[Axes]):
    """Axes of one figure, which a notebook displays when they are the value of a cell."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return _shown(self[0]) if self else {}


def _shown(ax: Axes) -> Any:
    figure = ax.get_figure(root=True)  # pyplot displays its own figures, at the end of the cell
    return figure._repr_mimebundle_() if isinstance(figure, Plot) else {}


def panels(columns: int = 1, rows: int = 1, *, width: float = 5.0, height: float = 4.0) -> list[Axes]:
    """Make a new figure with a grid of empty axes, to pass to the plots as ``ax=``.

    Parameters
    ----------
    columns, rows : int
        Number of columns and rows of the grid.
    width, height : float
        Size of each of the axes in inches.

    Returns
    -------
    list of Axes
        Row by row; a notebook displays their figure, ``axes[0].figure``, when they are the value of a cell.

    Examples
    --------
    >>> left, right = panels(2)
    >>> left.figure is right.figure
    True
    """
    # "compressed" fits the figure to axes with a fixed aspect, but makes several of different aspects too small.
    layout: Literal["compressed", "constrained"] = "compressed" if rows * columns == 1 else "constrained"
    figure = Plot(figsize=(columns * width, rows * height), dpi=100, layout=layout)
    return AxesList(figure.add_subplot(rows, columns, i + 1, axes_class=PlotAxes) for i in range(rows * columns))


def describe(drawn: Drawn) -> str:
    """Return the alternative text of a plot: for each of its axes the title, the axis labels, and a description.

    Parameters
    ----------
    drawn : Axes, sequence of Axes, or Figure
        What a plot returned, or the whole figure. If the title was changed later, the new one is used.

    Returns
    -------
    str
        One paragraph; empty if nothing is drawn.

    Examples
    --------
    >>> [ax] = panels()
    >>> ax.set_title("Loss").set_text("My loss")
    >>> describe(ax)
    'My loss.'
    """
    parts: list[str] = []
    for ax in drawn.axes if isinstance(drawn, Figure) else [drawn] if isinstance(drawn, Axes) else drawn:
        if not ax.get_visible() or ax.get_label() == "<colorbar>":
            continue
        sides = [f"{side} axis: {text}" for side, text in (("x", ax.get_xlabel()), ("y", ax.get_ylabel())) if text]
        # The plots store their description as the label of the axes, which matplotlib neither draws nor changes.
        parts += [ax.get_title(), "; ".join(sides), str(ax.get_label())]
    return " ".join(f"{' '.join(part.split()).rstrip('.')}." for part in parts if part.strip())


def save(drawn: Drawn, path: str | Path, *, dpi: int = 150) -> Path:
    """Write the figure as a PNG file, atomically; equal plots give equal bytes.

    Parameters
    ----------
    drawn : Axes, sequence of Axes, or Figure
        What a plot returned, or the whole figure.
    path : path-like
        Name of the file; it must end in ``.png``, and its folder must exist.
    dpi : int
        Pixels per inch.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If the name does not end in ``.png``, or there is nothing to save.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(panels(), Path(folder, "empty.png")).name
    'empty.png'
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"plots are saved as PNG: expected a name that ends in .png, got {path.name!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it before saving {path.name}")
    axes = drawn.axes if isinstance(drawn, Figure) else [drawn] if isinstance(drawn, Axes) else list(drawn)
    figure = drawn if isinstance(drawn, Figure) else axes[0].get_figure(root=True) if axes else None
    if figure is None:
        raise ValueError("nothing to save: expected a figure or axes that belong to one")
    write_bytes(path, _png(figure, dpi=dpi))
    return path


def _png(figure: Figure, dpi: int) -> bytes:
    stream = io.BytesIO()
    for _ in range(
        3
    ):  # the layout of axes with a fixed aspect needs a few passes to converge; before, labels can be cut off
        figure.draw_without_rendering()
    figure.savefig(stream, format="png", dpi=dpi, metadata=PNG_METADATA)
    return stream.getvalue()


def label(ax: Axes, title: str, x: str = "", y: str = "", *, description: str) -> Axes:
    """Set title, axis labels and the description for `describe`; text wider than the axes is wrapped."""
    width, height = size_in_points(ax)
    for setter, text, size, space in (
        (ax.set_title, title, 12, width),
        (ax.set_xlabel, x, 10, width),
        (ax.set_ylabel, y, 10, height),
    ):
        unbreakable = text.replace(" %", "\N{NO-BREAK SPACE}%")  # a number and its unit stay on one line
        lines = textwrap.fill(unbreakable, max(12, int(space / (CHARACTER * size))))
        setter(lines.replace("\N{NO-BREAK SPACE}", " "), fontsize=size)
    ax.set_label(description)
    families = font_families()
    if len(families) > 1:
        for drawn in ax.findobj(Text):
            drawn.set_fontfamily(families)
        ax.tick_params(labelfontfamily=families)
    return ax


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Return width and height of the axes in points, the unit of font sizes."""
    box, figure = ax.get_window_extent(), ax.get_figure(root=True)
    assert figure is not None
    return box.width * 72 / figure.dpi, box.height * 72 / figure.dpi


def color_bar(ax: Axes, image: AxesImage, text: str) -> None:
    """Draw a colour bar beside the axes."""
    figure = ax.figure
    assert figure is not None
    figure.colorbar(image, ax=ax, label=text, fraction=0.046, pad=0.03, aspect=24)


def integer_axis(ax: Axes, last: int) -> None:
    """Set the x axis to 1 to ``last``, epochs or steps, with ticks at integers only."""
    ax.set_xlim(0.5, last + max(0.5, 0.02 * last))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    ax.grid(alpha=0.3)


def class_ids(name: str, values: ArrayLike) -> np.ndarray:
    """Check an array of class ids, (N,)."""
    ids = np.asarray(values)
    if ids.ndim != 1 or ids.size == 0 or ids.dtype.kind not in "iu" or ids.min() < 0:
        kind = "a negative one" if ids.ndim == 1 and ids.size and ids.dtype.kind == "i" else f"{ids.dtype} {ids.shape}"
        raise ValueError(f"{name}: expected class ids, integers of shape (N,) from 0 on, at least one; got {kind}")
    return ids


def same_length(name: str, a: np.ndarray, other: str, b: np.ndarray) -> None:
    """Raise an error unless the two arrays have the same length."""
    if len(a) != len(b):
        raise ValueError(f"{name} and {other}: expected the same length, got {len(a)} and {len(b)}")


def at_least(least: int, name: str, number: int) -> None:
    """Raise an error if the number is too small."""
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")


def finite(name: str, values: ArrayLike, shape: str, ndim: int) -> np.ndarray:
    """Check an array of real, finite values with ``ndim`` axes."""
    array = np.asarray(values)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values, got nan or infinity")
    return array


def image_batch(images: ArrayLike) -> np.ndarray:
    """Check a batch of images, (N, 1, H, W) or (N, 3, H, W)."""
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or pixels.size == 0:
        raise ValueError(f"images: expected shape (N, 1, H, W) or (N, 3, H, W), got {pixels.shape}")
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise ValueError(f"images: expected uint8 or floating values, got {pixels.dtype}")
    return pixels


def displayable(pixels: np.ndarray) -> list[np.ndarray]:
    """Return images in the form that matplotlib expects: values from 0 to 1, (H, W) or (H, W, 3)."""
    values = finite("images", pixels, "(N, C, H, W)", 4).astype(np.float32)
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (float(values.min()), float(values.max()))
    if pixels.dtype != np.uint8 and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    values = (values - low) / ((high - low) or 1.0)
    colored = (image.transpose(1, 2, 0) for image in values)
    return [image[:, :, 0] if image.shape[2] == 1 else image for image in colored]
