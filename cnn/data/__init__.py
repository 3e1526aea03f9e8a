"""Data: Fashion-MNIST, MNIST, the spiral, folders of images; batches of them, and random changes of images."""

from cnn.data.catalogue import DATASETS, FASHION_MNIST, MNIST, DataFile, DatasetInfo, dataset, unknown_name
from cnn.data.draws import Draws
from cnn.data.errors import DataError, DataWarning
from cnn.data.fashion_mnist import fashion_mnist
from cnn.data.fetch import Located, locate
from cnn.data.folder import ImageFolder, image_folder
from cnn.data.idx import read_idx
from cnn.data.images import read_image
from cnn.data.levels import Brightness, Contrast, Normalize
from cnn.data.loader import DataLoader
from cnn.data.mixing import CutMix, Mixup
from cnn.data.mnist import mnist
from cnn.data.rotation import Rotation
from cnn.data.spiral import spiral
from cnn.data.transforms import AlternatingFlip, HorizontalFlip, RandomCrop, RandomErasing, flipped_mean

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
    "Draws",
    "HorizontalFlip",
    "ImageFolder",
    "Located",
    "Mixup",
    "Normalize",
    "RandomCrop",
    "RandomErasing",
    "Rotation",
    "dataset",
    "fashion_mnist",
    "flipped_mean",
    "image_folder",
    "locate",
    "mnist",
    "read_idx",
    "read_image",
    "spiral",
    "unknown_name",
]
