"""Trained nets: one that comes with the library, and one whose weights come with the extra ``pretrained``."""

from pathlib import Path

from cnn.loss import CrossEntropyLoss
from cnn.sequential import Sequential
from cnn.zoo.efficientnet import efficientnet_lite0

FOLDERS = {name: Path(__file__).with_name(name) for name in ("fashion", "imagenet")}  # each has a model card


def load(name: str = "fashion") -> Sequential:
    """Return a trained net.

    Parameters
    ----------
    name : str
        "fashion": trained with the recipe ``best`` on Fashion-MNIST. Its model card, zoo/fashion/README.md, has its
        accuracy and its limits. "imagenet": `cnn.zoo.efficientnet_lite0` with the weights of the package in the extra
        ``pretrained``; zoo/imagenet/README.md says where they come from.

    Raises
    ------
    ValueError
        If there is no such net.
    ImportError
        If the extra is not installed.

    Examples
    --------
    >>> model = load("fashion")
    >>> model.class_names[:3]
    ['T-shirt/top', 'Trouser', 'Pullover']
    >>> import numpy as np
    >>> model.predict(model.preprocess(np.zeros((1, 1, 28, 28), np.uint8))).shape
    (1,)
    """
    if folder(name) == FOLDERS["imagenet"]:
        model = efficientnet_lite0(pretrained=True)
        model.loss_func = CrossEntropyLoss()
        return model
    return Sequential.load(folder(name) / "model.safetensors")


def folder(name: str) -> Path:
    """Return the folder of a trained net: a run folder, or, for "imagenet", one without weights.

    Raises
    ------
    ValueError
        If there is no such net.
    """
    if name not in FOLDERS:
        raise ValueError(f"no trained net is called {name!r}; there is {', '.join(FOLDERS)}")
    return FOLDERS[name]
