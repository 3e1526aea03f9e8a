"""Denormal numbers: the smallest ones that a float can hold, with which processors compute many times slower."""

from typing import Any

import numpy as np

from cnn.optim.state import ARRAY, OPTIONAL_ARRAY, SQUARES

EVERY = 16  # steps: a moment that fades is denormal for a few of them at most, and looking for it costs little


def flush_denormals(states: list[dict[str, Any]], kinds: dict[str, str] | None) -> None:
    """Set the denormal numbers in the state of an optimizer to zero; all other numbers keep their bits.

    Where the gradient stays zero, as that of a dead unit, moving averages fade: 0.9 to the power of 900 is denormal in
    float32. Every step would compute with them until they are zero, which may take thousands of steps, or for ever.

    Parameters
    ----------
    states : list of dict
        What the optimizer keeps for each parameter, changed in place.
    kinds : dict of str to str, or None
        Of what it keeps, see cnn.optim.state; None: it is a user's, and stays as it is.

    Examples
    --------
    >>> m = np.array([1e-40, -1e-30, 0.5], np.float32)
    >>> flush_denormals([{"m": m}], {"m": ARRAY})
    >>> m
    array([ 0.e+00, -1.e-30,  5.e-01], dtype=float32)
    """
    if kinds is None:
        return
    for state in states:
        for name, value in state.items():
            if kinds.get(name) in (ARRAY, SQUARES, OPTIONAL_ARRAY):
                np.multiply(value, np.abs(value) >= np.finfo(value.dtype).tiny, out=value)
