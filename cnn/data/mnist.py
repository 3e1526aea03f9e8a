"""MNIST: handwritten digits."""

import os

from cnn.data.catalogue import MNIST
from cnn.data.fetch import Arrays, locate


def mnist(path: str | os.PathLike[str] | None = None) -> Arrays:
    """MNIST: 70,000 images of handwritten digits in 10 classes.

    Found in ``path``, $CNN_DATA or the user's cache, else downloaded into the cache; always checked by SHA-256 of the
    ``.gz`` files. Decompressed files cannot be checked, so they are refused.

    Parameters
    ----------
    path : str or path-like, optional
        The folder to look at first; see `cnn.data.locate`.

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
        If it cannot be found or downloaded, or ``path`` or CNN_DATA holds damaged or wrong files.

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
    return locate(MNIST, path).arrays
