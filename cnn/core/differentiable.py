"""Differentiable, the base class of layers and losses."""

import inspect
from typing import Any

import numpy as np

from cnn.core import modes
from cnn.core.parameter import Buffer


class Differentiable:
    """Base class of layers and losses: values saved between forward and backward, and constructor arguments."""

    _saved: tuple[Any, ...] | None = None

    def save_for_backward(self, *values: Any) -> None:
        """Save the values that backward needs, in place of earlier ones; inside `no_grad` nothing is saved."""
        if modes.state.saving:
            self.__dict__["_saved"] = values  # not through __setattr__, because every layer does it in every step

    def saved(self) -> tuple[Any, ...]:
        """Return the values that forward saved, and clear them.

        Raises
        ------
        RuntimeError
            If nothing is saved: backward ran twice, or without a forward.
        """
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward has nothing saved: each backward needs one forward before it, not "
                "inside no_grad(). Call forward again before this backward"
            )
        values, self.__dict__["_saved"] = self._saved, None
        return values

    def clear_saved(self) -> None:
        """Discard the values that forward saved."""
        self.__dict__["_saved"] = None

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments, read from the attributes of the same names.

        Where the argument is a flag such as ``bias=True``, a Parameter counts as True and None as False. An ``rng`` is
        left out: it is a state, not a setting.
        """
        values = {}
        for name, argument in inspect.signature(type(self)).parameters.items():
            if name == "rng" or argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                continue
            if not hasattr(self, name):
                raise TypeError(f"{type(self).__name__} takes {name!r} but does not store it: set self.{name} = {name}")
            value = getattr(self, name)
            if isinstance(argument.default, bool) and (value is None or isinstance(value, Buffer)):
                value = value is not None
            values[name] = value.item() if isinstance(value, np.generic) else value
        return values

    def __repr__(self) -> str:
        try:
            arguments = self.arguments()
        except TypeError:
            return f"{type(self).__name__}(...)"
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        hidden = {name: (repr(default), repr((default, default))) for name, default in defaults.items()}
        shown = {name: value for name, value in arguments.items() if repr(value) not in hidden[name]}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
