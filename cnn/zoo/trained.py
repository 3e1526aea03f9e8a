"""Nets that come with the library, trained."""

from pathlib import Path

from cnn.sequential import Sequential

FOLDERS = {"fashion": Path(__file__).with_name("fashion")}


def load(name: str = "fashion") -> Sequential:
    """Return a net that is trained already.

    Parameters
    ----------
    name : str
        "fashion": the recipe ``best`` on Fashion-MNIST. Its model card, zoo/fashion/README.md, says how good it is, and
        for what.

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
    """Return the run folder that holds a trained net.

    Raises
    ------
    ValueError
        If there is no such net.
    """
    if name not in FOLDERS:
        raise ValueError(f"no trained net is called {name!r}; there is {', '.join(FOLDERS)}")
    return FOLDERS[name]
