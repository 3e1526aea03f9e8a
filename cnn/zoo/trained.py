"""Trained nets that come with the library."""

from pathlib import Path

from cnn.sequential import Sequential

FOLDERS = {"fashion": Path(__file__).with_name("fashion")}


def load(name: str = "fashion") -> Sequential:
    """Return a trained net.

    Parameters
    ----------
    name : str
        "fashion": trained with the recipe ``best`` on Fashion-MNIST. Its model card, zoo/fashion/README.md, has its
        accuracy and its limits.

    Raises
    ------
    ValueError
        If there is no such net.

    Examples
    --------
    >>> model = load("fashion")
    >>> model.class_names[:3]
    ['T-shirt/top', 'Trouser', 'Pullover']
    >>> import numpy as np
    >>> model.predict(model.preprocess(np.zeros((1, 1, 28, 28), np.uint8))).shape
    (1,)
    """
    return Sequential.load(folder(name) / "model.safetensors")


def folder(name: str) -> Path:
    """Return the run folder of a trained net.

    Raises
    ------
    ValueError
        If there is no such net.
    """
    if name not in FOLDERS:
        raise ValueError(f"no trained net is called {name!r}; there is {', '.join(FOLDERS)}")
    return FOLDERS[name]
