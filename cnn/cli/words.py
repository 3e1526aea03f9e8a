"""Small texts for people: counts, shapes, and commands to copy."""

import math
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cnn.model.summary import shape_text


def counted(count: int, thing: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "epoch"), counted(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{count} {thing}{'s' * (count != 1)}"


def sample_text(shape: tuple[int, ...]) -> str:
    """Return what one sample is made of.

    Examples
    --------
    >>> sample_text((1, 28, 28)), sample_text((2,))
    ('1 x 28 x 28', '2 numbers')
    """
    return counted(shape[0], "number") if len(shape) == 1 else shape_text(shape)


def preprocessing_text(settings: dict[str, Any]) -> str:
    """Say how a pixel of 0 to 255 becomes an input.

    Examples
    --------
    >>> preprocessing_text({"scale": 1 / 255, "mean": [0.2854], "std": [0.3516]})
    'pixel / 255, minus 0.2854, divided by 0.3516'
    """

    def numbers(values: Any) -> str:
        texts = [f"{value:.4g}" for value in np.ravel(values)]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    scale = settings.get("scale", 1 / 255)
    parts = ["pixel / 255" if math.isclose(scale, 1 / 255, rel_tol=1e-6) else f"pixel x {scale:.4g}"]
    parts += [
        f"{word} {numbers(settings[key])}"
        for key, word in (("mean", "minus"), ("std", "divided by"))
        if key in settings
    ]
    return ", ".join(parts)


def quoted(name: str | Path) -> str:
    """Return a file name as it is typed in a shell."""
    text = str(name)
    if os.name == "nt":
        return f'"{text}"' if " " in text else text
    return shlex.quote(text)


def program() -> str:
    """Return how this program is called, as it is typed in a shell: `cnn`, if the shell finds that."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m cnn"
    # Called from another program, argv[0] is that one's
    return "cnn" if called.stem != "cnn" or shutil.which("cnn") else quoted(sys.argv[0])
