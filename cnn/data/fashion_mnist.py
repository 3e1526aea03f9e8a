"""Fashion-MNIST: images of clothes."""

import os

from cnn.data.catalogue import FASHION_MNIST
from cnn.data.fetch import Arrays, load_dataset


def fashion_mnist(path: str | os.PathLike[str] | None = None) -> Arrays:
    """Fashion-MNIST: 70,000 images of clothes in 10 classes, of the same shapes as MNIST but harder.

    Loaded from ``path``, $CNN_DATA, the Debian package dataset-fashion-mnist or the user's cache, or else downloaded
    into the cache. The SHA-256 digests of the decompressed files are always verified. ``FASHION_MNIST.class_names``
    lists the names of the classes.

    Parameters
    ----------
    path : str or path-like, optional
        The folder to search first; see `cnn.data.load_dataset`.

    Returns
    -------
    x_train : ndarray of uint8, shape (60000, 1, 28, 28)
        0 (background) to 255.
    y_train : ndarray of int64, shape (60000,)
        0 to 9.
    x_test : ndarray of uint8, shape (10000, 1, 28, 28)
    y_test : ndarray of int64, shape (10000,)

    Raises
    ------
    DataError
        If it cannot be found or downloaded, or if ``path`` or CNN_DATA contains damaged or wrong files.

    Notes
    -----
    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017, arXiv:1708.07747.

    Examples
    --------
    >>> from cnn.data import fashion_mnist
    >>> x_train, y_train, x_test, y_test = fashion_mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return load_dataset(FASHION_MNIST, path).arrays
