"""Plots made of tiles: samples, mistakes, filters, feature maps. Use them through `plots.py`."""

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cnn.core.text import printable
from cnn.report.canvas import (
    at_least,
    class_ids,
    displayable,
    finite,
    image_batch,
    label,
    panels,
    same_length,
    size_in_points,
)
from cnn.report.names import class_labels, plain, short_names
from cnn.report.tiles import GAP, mosaic

LONGEST = 16  # columns of a class name under an image


def samples(
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    count: int = 30,
) -> Axes:
    """Draw images with the names of their classes.

    Parameters
    ----------
    images : array, (N, 1, H, W) or (N, 3, H, W)
        uint8, or floating; floating images outside 0..1 are scaled from their own range.
    labels : array of int, (N,)
        Class ids.
    class_names : sequence of str, optional
        A name for each class id.
    ax : Axes, optional
        Where to draw; None makes a figure.
    count : int
        Greatest number of images; the first ones are drawn.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes or lengths do not match, or a class id has no name.

    Examples
    --------
    >>> import numpy as np
    >>> samples(np.zeros((2, 1, 4, 4)), [1, 0], ["cat", "dog"]).get_title()
    '2 images'
    """
    pixels, true = image_batch(images), class_ids("labels", labels)
    same_length("images", pixels, "labels", true)
    at_least(1, "count", count)
    names = class_labels(class_names, int(true.max()) + 1)
    shown = short_names(names, LONGEST)
    captions = [shown[k] for k in true[:count]]
    ax = mosaic(ax, displayable(pixels[:count]), captions, tile=1.1)
    title = _first(len(captions), len(true), "image").capitalize()
    size = f"{pixels.shape[2]} x {pixels.shape[3]} pixels"
    return label(
        ax,
        title,
        f"class under each image ({size})",
        description=f"Images of {', '.join(names[k] for k in true[:count])}",
    )


def mistakes(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str] | None = None,
    count: int = 20,
    ax: Axes | None = None,
    files: Sequence[object] | None = None,
) -> Axes:
    """Draw the misclassified images with the highest probability, with predicted class, probability and true class.

    Parameters
    ----------
    images : array, (N, 1, H, W) or (N, 3, H, W)
        uint8, or floating; floating images outside 0..1 are scaled from their own range.
    labels : array of int, (N,)
        True class ids.
    probabilities : array of float, (N, K)
        What ``predict_proba`` returns.
    class_names : sequence of str, optional
        A name for each class id.
    count : int
        Greatest number of images.
    ax : Axes, optional
        Where to draw; the images are tiles inside it. None makes a figure.
    files : sequence of str or Path, (N,), optional
        The image files, whose names are drawn under the images, without the folder of the class; long ones without
        their middle.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes or lengths do not match, values are not probabilities, or ``count`` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> mistakes(np.zeros((2, 1, 4, 4)), [0, 1], [[0.1, 0.9], [0.2, 0.8]]).get_title()
    '1 of 2 wrong'
    """
    pixels, true, scores = image_batch(images), class_ids("labels", labels), np.asarray(probabilities)
    same_length("images", pixels, "labels", true)
    if scores.ndim != 2 or len(scores) != len(true):
        raise ValueError(f"probabilities: expected shape ({len(true)}, classes), got {scores.shape}")
    if not np.all((scores >= -1e-6) & (scores <= 1 + 1e-6)):
        raise ValueError("probabilities: expected values from 0 to 1; predict_proba of a model returns them")
    at_least(1, "count", count)
    if files:
        same_length("images", pixels, "files", np.empty(len(files)))
    names = class_labels(class_names, max(scores.shape[1], int(true.max()) + 1))
    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(predicted != true)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    if not chosen.size:
        if ax is None:
            [ax] = panels(width=4.8, height=2.0)
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center", transform=ax.transAxes, fontsize=12)
        return label(ax, f"0 of {len(true):,} wrong", description="No mistakes")
    shown = short_names(names, LONGEST)
    captions = [f"{confidence[i]:.0%} {shown[predicted[i]]}\nis {shown[true[i]]}" for i in chosen]
    if files:
        captions = [
            f"{caption}\n{_file_text(files[i], names[true[i]])}" for caption, i in zip(captions, chosen, strict=True)
        ]
    ax = mosaic(ax, displayable(pixels[chosen]), captions, tile=1.25)
    numbered = any(shown[k].startswith("#") for i in chosen for k in (predicted[i], true[i]))
    few = "" if len(chosen) == len(wrong) else f", the {len(chosen)} most confident"
    listed = "; ".join(f"{confidence[i]:.0%} {names[predicted[i]]}, is {names[true[i]]}" for i in chosen[:3])
    return label(
        ax,
        f"{len(wrong):,} of {len(true):,} wrong{few}",
        f"predicted (probability), then true class{', file' if files else ''}"
        f"{'; #0 is the first class by name' if numbered else ''}",
        description=f"{len(chosen)} misclassified images, the most confident first: {listed}",
    )


def filters(weight: ArrayLike, ax: Axes | None = None, count: int = 32, channels: int = 8) -> Axes:
    """Draw the kernels of a convolution: negative weights blue, zero white, positive weights red.

    With one input channel each tile is a filter. With more, a column is a filter and a row is an input channel: the
    layer has one kernel for each pair and sums over the rows. Three channels are drawn in the same way, not as RGB,
    where the sign of a weight would not be visible.

    Parameters
    ----------
    weight : array, (K, C, KH, KW)
        For example ``model[0].weight.data``.
    ax : Axes, optional
        Where to draw; None makes a figure.
    count, channels : int
        Greatest number of filters and input channels; the first ones are drawn, and the title says so.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the array is not 4-dimensional, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> filters(np.ones((6, 1, 3, 3))).get_title()
    '6 filters, 3 x 3'
    """
    kernels = finite("weight", weight, "(K, C, KH, KW)", 4)
    at_least(1, "count and channels", min(count, channels))
    (total, depth, height, width), kernels = kernels.shape, kernels[:count, :channels]
    shown, rows = kernels.shape[:2]
    limit = float(np.abs(kernels).max()) or 1.0
    tiles = list(kernels.swapaxes(0, 1).reshape(-1, height, width))
    grid: dict[str, Any] = {"columns": shown, "tile": min(0.8, 10 / shown)} if depth > 1 else {
        "captions": map(str, range(shown)), "tile": 0.75}  # fmt: skip
    ax = mosaic(ax, tiles, cmap="RdBu_r", limits=(-limit, limit), bar="weight", **grid)
    title = f"{_first(shown, total, 'filter').capitalize()}, {height} x {width}"
    description = f"Kernels with weights from {kernels.min():.3g} to {kernels.max():.3g}"
    if depth == 1:
        return label(ax, title, "filter index under each tile", description=description)
    column = size_in_points(ax)[0] / shown
    ticks = np.arange(0, shown, math.ceil(9 / column))
    ax.set_xticks(0.5 + ticks * (1 + GAP), map(str, ticks), fontsize=float(np.clip(0.7 * column, 6, 10)))
    ax.set_yticks(height / width / 2 + np.arange(rows) * (height / width + GAP), map(str, range(rows)))
    ax.tick_params(length=0)
    y_label = "input channel" if rows == depth else f"input channel (first {rows} of {depth})"
    return label(ax, title, "filter (output channel)", y_label, description=description)


def feature_maps(maps: ArrayLike, ax: Axes | None = None, title: str | None = None, count: int = 64) -> Axes:
    """Draw the output of a layer for one image: a tile for each channel, all with the same colour scale.

    Non-negative activations go from dark to bright; otherwise negative ones are blue, zero white, positive ones red.

    Parameters
    ----------
    maps : array, (C, H, W) or (1, C, H, W)
        For example a value of ``model.activations(x)``.
    ax : Axes, optional
        Where to draw; None makes a figure.
    title : str, optional
        For example the name of the layer, written before the number of maps.
    count : int
        Greatest number of maps; the first ones are drawn, and the title says so.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the shape is wrong, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> feature_maps(np.ones((4, 6, 6)), title="conv1").get_title()
    'conv1: 4 maps of 6 x 6'
    """
    array = np.asarray(maps)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    array = finite("maps", array, "(C, H, W) or (1, C, H, W), one image", 3)
    at_least(1, "count", count)
    shown = array[:count]
    low, high = float(shown.min()), float(shown.max())
    limit = max(-low, high) or 1.0
    cmap, limits = ("viridis", (0.0, limit)) if low >= 0 else ("RdBu_r", (-limit, limit))
    tile = 1.0 if len(shown) <= 24 else 0.8
    ax = mosaic(ax, list(shown), map(str, range(len(shown))), tile=tile, cmap=cmap, limits=limits, bar="activation")
    text = f"{_first(len(shown), len(array), 'map')} of {array.shape[1]} x {array.shape[2]}"
    text = f"{plain(title)}: {text}" if title else text.capitalize()
    description = f"Activations from {low:.3g} to {high:.3g}, {np.mean(shown == 0):.0%} of them zero"
    return label(ax, text, "channel index under each tile", description=description)


def _file_text(file: object, class_name: str) -> str:
    """Return the path of an image inside the folder of its class, which the caption names already."""
    parts = [printable(part) for part in PurePath(str(file)).parts]
    inside = parts[parts.index(class_name) + 1 :] if class_name in parts[:-1] else parts
    return "/".join(inside)


def _first(shown: int, total: int, what: str) -> str:
    return f"{total} {what}{'s' * (total != 1)}" if shown == total else f"first {shown} of {total:,} {what}s"
