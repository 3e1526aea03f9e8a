"""Test-time augmentation: the mean prediction for several versions of an image."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.core.checks import check_images
from cnn.core.parameter import Array
from cnn.errors import InputError, ShapeError


def flip_tta(predict: Callable[[Array], Any], x: Array) -> Array:
    """Test-time augmentation: return the mean prediction for images and mirrored images, often slightly more accurate.

    Parameters
    ----------
    predict : callable
        Returns probabilities, or other numbers that can be averaged, for (N, C, H, W); ``model.predict_proba``. Maps
        (N, K, H, W) or (N, H, W) of the size of the images are mirrored back before they are averaged.
    x : ndarray, (N, C, H, W)
        The images, as ``predict`` expects them.

    Returns
    -------
    ndarray
        The mean of both outputs of ``predict``.

    Raises
    ------
    ValueError
        If x is not a batch of images; if ``predict`` returns integers, because a mean of class labels is meaningless;
        or maps of another size than the images, because nothing says how to mirror them back.

    Source
    ------
    Krizhevsky 2012, ImageNet classification with deep convolutional neural networks, section 4.1.

    Examples
    --------
    >>> flip_tta(lambda x: x[:, 0, 0], np.array([[[[0.0, 0.5, 1.0]]]]))
    array([[0.5, 0.5, 0.5]])
    """
    check_images(x)
    original, mirrored = (np.asarray(predict(images)) for images in (x, np.ascontiguousarray(x[..., ::-1])))
    if original.dtype.kind != "f":
        raise InputError(
            f"predict must return floating-point numbers such as probabilities, got {original.dtype}: pass "
            "model.predict_proba"
        )
    if original.ndim > 2:
        if original.shape[-2:] not in (x.shape[-2:], (1, 1)):
            raise ShapeError(
                f"predict must return a row of numbers for each image, (N, K), or maps of {x.shape[2]} x {x.shape[3]} "
                f"pixels like the images, got {original.shape}: average the outputs yourself, mirrored back"
            )
        mirrored = mirrored[..., ::-1]
    return (original + mirrored) / 2
