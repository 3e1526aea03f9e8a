"""Modes of a thread: without gradients, in evaluation, with a hook after every forward, with a clock on every layer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ForwardHook = Callable[[Any, Any], None]
Clock = Callable[..., Any]


class ThreadState(threading.local):
    """The modes of one thread, so that evaluating in one thread does not disturb training in another."""

    saving: bool = True
    evaluating: bool = False
    forward_hook: ForwardHook | None = None
    clock: Clock | None = None


state = ThreadState()


@contextmanager
def no_grad() -> Iterator[None]:
    """Run forward passes that save nothing for a backward pass, in this thread.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn.layers import ReLU
    >>> relu = ReLU()
    >>> with no_grad():
    ...     y = relu(np.ones((1, 2), np.float32))
    """
    before, state.saving = state.saving, False
    try:
        yield
    finally:
        state.saving = before


@contextmanager
def forward_hook(hook: ForwardHook) -> Iterator[None]:
    """Call ``hook(module, output)`` after the forward of every module inside, in this thread; outer hooks stay on."""
    before = state.forward_hook

    def both(module: Any, y: Any) -> None:
        hook(module, y)
        if before is not None:
            before(module, y)

    state.forward_hook = both
    try:
        yield
    finally:
        state.forward_hook = before


@contextmanager
def timing(clock: Clock) -> Iterator[None]:
    """Run every layer's forward and backward as ``clock(layer, what, function, array)``, in this thread."""
    before, state.clock = state.clock, clock
    try:
        yield
    finally:
        state.clock = before


@contextmanager
def evaluating() -> Iterator[None]:
    """Evaluation mode and `no_grad`, in this thread; another thread may train the same modules at the same time."""
    before, state.evaluating = state.evaluating, True
    try:
        with no_grad():
            yield
    finally:
        state.evaluating = before
