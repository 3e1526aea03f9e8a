"""Errors for people: each says what was expected, what came, and which number or argument to change."""


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
