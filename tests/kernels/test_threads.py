"""The rule about threads: BLAS has one thread inside every matrix product of ours, and the user's setting afterwards."""

import os
import select
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

from cnn import Sequential
from cnn.containers.branches import Residual
from cnn.kernels import backend, dispatch, kernel, one_blas_thread
from cnn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.module import Module
from cnn.optim import Adam
from tests.conformance import CASES, draw


def blas_threads():
    """Return how many threads each BLAS in this process may use now."""
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two_threads():
    """Set the user's own number of BLAS threads; each test must restore it."""
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert before
        yield before
        assert blas_threads() == before
        assert not dispatch._inside


class Probe(np.ndarray):
    """An array that records the number of BLAS threads in every matrix product with it."""

    seen: list = []  # noqa: RUF012

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        if ufunc is np.matmul:
            Probe.seen.append(blas_threads())
        inputs = [np.asarray(i) if isinstance(i, Probe) else i for i in inputs]
        if out:
            kwargs["out"] = tuple(np.asarray(o) if isinstance(o, Probe) else o for o in out)
        return getattr(ufunc, method)(*inputs, **kwargs)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(make, shape) for make, shape in CASES if type(make()) in (Conv2d, Linear)],
    ids=lambda value: "" if isinstance(value, tuple) else type(value()).__name__,
)
def test_every_product_has_one_thread(make, shape, two_threads, monkeypatch):
    """Forward, input gradient and weight gradient of the plain functions: three products, each recorded by a probe."""
    monkeypatch.setattr(backend, "current", "reference")
    layer = make()
    layer.weight._data = layer.weight.data.view(Probe)
    Probe.seen.clear()
    y = layer(draw(shape))
    assert Probe.seen == [[1] * len(two_threads)]
    layer.backward(draw(y.shape).view(Probe))
    assert Probe.seen == [[1] * len(two_threads)] * 3
    assert blas_threads() == two_threads


@pytest.mark.parametrize("name", ["reference", *(["jit"] if backend.has_numba() else [])])
def test_custom_layers_have_one_thread_within_a_net(name, two_threads, monkeypatch):
    """Also a layer that is put into a container later."""
    monkeypatch.setattr(backend, "current", name)
    seen = []

    class Mine(Module):
        def forward(self, x):
            seen.append(blas_threads())
            return x

        def backward(self, grad):
            seen.append(blas_threads())
            return grad

    model = Sequential([Residual(Linear(4, 4)), ReLU()])
    model(draw((2, 4)))
    model[0].body = Mine()
    model.backward(model(draw((2, 4))))
    assert seen == [[1] * len(two_threads)] * 2


def test_a_product_of_the_users_own_keeps_the_users_setting(two_threads):
    """Shows that the probe above can record more than one thread."""
    Probe.seen.clear()
    np.ones((3, 3)).view(Probe) @ np.ones((3, 3))
    assert Probe.seen == [two_threads]


def test_forward_and_backward_of_a_net_have_one_thread():
    seen = []

    class Look(ReLU):
        def forward(self, x):
            seen.append(blas_threads())
            return super().forward(x)

        def backward(self, grad):
            seen.append(blas_threads())
            return super().backward(grad)

    model = Sequential([Linear(3, 4), Look(), Linear(4, 2)])
    model.backward(model(draw((5, 3))))
    assert {n for counts in seen for n in counts} == {1}
    assert len(seen) == 2


def test_nested(two_threads):
    with one_blas_thread():
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == two_threads


def test_the_setting_comes_back_after_an_exception(two_threads):
    @kernel
    def fails():
        assert set(blas_threads()) == {1}
        raise KeyError

    with pytest.raises(KeyError), one_blas_thread():
        fails()
    assert blas_threads() == two_threads
    with pytest.raises(ValueError, match="expected"):
        Sequential([Linear(3, 2)])(draw((2, 4)))
    assert blas_threads() == two_threads


def test_a_kernel_keeps_its_name_and_text():
    @kernel
    def double(x):
        """Two times x."""
        return 2 * x

    assert double(3) == 6
    assert (double.__name__, double.__doc__) == ("double", "Two times x.")


def test_the_last_of_two_threads_gives_the_setting_back(two_threads):
    """One enters, the other enters, the first leaves: still one thread, until the second leaves too."""
    first_left, seen = threading.Event(), []
    both_inside = threading.Barrier(2, timeout=60)

    def first():
        with one_blas_thread():
            both_inside.wait()
        first_left.set()

    def second():
        with one_blas_thread():
            both_inside.wait()
            first_left.wait(60)
            seen.append(blas_threads())

    in_threads(first, second)
    assert seen == [[1] * len(two_threads)]
    assert blas_threads() == two_threads


def test_many_threads_entering_and_leaving(two_threads):
    seen = []

    def enter_and_leave():
        for _ in range(20):
            with one_blas_thread():
                seen.extend(blas_threads())

    in_threads(*[enter_and_leave] * 4)
    assert set(seen) == {1}
    assert blas_threads() == two_threads


def test_a_thread_limits_after_the_main_thread_did(two_threads):
    """Without our code, threadpoolctl lets only one thread set OpenBLAS's limit."""
    with one_blas_thread():
        pass
    seen = []

    def other():
        with one_blas_thread():
            seen.append(blas_threads())
        seen.append(blas_threads())

    in_threads(other)
    assert seen == [[1] * len(two_threads), two_threads]
    with one_blas_thread():
        assert set(blas_threads()) == {1}


def test_a_limit_of_the_users_own_around_ours_is_given_back(two_threads):
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        in_threads(forward_and_backward)
        assert set(blas_threads()) == {1}
    assert blas_threads() == two_threads


def in_threads(*functions):
    """Run functions in threads of their own, and raise their first error."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
    assert not any(thread.is_alive() for thread in running)
    if errors:
        raise errors[0]


def trained(seed):
    """Train a small net, and return its weights as bytes, and its losses."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(64, 1, 12, 12)).astype(np.float32), rng.integers(0, 3, 64)
    layers = [Conv2d(1, 8, 3, rng=rng), ReLU(), MaxPool2d(2), Flatten(), Linear(200, 64, rng=rng), ReLU()]
    layers += [Linear(64, 3, rng=rng), Softmax()]
    model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam(lr=0.01))
    losses = [model.train_step(x[i : i + 32], y[i : i + 32]) for i in (0, 32) * 5]
    return b"".join(array.tobytes() for array in model.state_dict().values()), losses


def test_two_models_trained_in_two_threads_give_the_same_bits():
    one_after_the_other = [trained(0), trained(1)]
    for _ in range(3):
        with ThreadPoolExecutor(2) as executor:
            assert list(executor.map(trained, [0, 1])) == one_after_the_other


def in_child(function):
    """Run a function in a forked process and return the bytes that it returns; a child that hangs is an error."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads around is what is tested here
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, function())
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], 60)
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert ready, "the child hangs"
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def forward_and_backward():
    layer = Conv2d(2, 3, 3, rng=0)
    y = layer(draw((2, 2, 5, 5)))
    return y.tobytes() + layer.backward(y).tobytes()


def can_fork():
    """Return False only on Windows; asserted, so that these tests cannot pass by doing nothing."""
    assert hasattr(os, "fork") == (sys.platform != "win32")
    return hasattr(os, "fork")


def test_a_forked_child_computes_the_same():
    if can_fork():
        assert in_child(forward_and_backward) == forward_and_backward()


def test_a_fork_while_another_thread_computes_does_not_hang():
    """Its turn to set the limit would never end in the child."""
    if not can_fork():
        return
    stop = threading.Event()

    def keep_the_turn():
        while not stop.is_set():
            dispatch._take_turn(threading.get_ident())
            time.sleep(0.01)
            dispatch._end_turn(threading.get_ident())

    holder = threading.Thread(target=keep_the_turn)
    holder.start()
    try:
        while not dispatch._changing:
            time.sleep(0.001)
        assert in_child(forward_and_backward) == forward_and_backward()
    finally:
        stop.set()
        holder.join()
