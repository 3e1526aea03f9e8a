"""Data sets (Fashion-MNIST, MNIST, the spiral, folders of images), the DataLoader, and transforms of images."""

from typing import TYPE_CHECKING

from cnn.core.explain import missing_name
from cnn.data.catalogue import DATASETS, FASHION_MNIST, MNIST, DataFile, DatasetInfo, dataset_info, unknown_name_message
from cnn.data.errors import DataError, DataWarning
from cnn.data.fashion_mnist import fashion_mnist
from cnn.data.fetch import LoadedDataset, load_dataset
from cnn.data.folder import ImageFolder, image_folder
from cnn.data.idx import read_idx
from cnn.data.images import read_image
from cnn.data.intensity import Brightness, Contrast, Normalize
from cnn.data.loader import DataLoader
from cnn.data.mixing import CutMix, Mixup
from cnn.data.mnist import mnist
from cnn.data.rotation import Rotation
from cnn.data.sample_rng import SampleRNG
from cnn.data.spiral import spiral
from cnn.data.transforms import AlternatingFlip, HorizontalFlip, RandomCrop, RandomErasing
from cnn.data.tta import flip_tta

__all__ = [
    "DATASETS",
    "FASHION_MNIST",
    "MNIST",
    "AlternatingFlip",
    "Brightness",
    "Contrast",
    "CutMix",
    "DataError",
    "DataFile",
    "DataLoader",
    "DataWarning",
    "DatasetInfo",
    "HorizontalFlip",
    "ImageFolder",
    "LoadedDataset",
    "Mixup",
    "Normalize",
    "RandomCrop",
    "RandomErasing",
    "Rotation",
    "SampleRNG",
    "dataset_info",
    "fashion_mnist",
    "flip_tta",
    "image_folder",
    "load_dataset",
    "mnist",
    "read_idx",
    "read_image",
    "spiral",
    "unknown_name_message",
]


if not TYPE_CHECKING:  # so that type checkers still report unknown names

    def __getattr__(name):
        raise missing_name("cnn.data", name, __all__)
