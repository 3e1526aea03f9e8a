"""Modes of a thread: without gradients, in evaluation, with a hook after every forward, with a clock on every layer.

Each is set by a `with` statement and ends with it. Ctrl-C may come just before the statement can end its mode. So all
statements of a thread that are active are remembered, and `give_back` ends the modes of those that are over.
"""

import contextlib
import contextvars
import functools
import opcode
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

ForwardHook = Callable[[Any, Any], None]
Clock = Callable[..., Any]

GENERATOR = 0x20 | 0x80 | 0x200  # flags of the code of generators and coroutines, as in the module inspect
# what calls __enter__ in a `with` statement: an instruction of its own, from Python 3.14 on a call after LOAD_SPECIAL
BEFORE_WITH, LOAD_SPECIAL = (opcode.opmap.get(name, -1) for name in ("BEFORE_WITH", "LOAD_SPECIAL"))


class ThreadState(threading.local):
    """The modes of one thread, so that evaluating in one thread does not disturb training in another."""

    saving: bool = True
    evaluating: bool = False
    forward_hook: ForwardHook | None = None
    clock: Clock | None = None
    active: tuple["Active", ...] = ()  # the `with` statements, the outermost first


class Active(NamedTuple):
    """A `with` statement: the object that it holds, its frame (or None, see `frame_of_with`), and its modes."""

    block: weakref.ref[Any]
    frame: FrameType | None
    modes: dict[str, Any]


state = ThreadState()
NO_MODES = {name: getattr(state, name) for name in ("saving", "evaluating", "forward_hook", "clock", "active")}


def is_inside(block: weakref.ref[Any], frame: FrameType | None) -> bool:
    """Tell whether a `with` statement of this thread has not ended, from the object that it holds and its frame.

    The object alone does not tell: the traceback of an interrupt may hold it longer.
    """
    if block() is None:
        return False
    if frame is None or frame.f_code.co_flags & GENERATOR:  # a generator may wait for its turn
        return True
    above: FrameType | None = sys._getframe(1)
    while above is not None and above is not frame:
        above = above.f_back
    return above is not None


def frame_of_with(frame: FrameType) -> FrameType | None:
    """Return the frame if it is in a `with` statement, which ends before the frame does.

    Otherwise None: an ExitStack, or a user's own code, has called ``__enter__``, and may call ``__exit__`` elsewhere.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    is_with = code[at] == BEFORE_WITH or (at >= 2 and code[at - 2] == LOAD_SPECIAL)
    return frame if is_with else None


def give_back() -> None:
    """End the modes that Ctrl-C has left on in this thread."""
    for each in state.active:
        if not is_inside(each.block, each.frame):
            _set(tuple(each for each in state.active if is_inside(each.block, each.frame)))
            return


def _set(active: tuple[Active, ...]) -> None:
    """Set the modes of all active statements, in one instruction."""
    modes = {**NO_MODES, "active": active}
    for each in active:
        for name, value in each.modes.items():
            both = name == "forward_hook" and modes[name] is not None
            modes[name] = _both(value, modes[name]) if both else value
    vars(state).update(modes)


def _both(inner: ForwardHook, outer: ForwardHook) -> ForwardHook:
    def both(module: Any, y: Any) -> None:
        inner(module, y)
        outer(module, y)

    return both


class Mode(contextlib.ContextDecorator):
    """A `with` statement that sets modes of this thread."""

    def __init__(self, **modes: Any) -> None:
        self._modes = modes

    def __enter__(self) -> None:
        give_back()
        _set((*state.active, Active(weakref.ref(self), frame_of_with(sys._getframe(1)), self._modes)))

    def __exit__(self, *error: object) -> None:
        for i in reversed(range(len(state.active))):  # not always the last: of generators any may end first
            if state.active[i].block() is self:
                _set(state.active[:i] + state.active[i + 1 :])
                break

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
    """Evaluation mode and `no_grad`, in this thread; another thread may train the same modules at the same time.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn.layers import Dropout
    >>> from cnn.module import evaluating
    >>> layer = Dropout(0.9)  # in training mode, as it is new
    >>> with evaluating():
    ...     layer(np.ones(3, np.float32))
    array([1., 1., 1.], dtype=float32)
    """
    return Mode(evaluating=True, saving=False)


def forward_hook(hook: ForwardHook) -> Mode:
    """Call ``hook(module, output)`` after the forward of every module inside, in this thread; outer hooks stay on.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear, ReLU
    >>> from cnn.module import forward_hook
    >>> model = Sequential([Linear(2, 3), ReLU()])
    >>> with forward_hook(lambda module, y: print(type(module).__name__, y.shape)):
    ...     y = model(np.ones((1, 2), np.float32))
    Linear (1, 3)
    ReLU (1, 3)
    Sequential (1, 3)
    """
    return Mode(forward_hook=hook)


def timing(clock: Clock) -> Mode:
    """Run every layer's forward and backward as ``clock(layer, what, function, array)``, in this thread.

    For the forward of a join of a Graph ``array`` is a list of arrays. The clock returns what the function returned.
    """
    return Mode(clock=clock)


def context_without_warnings() -> contextvars.Context:
    """Return a copy of the current context in which NumPy warns of no overflow, invalid value or division by zero."""
    context = contextvars.copy_context()
    context.run(np.seterr, over="ignore", invalid="ignore", divide="ignore")
    return context


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
        return context_without_warnings().run(function, *arguments, **named)

    return run
