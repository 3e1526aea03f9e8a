"""Errors for people: each says what was expected, what came, and which number or argument to change."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class InputError(ValueError):
    """An array that a layer cannot work with.

    A container that catches one on its way out puts the layer's position in front (see `at`), so the user reads which
    layer of the net refused instead of a traceback through it.
    """

    def __init__(self, problem: str, path: str = "", layer: str = "") -> None:
        self.problem = problem
        self.path = path
        self.layer = layer
        super().__init__(f"layer {path}, {layer}: {problem}" if path else problem)

    def at(self, name: str, layer: object) -> "InputError":
        """Return the same error as seen from one container further out, where the layer's name is ``name``."""
        path = f"{name}.{self.path}" if self.path else name
        return type(self)(self.problem, path, self.layer or repr(layer))


class ShapeError(InputError):
    """An array of the wrong shape."""


class CheckpointError(ValueError):
    """A training that cannot be resumed: another model or other data, or no checkpoint that can be read."""


class CheckpointWarning(UserWarning):
    """A training that is resumed, but not quite as it was: from an older checkpoint, or perhaps with other bits."""


def hide_internal_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Let an InputError seem to arise in this function: how it came up through the library helps nobody."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise error.with_traceback(None) from None

    return run
