"""Which arrays of a state fit the tensors of a model, and what to say about those that do not."""

from typing import NamedTuple

from cnn.core.parameter import Array, Buffer

LOAD_SOME = "to load only those"  # the start of that advice in an error
LOAD_STATE = "model.load_state_dict(state, strict=False)"


class IncompatibleKeys(NamedTuple):
    """The keys in which a state differs from a model.

    Attributes
    ----------
    missing_keys : list of str
        Tensors of the model that the state lacks.
    unexpected_keys : list of str
        Arrays of the state that the model lacks.
    wrong_shape_keys : list of str
        Keys that both have, with different shapes.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]
    wrong_shape_keys: list[str]


def compare(tensors: dict[str, Buffer], arrays: dict[str, Array]) -> IncompatibleKeys:
    """Compare the keys and shapes of a model with those of a state."""
    missing = [name for name in tensors if name not in arrays]
    unexpected = [name for name in arrays if name not in tensors]
    wrong = [name for name in tensors if name in arrays and arrays[name].shape != tensors[name].shape]
    return IncompatibleKeys(missing, unexpected, wrong)


def check_numbers(arrays: dict[str, Array], kind: str) -> None:
    """Raise an error unless all arrays hold real numbers."""
    wrong = [f"not real numbers: {name} is {a.dtype}" for name, a in arrays.items() if a.dtype.kind not in "fiu"]
    if wrong:
        raise ValueError("\n  ".join([f"the state does not fit this {kind}:", *wrong]))


def describe(keys: IncompatibleKeys, tensors: dict[str, Buffer], arrays: dict[str, Array], kind: str) -> str:
    """Return an error message that lists every difference, and how to load what fits."""
    lines = [f"the state does not fit this {kind}:"]
    lines += [f"missing: {name} {tensors[name].shape}" for name in keys.missing_keys]
    lines += [f"unexpected: {name} {arrays[name].shape}" for name in keys.unexpected_keys]
    lines += [
        f"wrong shape: {name} is {tensors[name].shape} in the model and {arrays[name].shape} in the state"
        for name in keys.wrong_shape_keys
    ]
    fitting = [name for name in tensors if name in arrays and name not in keys.wrong_shape_keys]
    if fitting:
        shown = ", ".join(fitting[:6]) + (f" and {len(fitting) - 6} more" if len(fitting) > 6 else "")
        lines.append(f"{len(fitting)} of {len(tensors)} fit: {shown}")
        lines.append(f"{LOAD_SOME}, and keep the rest of the model as it is: {LOAD_STATE}")
    return "\n  ".join(lines)
