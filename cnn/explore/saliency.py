"""Saliency maps: which pixels, or which part of the image, a score depends on; and the check of such maps.

All are of the score S[k] of a class k: the number that the Softmax at the end reads, so that a class does not gain only
because the others lose; of a model without a Softmax at the end, its output k. For a class per pixel, (1, K, H, W), it
is the sum over the pixels. Compare a map with that of the same net with random weights: see `randomized`.
"""

from typing import Any

import numpy as np

from cnn.containers.chain import hide_internal_frames
from cnn.core.checks import check_images, integer
from cnn.errors import InputError, ShapeError
from cnn.explore.walk import INPUT, QUIET, TOO_LARGE, Walk
from cnn.layers import Conv2d
from cnn.module import Array, Module

BATCH = 64  # images of an occlusion that run together
LARGE = 128  # pixels of a side, above which patches do not overlap by default


@hide_internal_frames
def gradient(model: Module, x: Any, k: int | None = None) -> Array:
    """How much the score changes with each number of the sample, for a very small change.

    map = dS[k] / dx

    It does not show what the answer is made of: where the score does not rise any further with a pixel, its gradient is
    zero, however much it has contributed. And it holds for very small changes only.

    Parameters
    ----------
    model : Module
        A Sequential, or another module with one output; it does not change.
    x : array_like, (1, ...)
        One sample as the model reads it.
    k : int, optional
        The class; by default the one with the largest score.

    Returns
    -------
    ndarray of float32, (...)
        The shape of the sample, (C, H, W) of an image.

    Raises
    ------
    InputError, ShapeError
        If x or k does not fit the model, or numbers become too large.

    Source
    ------
    Simonyan, Vedaldi and Zisserman 2014, Deep inside convolutional networks, arXiv 1312.6034, section 3.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> layer = Linear(2, 1, bias=False)
    >>> layer.weight.data = [[3.0, -1.0]]
    >>> gradient(layer, np.array([[10.0, 20.0]]), 0)
    array([ 3., -1.], dtype=float32)
    """
    return _as_map(_score_walk(model, x, k).nodes[INPUT].grad)


@hide_internal_frames
def gradient_times_input(model: Module, x: Any, k: int | None = None) -> Array:
    """How much each number of the sample would contribute if the net were linear around it.

    map = x dS[k] / dx

    For a net of Linear, Conv2d, ReLU and max-pooling without biases the map sums to the score. It does not show what
    would happen without a pixel, unless nothing else changes the slope; and a pixel of value 0 (after scaling) gets 0,
    even if being dark is what counts.

    Parameters
    ----------
    model, x, k
        As in `gradient`.

    Returns
    -------
    ndarray of float32, (...)
        The shape of the sample.

    Raises
    ------
    InputError, ShapeError
        If x or k does not fit the model, or numbers become too large.

    Source
    ------
    Shrikumar, Greenside, Shcherbina and Kundaje 2016, Not just a black box, arXiv 1605.01713.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> layer = Linear(2, 1, bias=False)
    >>> layer.weight.data = [[3.0, -1.0]]
    >>> gradient_times_input(layer, np.array([[10.0, 20.0]]), 0)
    array([ 30., -20.], dtype=float32)
    """
    node = _score_walk(model, x, k).nodes[INPUT]
    with np.errstate(**QUIET):
        return _as_map(node.output * node.grad)


@hide_internal_frames
def occlusion(
    model: Module,
    x: Any,
    k: int | None = None,
    patch: int | None = None,
    stride: int | None = None,
    value: float | None = None,
) -> Array:
    """How much the score falls when a square patch is covered: for each pixel the mean over the patches that cover it.

    map[u, v] = mean over the patches that hold (u, v) of  S[k](x) - S[k](x with the patch set to ``value``)

    It does not show what counts only together with something outside the patch: where two parts each suffice, covering
    one changes little. The size of the patch sets what can be seen; and a covered image looks like no image that the
    net has learned from, so that the patch itself may change the answer.

    Parameters
    ----------
    model, x, k
        As in `gradient`; x is an image, (1, C, H, W).
    patch : int, optional
        Side of the patch in pixels; by default a seventh of the shorter side of the image.
    stride : int, optional
        Step between patches, at most ``patch``; by default half of it, and all of it in an image with a side of more
        than 128 pixels, where more patches would take long. The last patches end at the edge.
    value : float, optional
        What the patch is set to, as the model reads it; by default the mean of the image.

    Returns
    -------
    ndarray of float32, (H, W)

    Raises
    ------
    InputError, ShapeError
        If x or k does not fit the model, or numbers become too large.
    ValueError
        If the patch is larger than the image, or the stride larger than the patch.

    Source
    ------
    Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, arXiv 1311.2901, section 4.2, which
    shows the probability in place of the score.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.layers import Flatten, Linear
    >>> model = Sequential([Flatten(), Linear(4, 1, bias=False)])
    >>> model.layers[1].weight.data = [[1.0, 0.0, 2.0, 0.0]]
    >>> occlusion(model, np.array([[[[5.0, 7.0], [1.0, 7.0]]]]), 0, patch=1, value=0)
    array([[5., 0.],
           [2., 0.]], dtype=float32)
    """
    walk = Walk(model, x)
    x = walk.nodes[INPUT].output
    check_images(x)
    height, width = x.shape[2:]
    patch = max(1, min(height, width) // 7) if patch is None else integer(patch, "patch", 1)
    if stride is None:
        stride = patch if max(height, width) > LARGE else max(1, patch // 2)
    stride = integer(stride, "stride", 1)
    if patch > min(height, width):
        raise ValueError(f"patch={patch} is larger than the image of {height} x {width}: use a smaller one")
    if stride > patch:
        raise ValueError(f"stride={stride} would leave pixels between the patches: use at most patch={patch}")
    k = _class(walk.logits, k)
    score = _summed(walk.logits_of(x))[0, k]
    corners = [(i, j) for i in _starts(height, patch, stride) for j in _starts(width, patch, stride)]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    value = x.mean(dtype=np.float64) if value is None else value  # a sum in float32 may overflow
    for first in range(0, len(corners), BATCH):
        some = corners[first : first + BATCH]
        covered = x.repeat(len(some), axis=0)
        for image, (i, j) in zip(covered, some, strict=True):
            image[:, i : i + patch, j : j + patch] = value
        for (i, j), other in zip(some, _summed(walk.logits_of(covered))[:, k], strict=True):
            total[i : i + patch, j : j + patch] += score - other
            count[i : i + patch, j : j + patch] += 1
    with np.errstate(**QUIET):
        return _as_map((total / count)[None])


@hide_internal_frames
def grad_cam(model: Module, x: Any, k: int | None = None, layer: str | None = None) -> Array:
    """Where the channels of a convolution are active that raise the score.

    map = max(0, sum over c of  a[c] A[c]),  a[c] = mean over the pixels of dS[k] / dA[c]

    with A the output of the layer. It does not show details, only as many places as the layer has pixels, each of which
    sees a large part of the image; nothing that speaks against the class; and no place within a channel: a[c] is one
    number for all its pixels.

    Parameters
    ----------
    model, x, k
        As in `gradient`; x is an image, (1, C, H, W).
    layer : str, optional
        The name of a layer that gives images, as in `Trace.nodes`; by default the last Conv2d of more than one pixel.

    Returns
    -------
    ndarray of float32, (OH, OW)
        The size of the layer's output.

    Raises
    ------
    InputError, ShapeError
        If x or k does not fit the model, there is no such layer, or numbers become too large.

    Source
    ------
    Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks via gradient-based localization, arXiv
    1610.02391, equations 1 and 2.

    Examples
    --------
    >>> from cnn import zoo
    >>> grad_cam(zoo.small_cnn(), np.ones((1, 1, 28, 28), np.float32), 3).shape
    (14, 14)
    """
    walk = _score_walk(model, x, k)
    images = {name: node for name, node in walk.nodes.items() if node.output.ndim == 4 and node.layer is not None}
    convs = [name for name, node in images.items() if isinstance(node.layer, Conv2d) and node.output[0, 0].size > 1]
    if layer is None and not convs:
        raise InputError("Grad-CAM needs a Conv2d whose output has more than one pixel, and the model has none")
    name = convs[-1] if layer is None else layer
    if name not in images:
        raise InputError(f"layer must be the name of a layer that gives images, such as {list(images)}, got {layer!r}")
    maps, slopes = images[name].output, images[name].grad
    if slopes is None:  # that of a last Softmax
        raise InputError(f"layer {name} comes after the score: choose an earlier one")
    with np.errstate(**QUIET):
        weights = slopes.mean(axis=(2, 3), keepdims=True)
        return _as_map(np.maximum((weights * maps).sum(axis=1), 0))


def largest(logits: Array) -> int:
    """Return the class with the largest score: (1, K, ...) -> its id"""
    return int(_summed(logits)[0].argmax())


def _score_walk(model: Module, x: Any, k: int | None) -> Walk:
    """Walk forward, and back from the score of a class."""
    walk = Walk(model, x)
    k = _class(walk.logits, k)
    start = np.zeros_like(walk.logits)
    start[:, k] = 1
    walk.backward(start)
    return walk


def _class(logits: Array, k: int | None) -> int:
    """Return the class id, after checking it; without one, that of the largest score."""
    if len(logits) != 1:
        raise ShapeError(f"a map is of one sample, got {len(logits)}: pass x[:1]")
    if logits.ndim < 2:
        raise ShapeError(f"the model gives {logits.shape}, expected a score for each class, (1, K)")
    if k is None:
        return largest(logits)
    k = integer(k, "k", 0)
    if k >= logits.shape[1]:
        raise InputError(f"k must be a class id, 0 to {logits.shape[1] - 1}, got {k}")
    return k


def _summed(logits: Array) -> Array:
    """The sum over the pixels: (N, K, ...) -> (N, K)"""
    return logits.reshape(*logits.shape[:2], -1).sum(axis=2, dtype=np.float64)


def _starts(pixels: int, patch: int, stride: int) -> list[int]:
    """Return where patches start, the last one so that it ends with the image."""
    return sorted({*range(0, pixels - patch + 1, stride), pixels - patch})


def _as_map(values: Any) -> Array:
    """Return the map of the one sample as float32."""
    found = np.ascontiguousarray(values[0], np.float32)
    if not np.isfinite(found).all():
        raise InputError(f"the map has NaN or infinity for this sample: {TOO_LARGE}")
    return found
