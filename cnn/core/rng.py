"""Random numbers: one default generator, from which everything random gets a generator of its own.

A layer, an initialiser or a shuffle without an ``rng`` spawns a child of the default generator, so no two layers ever
share a random stream.
"""

import threading
from typing import Any

import numpy as np

_lock = threading.Lock()
_default = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Set the random seed, so that everything random created from now on is reproducible.

    Parameters
    ----------
    seed : int
        At least 0. The same seed, machine, versions and number of threads give the same bits.

    Raises
    ------
    ValueError
        If the seed is negative or not an integer.

    Examples
    --------
    >>> import cnn
    >>> from cnn.layers import Linear
    >>> cnn.manual_seed(0)
    >>> first = Linear(2, 3).weight.data
    >>> cnn.manual_seed(0)
    >>> bool((Linear(2, 3).weight.data == first).all())
    True
    """
    global _default
    generator = _seeded(seed)
    with _lock:
        _default = generator


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """Turn an ``rng`` argument into a generator.

    Parameters
    ----------
    rng : numpy.random.Generator, int or None
        A generator is used as it is, an int seeds a new one, None spawns a child of the default generator.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> from cnn.core.rng import generator
    >>> bool(generator(7).random() == generator(7).random())
    True
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is not None:
        return _seeded(rng)
    with _lock:  # spawning counts the children, so two threads must not do it at the same time
        return _default.spawn(1)[0]


def state_dict() -> dict[str, Any]:
    """Return the state of the default generator and its number of children, JSON-serialisable."""
    with _lock:
        sequence = _default.bit_generator.seed_seq
        return {
            "bits": _default.bit_generator.state,
            "entropy": sequence.entropy,  # type: ignore[attr-defined]
            "key": list(sequence.spawn_key),  # type: ignore[attr-defined]
            "children": sequence.n_children_spawned,  # type: ignore[attr-defined]
        }


def load_state_dict(state: dict[str, Any]) -> None:
    """Restore the state of the default generator from `state_dict`."""
    global _default
    sequence = np.random.SeedSequence(
        state["entropy"], spawn_key=tuple(state["key"]), n_children_spawned=state["children"]
    )
    generator = np.random.Generator(np.random.PCG64(sequence))
    generator.bit_generator.state = state["bits"]
    with _lock:
        _default = generator


def _seeded(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"a seed must be an integer of at least 0, got {seed!r}")
    return np.random.default_rng(int(seed))
