"""Switches of a thread: keep nothing for backward, behave as in evaluation, watch what every module makes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Watcher = Callable[[Any, Any], None]
Clock = Callable[..., Any]


class ThreadState(threading.local):
    """Switches that belong to one thread, so that evaluating in one does not disturb training in another."""

    saving: bool = True
    evaluating: bool = False
    watcher: Watcher | None = None
    clock: Clock | None = None


state = ThreadState()


@contextmanager
def no_grad() -> Iterator[None]:
    """Run forward passes that keep nothing for a backward pass, in this thread.

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
def watching(watcher: Watcher) -> Iterator[None]:
    """Call ``watcher(module, output)`` after every module that runs inside, in this thread; outer watchers go on."""
    before = state.watcher

    def both(module: Any, y: Any) -> None:
        watcher(module, y)
        if before is not None:
            before(module, y)

    state.watcher = both
    try:
        yield
    finally:
        state.watcher = before


@contextmanager
def timing(clock: Clock) -> Iterator[None]:
    """Run every layer's forward and backward as ``clock(layer, what, function, array)``, in this thread."""
    before, state.clock = state.clock, clock
    try:
        yield
    finally:
        state.clock = before


def timed(layer: Any, what: str, function: Callable[[Any], Any], array: Any) -> Any:
    """Return ``function(array)``, through the clock if there is one."""
    return function(array) if state.clock is None else state.clock(layer, what, function, array)


@contextmanager
def evaluating() -> Iterator[None]:
    """Evaluation mode and `no_grad` inside, in this thread; another may train the same modules at the same time."""
    before, state.evaluating = state.evaluating, True
    try:
        with no_grad():
            yield
    finally:
        state.evaluating = before
