"""Dividing work among threads does not change results."""

import os
import threading
import warnings

import numpy as np
import pytest

import cnn
from cnn.kernels import batched, parallel, summed
from cnn.layers import Conv2d, MaxPool2d
from cnn.utils.gradcheck import difference


@pytest.fixture(autouse=True)
def restore_threads():
    yield
    parallel.num_threads = parallel._cores()
    parallel._reset_pool()


def images(n=11, channels=4, size=24):
    """Return a batch large enough to be shared, of a size that no tested number of threads divides."""
    x = np.random.default_rng(0).normal(size=(n, channels, size, size))
    assert x.nbytes > parallel.MIN_BYTES
    return x


def forward_and_backward(layer, x):
    y = layer(x)
    g = np.random.default_rng(1).normal(size=y.shape)
    layer.zero_grad()
    return [y, layer.backward(g), *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("threads", [2, 3, 5, 40])
@pytest.mark.parametrize(
    "layer", [Conv2d(4, 6, 3, stride=2, groups=2, rng=0).to(np.float64), MaxPool2d(3, 2, padding=1)]
)
def test_every_number_of_threads_gives_the_same_result(layer, threads):
    x = images()
    cnn.set_num_threads(1)
    single = forward_and_backward(layer, x)
    cnn.set_num_threads(threads)
    shared = forward_and_backward(layer, x)
    assert all(difference(a, b) < 1e-13 for a, b in zip(shared, single, strict=True))
    again = forward_and_backward(layer, x)
    assert all((a == b).all() for a, b in zip(shared, again, strict=True))


def test_images_stay_channels_last_in_memory():
    cnn.set_num_threads(2)
    y = Conv2d(4, 6, 3, rng=0).to(np.float64)(images())
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


def test_parts_run_on_different_threads_and_small_work_runs_on_the_callers_thread():
    cnn.set_num_threads(2)
    seen = []
    barrier = threading.Barrier(2, timeout=20)  # passed only if two threads are inside at once

    @batched(1)
    def record(x, wait):
        if wait:
            barrier.wait()
        seen.append((threading.current_thread(), len(x)))
        return x

    large = np.zeros((5, parallel.MIN_BYTES))
    assert record(large, True).shape == large.shape
    assert len({thread for thread, _ in seen}) == 2
    assert sorted(n for _, n in seen) == [2, 3]
    seen.clear()
    record(large[:1], False)
    record(np.zeros((5, 5)), False)
    assert seen == [(threading.current_thread(), 1), (threading.current_thread(), 5)]


def test_results_of_several_arrays_and_sums():
    cnn.set_num_threads(3)
    x = np.random.default_rng(0).normal(size=(7, parallel.MIN_BYTES // 8))
    low, high = batched(1)(lambda x: (x.min(axis=1), x.max(axis=1)))(x)
    assert (low == x.min(axis=1)).all()
    assert (high == x.max(axis=1)).all()
    total = summed(2)(lambda x, y: (x * y).sum(axis=0))(x, x)
    assert np.allclose(total, (x * x).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("part", [0, 1])
def test_an_error_in_any_part_reaches_the_caller(part):
    cnn.set_num_threads(2)

    @batched(1)
    def fail(x):
        if x[0, 0] == part:
            raise ValueError(f"part {part}")
        return x

    x = np.repeat([[0.0], [1.0]], parallel.MIN_BYTES, axis=1)
    with pytest.raises(ValueError, match=f"part {part}"):
        fail(x)


def test_numpy_error_settings_hold_in_every_thread():
    """Warnings are errors in these tests, so a worker thread that did not ignore the overflow would raise."""
    cnn.set_num_threads(2)
    square = batched(1)(np.square)
    large = np.full((2, parallel.MIN_BYTES), 1e300)
    with np.errstate(over="ignore"):
        assert np.isinf(square(large)).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        square(large)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_a_bad_number_of_threads(n):
    with pytest.raises(ValueError, match="integer of at least 1"):
        cnn.set_num_threads(n)


def test_the_number_of_threads():
    assert 1 <= cnn.get_num_threads() <= os.cpu_count()
    cnn.set_num_threads(3)
    assert cnn.get_num_threads() == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_starts_its_own_threads():
    cnn.set_num_threads(2)
    x = images()
    layer = MaxPool2d(2)
    expected = layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Python versions warn about a fork while threads run
        child = os.fork()
    if child == 0:
        os._exit(0 if (layer(x) == expected).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
