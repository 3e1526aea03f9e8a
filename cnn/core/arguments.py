"""Constructor arguments as attributes: what `repr`, saving and copies of a layer, loss or container are made from."""

import inspect
from typing import Any

import numpy as np

from cnn.core.explain import Explained
from cnn.core.parameter import Buffer


class HasArguments(Explained):
    """An object that stores its constructor arguments as attributes of the same names."""

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
