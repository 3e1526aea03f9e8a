"""MNIST: handwritten digits."""

import os

from cnn.data.catalogue import MNIST
from cnn.data.fetch import Arrays, load_dataset


def mnist(path: str | os.PathLike[str] | None = None) -> Arrays:
    """MNIST: 70,000 images of handwritten digits in 10 classes.

    Loaded from ``path``, $CNN_DATA or the user's cache, or else downloaded into the cache. The SHA-256 digests of the
    ``.gz`` files are always verified. Decompressed files cannot be verified, so they are rejected.

    Parameters
    ----------
    path : str or path-like, optional
        The folder to search first; see `cnn.data.load_dataset`.

    Returns
    -------
    x_train : ndarray of uint8, shape (60000, 1, 28, 28)
        0 (background) to 255.
    y_train : ndarray of int64, shape (60000,)
        The digit.
    x_test : ndarray of uint8, shape (10000, 1, 28, 28)
    y_test : ndarray of int64, shape (10000,)

    Raises
    ------
    DataError
        If it cannot be found or downloaded, or if ``path`` or CNN_DATA contains damaged or wrong files.

    Notes
    -----
    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
    Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from cnn.data import mnist
    >>> x_train, y_train, x_test, y_test = mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return load_dataset(MNIST, path).arrays
