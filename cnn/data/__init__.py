"""Data sets: Fashion-MNIST, MNIST, and the spiral."""

from cnn.data.catalogue import DATASETS, FASHION_MNIST, MNIST, DataFile, DatasetInfo, dataset, unknown_name
from cnn.data.errors import DataError, DataWarning
from cnn.data.fashion_mnist import fashion_mnist
from cnn.data.fetch import Located, locate
from cnn.data.idx import read_idx
from cnn.data.mnist import mnist
from cnn.data.spiral import spiral

__all__ = [
    "DATASETS",
    "FASHION_MNIST",
    "MNIST",
    "DataError",
    "DataFile",
    "DataWarning",
    "DatasetInfo",
    "Located",
    "dataset",
    "fashion_mnist",
    "locate",
    "mnist",
    "read_idx",
    "spiral",
    "unknown_name",
]
