"""Errors: each message says what was expected, what was given, and which number or argument to change."""


class InputError(ValueError):
    """An array that a layer cannot work with.

    A container that catches one puts the layer's position in front (see `at`), so that the user reads which layer of
    the net raised it instead of a traceback through the net.
    """

    def __init__(self, problem: str, path: str = "", layer: str = "") -> None:
        self.problem = problem
        self.path = path
        self.layer = layer
        super().__init__(f"layer {path}, {layer}: {problem}" if path else problem)

    def at(self, name: str, layer: object) -> "InputError":
        """Return the same error with ``name``, the layer's name in the enclosing container, in front of the path."""
        path = f"{name}.{self.path}" if self.path else name
        return type(self)(self.problem, path, self.layer or repr(layer))


class ShapeError(InputError):
    """An array of the wrong shape."""


class CheckpointError(ValueError):
    """Training cannot be resumed: the model or data are different, or there is no readable checkpoint."""


class CheckpointWarning(UserWarning):
    """Training is resumed, but not exactly as it was: from an older checkpoint, or perhaps with different rounding."""
