"""Random numbers: one default generator, from which everything random gets a generator of its own.

A layer, an initialiser or a shuffle without an ``rng`` spawns a child of the default generator, so no two layers ever
share a random stream.
"""

import threading
from typing import Any

import numpy as np

from cnn.core.text import short_text

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
    """Restore the state of the default generator from `state_dict`.

    Raises
    ------
    ValueError
        If it is not such a state; in that case nothing has changed.
    """
    global _default
    generator = default_of_state(state)
    with _lock:
        _default = generator


def default_of_state(state: Any) -> np.random.Generator:
    """Return a new generator with the state that `state_dict` returned, or raise an error that says what is wrong."""
    keys = ["bits", "children", "entropy", "key"]
    if not isinstance(state, dict) or sorted(state) != keys:
        raise ValueError(f"the default random generator must be a dict of {', '.join(keys)}, got {short_text(state)}")
    entropy, key = state["entropy"], state["key"]
    numbers = [*(entropy if isinstance(entropy, list) else [entropy]), *(key if isinstance(key, list) else [None])]
    if not all(_is_whole(n, 2**4096) for n in numbers):
        raise ValueError(f"entropy and key must be integers of at least 0, got {short_text([entropy, key])}")
    if not _is_whole(state["children"], 2**31):
        raise ValueError(f"children must be an integer from 0 to 2**31 - 1, got {short_text(state['children'])}")
    sequence = np.random.SeedSequence(entropy, spawn_key=tuple(key), n_children_spawned=state["children"])
    generator = np.random.Generator(np.random.PCG64(sequence))
    generator.bit_generator.state = checked_state(generator, state["bits"])
    return generator


LIMITS = {"has_uint32": 2, "uinteger": 2**32, "pos": 625, "buffer_pos": 5}  # the last two index arrays, unchecked


def checked_state(generator: np.random.Generator, state: Any) -> dict[str, Any]:
    """Return a generator's ``state`` from a file in the form that it accepts, with arrays where JSON has lists.

    NumPy itself does not check the positions in such a state, which its compiled code uses as indices.

    Raises
    ------
    ValueError
        If it is not a state of this kind of generator.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> checked_state(generator, {**generator.bit_generator.state, "has_uint32": 7})
    Traceback (most recent call last):
    ...
    ValueError: has_uint32 of a random generator must be an integer from 0 to 1, got 7
    """
    result: dict[str, Any] = _in_the_form_of(generator.bit_generator.state, state, "state")
    return result


def _in_the_form_of(template: Any, value: Any, name: str) -> Any:
    if isinstance(template, dict):
        if not isinstance(value, dict) or value.keys() != template.keys():
            keys = ", ".join(template)
            raise ValueError(f"{name} of a random generator must be a dict of {keys}, got {short_text(value)}")
        return {key: _in_the_form_of(part, value[key], key) for key, part in template.items()}
    if isinstance(template, np.ndarray):
        limit = 2 ** (8 * template.itemsize)
        numbers = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(numbers, list) or len(numbers) != len(template):
            expected = f"{len(template)} integers"
        elif all(_is_whole(n, limit) for n in numbers):
            return np.array(numbers, template.dtype)
        else:
            expected = f"integers below {limit}"
        raise ValueError(f"{name} of a random generator must be {expected}, got {short_text(value)}")
    if isinstance(template, str):
        if value != template:
            raise ValueError(f"{name} of a random generator must be {template!r}, got {short_text(value)}")
        return value
    limit = LIMITS.get(name, 2**128)
    if not _is_whole(value, limit):
        largest = limit - 1 if limit <= 2**32 else "2**128 - 1"
        raise ValueError(
            f"{name} of a random generator must be an integer from 0 to {largest}, got {short_text(value)}"
        )
    return value


def _is_whole(value: Any, limit: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= int(value) < limit


def _seeded(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"a seed must be an integer of at least 0, got {seed!r}")
    return np.random.default_rng(int(seed))
