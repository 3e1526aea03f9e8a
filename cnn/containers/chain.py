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
from cnn.core.checks import boolean, check_grad, scaled_pixels
from cnn.core.explain import explain_call
from cnn.errors import InputError
from cnn.kernels import backend as backends
from cnn.kernels import one_blas_thread
from cnn.kernels.dispatch import give_back
from cnn.module import Array, Module, Parameter, no_grad

PREPARED = "cnn.containers.fusion.prepared"  # imported only where compiled kernels are
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
P = ParamSpec("P")
R = TypeVar("R")


def hide_internal_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Raise an InputError from this function, without the traceback through the library, which does not help users.

    As all public methods of a model, it first gives back what Ctrl-C has left of an earlier call.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if modes.state.active:
            modes.give_back()
        give_back()
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise error.with_traceback(None) from None
        except TypeError as error:
            explain_call(error, function, args, kwargs)
            raise

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
        self._prepared: Any = None  # calls of one shape in inference, see fusion/prepared.py

    def children(self) -> dict[str, Module]:
        return {str(i): layer for i, layer in enumerate(self._layers)}

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_fused": {}, "_prepared": None}  # a copy finds its own steps

    def run_layers(self, x: Array, to_logits: bool = False) -> Array:
        """Run the layers and save the steps; ``to_logits``: without a Softmax at the very end.

        Raises
        ------
        InputError
            If a layer refuses its input; it names the position of the layer.
        """
        backend = backends.current or backends.active()
        if type(x) is np.ndarray and x.dtype != FLOAT32:
            if x.dtype == np.uint8 and getattr(self, "preprocessing", None) is not None:
                raise InputError(f"x is uint8, as in images of 0 to 255: pass {scaled_pixels('x', self)}")
            x = self.widened(x)  # here, so that a fused step does not meet float16
            if backend == "jit" and x.dtype == FLOAT64:
                backend = "array"  # which serves what compiled kernels leave
        fused = self.fused_steps(backend)
        if backend == "jit":  # compiled kernels need no limit of BLAS, and whatever else does sets it
            in_inference = fused is not None and not modes.state.saving and modes.state.clock is None
            if in_inference and type(x) is np.ndarray and x.dtype == FLOAT32:
                found = self._prepared_calls().run(x, fused)
                if found is not None:
                    return self._run_steps(found[0], to_logits, fused, found[1])
            return self._run_steps(x, to_logits, fused)
        with one_blas_thread():
            return self._run_steps(x, to_logits, fused)

    def fused_steps(self, backend: str) -> Sequence[FusedStep | None] | None:
        """Return the step that may start at each layer, or None if the layers run one by one."""
        if not self.fuse or modes.state.forward_hook is not None:
            return None
        fused = self._fused.get(backend)
        if fused is None:
            fused = self._fused[backend] = fused_steps(self._layers, backend)
        return fused

    def _prepared_calls(self) -> Any:
        if self._prepared is None:
            self.__dict__["_prepared"] = backends.load(PREPARED).PreparedCalls(self)
        return self._prepared

    def _run_steps(
        self,
        x: Array,
        to_logits: bool,
        fused: Sequence[FusedStep | None] | None,
        first: int = 0,
        stop: int | None = None,
    ) -> Array:
        """Run the layers from ``first`` to before ``stop``."""
        layers, saving, ran, i = self._layers, modes.state.saving, list[Any](), first
        front = self._frozen_front() if saving and Parameter.some_frozen and not self.needs_input_grad else 0
        last = len(layers) - 1
        if stop is None:
            stop = last if to_logits and not isinstance(layers[last], Chain) else last + 1
        if saving:
            self.__dict__["_saved"] = None  # what an earlier forward pass left
        try:
            while i < stop:
                layer, step, plan, saved, length = layers[i], None, None, None, 1
                if saving:  # a pass in evaluation may come between forward and backward
                    layer.__dict__["needs_input_grad"] = i > front or self.needs_input_grad
                if fused is not None:
                    step = fused[i]
                if i < front:
                    x, i = self._run_frozen(i, front, x, step, to_logits and i == last)
                    continue
                plan = None if step is None else step.plan(x)
                if step is not None and plan is not None:
                    x, saved = run_fused(step, x, plan)
                    length = len(step.layers)
                else:
                    step = None
                    x = run_layer(layer, x, to_logits and i == last)
                if saving:
                    ran.append((i, step or layer, saved, x.shape, x.dtype))
                i += length
        except BaseException as error:
            if saving:  # a backward must not mix what this forward pass saved with what an earlier one did
                for module in self.modules():
                    module.clear_saved()
            if isinstance(error, InputError):
                raise error.at(str(i), layers[i]) from None
            raise
        self.save_for_backward(ran, len(ran))
        return x

    def _frozen_front(self) -> int:
        """Return the number of layers before the first one that has a parameter to train; 0 if none is frozen there."""
        has_frozen = False
        for i, layer in enumerate(self._layers):
            parameters = layer.parameters()
            if any(parameter.requires_grad for parameter in parameters):
                return i if has_frozen else 0
            has_frozen = has_frozen or bool(parameters)
        return len(self._layers) if has_frozen else 0

    def _run_frozen(self, i: int, front: int, x: Array, step: Any, to_logits: bool) -> tuple[Array, int]:
        """Run a layer, or the fused step from there, that backward does not reach: -> (its output, the next layer)."""
        with no_grad():
            if step is not None and i + len(step.layers) <= front:
                plan = step.plan(x)
                if plan is not None:
                    return run_fused(step, x, plan)[0], i + len(step.layers)
            return run_layer(self._layers[i], x, to_logits), i + 1

    def run_backward(self, grad: Array) -> Array | None:
        """Walk the steps that ran back from the end.

        Raises
        ------
        InputError
            If a layer refuses the gradient of its output; it names the layer, and the next one, which made that.
        """
        if self._saved is None:  # the layers ran one by one, by hand; or none did, and the last one says so
            first = self._frozen_front() if Parameter.some_frozen and not self.needs_input_grad else 0
            ran: list[Any] = [(i, self._layers[i], None, None, None) for i in range(first, len(self._layers))]
        else:
            ran, count = self.saved()
            if len(ran) < count:  # a shallow copy of this chain has walked them back already
                return self.run_backward(grad)
        made: Any = grad
        while ran:
            i, step, saved, shape, dtype = ran.pop()
            try:
                if isinstance(step, FusedStep):
                    made = run_fused_backward(step, made, saved, shape, dtype)
                else:
                    clock = modes.state.clock
                    made = step.backward(made) if clock is None else clock(step, "backward", step.backward, made)
            except InputError as error:
                raise self._located(error, i, step) from None
            if made is None and self._layers[i].needs_input_grad:
                missing = InputError("backward must return the gradient of the input, but returned None")
                raise missing.at(str(i), self._layers[i])
            saved = None  # memory falls as the walk goes on
        return made if self.needs_input_grad else None

    def _located(self, error: InputError, i: int, step: Any) -> InputError:
        """Return the error with the position of the layer that refused its gradient, and with what made that."""
        if not error.path:
            i += len(step.layers) - 1 if isinstance(step, FusedStep) else 0
            if i + 1 < len(self._layers):
                error.problem += f"; backward of layer {i + 1}, {self._layers[i + 1]!r}, made this gradient"
        loss_func = getattr(self, "loss_func", None)
        if loss_func is not None and i + 1 == len(self._layers) and "made this gradient" not in error.problem:
            error.problem += f"; if {loss_func!r} made this gradient, change its backward"
        return error.at(str(i), self._layers[i])


def run_layer(layer: Any, x: Array, to_logits: bool) -> Array:
    """Run one layer; a user's while BLAS has one thread, which ours take care of themselves."""
    run: Any = partial(layer.run_layers, to_logits=True) if to_logits else layer
    if run is layer and modes.state.forward_hook is None and type(layer).__call__ is Module.__call__:
        run = layer.forward  # a call would do no more, but look for modes that Ctrl-C has left, as our caller has
    if modes.state.clock is not None:
        y = modes.state.clock(layer, "forward", run, x)
    elif limits_blas(type(layer).__module__):
        y = run(x)
    else:
        with one_blas_thread():
            y = run(x)
    if not isinstance(y, np.ndarray):
        check_output(y)
    return y


def run_fused(step: FusedStep, x: Array, plan: Any) -> tuple[Array, Any]:
    """Run a fused step; the slots of its layers are emptied, as they are of an earlier forward pass."""
    if modes.state.saving:
        for layer in step.layers:
            layer.__dict__["_saved"] = None
    if modes.state.clock is None:
        return step.forward(x, plan)
    kept = []

    def run(x: Array) -> Array:
        y, saved = step.forward(x, plan)
        kept.append(saved)
        return y

    return modes.state.clock(step, "forward", run, x), kept[0]


def run_fused_backward(step: FusedStep, grad: Any, saved: Any, shape: tuple[int, ...], dtype: Any) -> Array | None:
    """Run the backward pass of a fused step, whose output had this shape and dtype."""
    if type(grad) is not np.ndarray or grad.shape != shape or grad.dtype != dtype:
        check_grad(step.layers[-1], grad, shape, dtype)
    if not grad.flags.aligned:
        grad = grad.copy()
    if modes.state.clock is None:
        return step.backward(grad, saved)
    return modes.state.clock(step, "backward", partial(step.backward, saved=saved), grad)
