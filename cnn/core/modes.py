"""Modes of a thread: without gradients, in evaluation, with a hook after every forward, with a clock on every layer.

Each is set by a `with` statement and ends with it. Ctrl-C may come just before the statement can end its mode. So the
outermost statement of a thread is remembered, and `give_back` ends the modes of one that is over.
"""

import contextlib
import contextvars
import functools
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

ForwardHook = Callable[[Any, Any], None]
Clock = Callable[..., Any]

GENERATOR = 0x20 | 0x80 | 0x200  # flags of the code of generators and coroutines, as in the module inspect


class ThreadState(threading.local):
    """The modes of one thread, so that evaluating in one thread does not disturb training in another."""

    saving: bool = True
    evaluating: bool = False
    forward_hook: ForwardHook | None = None
    clock: Clock | None = None
    outermost: tuple[weakref.ref[Any], FrameType] | None = None  # the `with` statement: its object and its frame


state = ThreadState()
NO_MODES = {name: getattr(state, name) for name in ThreadState.__annotations__}


def is_inside(block: weakref.ref[Any], frame: FrameType) -> bool:
    """Tell whether a `with` statement of this thread has not ended, from the object that it holds and its frame.

    The object alone does not tell: the traceback of an interrupt may hold it longer.
    """
    if block() is None:
        return False
    if frame.f_code.co_flags & GENERATOR:  # a generator may wait for its turn
        return True
    above: FrameType | None = sys._getframe(1)
    while above is not None and above is not frame:
        above = above.f_back
    return above is not None


def frame_of_with(frame: FrameType) -> FrameType:
    """Return the frame itself, or, of a function of contextlib such as ExitStack.enter_context, that of its caller."""
    while frame.f_code.co_filename == contextlib.__file__ and frame.f_back is not None:
        frame = frame.f_back
    return frame


def give_back() -> None:
    """End the modes that Ctrl-C has left on in this thread."""
    if state.outermost is not None and not is_inside(*state.outermost):
        vars(state).update(NO_MODES)


class Mode(contextlib.ContextDecorator):
    """A `with` statement that sets modes of this thread; all are set, and given back, in one instruction."""

    def __init__(self, **modes: Any) -> None:
        self._modes = modes
        self._before: dict[str, Any] = {}

    def __enter__(self) -> None:
        give_back()
        self._before = {name: getattr(state, name) for name in (*self._modes, "outermost")}
        outermost = state.outermost or (weakref.ref(self), frame_of_with(sys._getframe(1)))
        vars(state).update(self._modes, outermost=outermost)

    def __exit__(self, *error: object) -> None:
        vars(state).update(self._before)

    def _recreate_cm(self) -> "Mode":
        return Mode(**self._modes)  # for each call of a decorated function


def no_grad() -> Mode:
    """Run forward passes that save nothing for a backward pass, in this thread.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn.layers import ReLU
    >>> relu = ReLU()
    >>> with no_grad():
    ...     y = relu(np.ones((1, 2), np.float32))
    """
    return Mode(saving=False)


def evaluating() -> Mode:
    """Evaluation mode and `no_grad`, in this thread; another thread may train the same modules at the same time."""
    return Mode(evaluating=True, saving=False)


def forward_hook(hook: ForwardHook) -> Mode:
    """Call ``hook(module, output)`` after the forward of every module inside, in this thread; outer hooks stay on."""
    give_back()
    before = state.forward_hook

    def both(module: Any, y: Any) -> None:
        hook(module, y)
        if before is not None:
            before(module, y)

    return Mode(forward_hook=both)


def timing(clock: Clock) -> Mode:
    """Run every layer's forward and backward as ``clock(layer, what, function, array)``, in this thread."""
    return Mode(clock=clock)


def without_warnings(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function in which NumPy warns of no overflow, invalid value or division by zero; its results are checked.

    NumPy's settings belong to a context, and the function runs in a copy of it. So they end with the call, also where
    Ctrl-C comes just before a ``with np.errstate(...)`` could restore them.

    Examples
    --------
    >>> import numpy as np
    >>> without_warnings(np.divide)(1.0, np.zeros(1))
    array([inf])
    """

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        context = contextvars.copy_context()
        context.run(np.seterr, over="ignore", invalid="ignore", divide="ignore")
        return context.run(function, *arguments, **named)

    return run
