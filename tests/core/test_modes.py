"""Modes and the limit of BLAS however their `with` statements are entered and left, and in whatever order."""

import contextlib
import sys
import threading

import numpy as np
import pytest
import threadpoolctl

import cnn
from cnn.core import modes
from cnn.core.modes import evaluating, no_grad
from cnn.kernels import memory, one_blas_thread
from cnn.kernels.dispatch import give_back, libraries
from cnn.layers import ReLU


class Wrapped:
    """A user's own context manager around one of ours."""

    def __init__(self, make):
        self.make = make

    def __enter__(self):
        self.inner = self.make()
        self.inner.__enter__()

    def __exit__(self, *error):
        self.inner.__exit__(*error)


@contextlib.contextmanager
def generator(make):
    with make():
        yield


@contextlib.contextmanager
def helper(make):
    def enter(stack):
        stack.enter_context(make())

    with contextlib.ExitStack() as stack:
        enter(stack)
        yield


def returned(make):
    with contextlib.ExitStack() as stack:
        stack.enter_context(make())
        return stack.pop_all()


WAYS = {"with": lambda make: make(), "class": Wrapped, "generator": generator, "helper": helper, "stack": returned}


def threads():
    """Return the threads of the libraries that are limited: those that there were when the first limit was set."""
    return {library.num_threads for library in libraries()}


def saves():
    relu = ReLU()
    relu(np.ones((1, 2), np.float32))
    return relu._saved is not None


@pytest.mark.parametrize("way", WAYS)
def test_no_grad_holds_until_its_end(way):
    assert saves()
    with WAYS[way](no_grad):
        assert not saves()
        with evaluating():
            assert not saves()
        assert not saves()
    assert saves()
    assert modes.state.active == ()


@pytest.mark.parametrize("way", WAYS)
def test_blas_has_one_thread_until_the_end(way):
    model = cnn.Sequential([ReLU()])
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with WAYS[way](one_blas_thread):
            model.predict(np.ones((3, 4), np.float32))
            assert threads() == {1}
        assert threads() == {2}


def test_a_decorated_function():
    assert no_grad()(saves)() is False
    assert saves()


def test_modes_may_end_in_any_order():
    def samples(ends):
        with no_grad():
            yield from range(ends)

    first, second = samples(3), samples(3)
    next(first)
    next(second)
    first.close()
    assert not saves()
    second.close()
    assert saves()
    both = no_grad()
    with both:
        with both:
            assert not saves()
        assert not saves()
    assert saves()


def test_a_generator_that_predict_has_not_finished_leaves_no_mode():
    model = cnn.Sequential([ReLU()])

    def batches():
        with no_grad():
            yield np.ones((2, 3), np.float32)
            yield np.full((2, 3), np.nan, np.float32)

    given = batches()
    with pytest.raises(ValueError, match="NaN"):
        model.predict(given)
    given.close()
    assert saves()
    assert not modes.state.evaluating


def test_a_limit_that_a_thread_has_left_ends_with_its_object():
    def hold():
        with one_blas_thread():
            yield

    kept = []

    def begin():
        kept.append(hold())
        next(kept[0])

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        kept.pop().close()
        give_back()
        assert threads() == {2}


def test_threads_may_allocate_while_the_bytes_are_added_up():
    stop, errors, interval = threading.Event(), [], sys.getswitchinterval()

    def allocate():
        try:
            held = []
            while not stop.is_set():
                held = [*held[-20:], memory.empty((len(held) + 1, 1 << 18))]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=allocate) for _ in range(3)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(3000):
            assert memory.used_bytes() >= 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
        memory.empty_cache()
    assert errors == []
