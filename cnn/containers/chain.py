"""Chain: layers in a row. It runs them, alone or fused with their neighbours, and walks the same steps back."""

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cnn.containers.container import Container, check_output, limits_blas
from cnn.containers.fusion.rules import FusedStep, fused_steps
from cnn.core import modes
from cnn.core.checks import boolean, check_grad
from cnn.errors import InputError
from cnn.kernels import backend as backends
from cnn.kernels import one_blas_thread
from cnn.module import Array, Module

FLOAT64 = np.dtype(np.float64)
P = ParamSpec("P")
R = TypeVar("R")


def hide_internal_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Raise an InputError from this function, without the traceback through the library, which does not help users."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise error.with_traceback(None) from None

    return run


class Chain(Container):
    """Layers in a row: the output of each is the input of the next.

    A forward pass saves the steps that it ran, in order, in the chain's own slot. A step is a layer, or a `FusedStep`
    with what its backward needs. Backward takes them from the end, so memory falls as it goes.

    Parameters
    ----------
    layers : list of Module
        At least one; no instance twice.
    fuse : bool
        Whether neighbours may run as one step; the rules are in fusion/rules.py.
    """

    layers = property(attrgetter("_layers"), doc="The layers, as a tuple. For others, make another Sequential.")

    def __init__(self, layers: Sequence[Module], fuse: bool = True) -> None:
        if not isinstance(layers, (list, tuple)):
            kind = type(layers).__name__
            raise TypeError(f"layers must be a list, Sequential([{kind}(...), ...]), got {kind}")
        self._layers: tuple[Module, ...] = tuple(layers)
        self.validate_children()
        self.fuse = boolean(fuse, "fuse")
        self._fused: dict[str, tuple[FusedStep | None, ...]] = {}  # by backend: the step that may start at each layer

    def children(self) -> dict[str, Module]:
        return {str(i): layer for i, layer in enumerate(self._layers)}

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    def forget(self) -> None:
        """Empty the slot."""
        self._saved = None

    def run_layers(self, x: Array, to_logits: bool = False) -> Array:
        """Run the layers and save the steps; ``to_logits``: without a Softmax at the very end.

        Raises
        ------
        InputError
            If a layer refuses its input; it names the position of the layer.
        """
        layers = self._layers
        last = len(layers) - 1
        stop = last if to_logits and not isinstance(layers[last], Chain) else last + 1
        backend = backends.current or backends.active()
        if backend == "jit" and type(x) is np.ndarray and x.dtype == FLOAT64:
            backend = "array"  # which serves what compiled kernels leave
        fused = None
        if self.fuse and modes.state.forward_hook is None:
            fused = self._fused.get(backend)
            if fused is None:
                fused = self._fused[backend] = fused_steps(layers, backend)
        saving, clock, ran, i = modes.state.saving, modes.state.clock, list[Any](), 0
        if saving:
            self._saved = None  # what an earlier forward left
        try:
            while i < stop:
                layer = layers[i]
                layer.needs_input_grad = i > 0 or self.needs_input_grad
                step = None if fused is None else fused[i]
                plan = None if step is None else step.plan(x)
                if step is not None and plan is not None:
                    if clock is None:
                        x, saved = step.forward(x, plan)
                    else:
                        x, saved = timed_forward(clock, step, x, plan)
                    if saving:
                        for one in step.layers:
                            one._saved = None  # of an earlier forward, one by one
                        ran.append((i, step, saved, x.shape, x.dtype))
                    i += len(step.layers)
                    continue
                run: Any = layer
                if to_logits and i == last:
                    run = partial(layer.run_layers, to_logits=True)  # type: ignore[attr-defined]
                if clock is not None:
                    x = clock(layer, "forward", run, x)
                elif limits_blas(type(layer).__module__):
                    x = run(x)
                else:
                    with one_blas_thread():
                        x = run(x)
                if type(x) is not np.ndarray:
                    check_output(x)
                if saving:
                    ran.append((i, layer, None, None, None))
                i += 1
        except InputError as error:
            raise error.at(str(i), layers[i]) from None
        self.save_for_backward(ran)
        return x

    def walk_back(self, grad: Array) -> Array | None:
        """Walk the steps that ran back from the end.

        Raises
        ------
        InputError
            If a layer refuses the gradient of its output; it names the layer, and the next one, which made that.
        """
        (ran,) = self.saved()
        clock = modes.state.clock
        found: Array | None = grad
        while ran:
            i, step, saved, shape, dtype = ran.pop()
            try:
                if shape is None:
                    found = step.backward(found) if clock is None else clock(step, "backward", step.backward, found)
                else:
                    if type(found) is not np.ndarray or found.shape != shape or found.dtype != dtype:
                        check_grad(step.layers[-1], found, shape, dtype)
                    back: Any = partial(step.backward, saved=saved)
                    found = back(found) if clock is None else clock(step, "backward", back, found)
                if found is None and self._layers[i].needs_input_grad:
                    raise InputError("backward must return the gradient of the input, but returned None")
            except InputError as error:
                raise self._located(error, i, step) from None
            saved = back = None  # memory falls as the walk goes on
        return found if self.needs_input_grad else None

    def _located(self, error: InputError, i: int, step: Any) -> InputError:
        """Return the error with the position of the layer that refused its gradient."""
        if not error.path:
            i += len(getattr(step, "layers", ())) - 1 if isinstance(step, FusedStep) else 0
            if i + 1 < len(self._layers):
                error.problem += f"; backward of layer {i + 1}, {self._layers[i + 1]!r}, made this gradient"
        return error.at(str(i), self._layers[i])


def timed_forward(clock: modes.Clock, step: FusedStep, x: Array, plan: Any) -> tuple[Array, Any]:
    """Run a fused step forward through a clock, which sees its output alone."""
    kept = []

    def run(x: Array) -> Array:
        y, saved = step.forward(x, plan)
        kept.append(saved)
        return y

    return clock(step, "forward", run, x), kept[0]
