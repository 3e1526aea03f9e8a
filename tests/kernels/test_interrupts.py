"""Ctrl-C at any moment leaves the library as it was, at the latest when the next call returns.

A tracer raises KeyboardInterrupt where an instruction is about to run. Real signals come only between some of these
instructions, and are in benchmarks/interrupts.py.
"""

import collections
import copy
import gc
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn.core import modes
from cnn.kernels import backend, dispatch, memory, parallel
from cnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from tests.kernels.backends import needs_numba, using

PACKAGE = Path(cnn.__file__).parent
CRITICAL = [
    "kernels/memory.py",
    "kernels/parallel.py",
    "kernels/dispatch.py",
    "kernels/array/parallel_for.py",
    "kernels/jit/engine/thread_pool.py",
    "core/modes.py",
]
TRACED = {
    str(PACKAGE / name)
    for name in (
        *CRITICAL,
        "kernels/array/conv2d.py",
        "kernels/array/winograd.py",
        "kernels/array/conv_pool.py",
        "kernels/jit/conv2d.py",
        "kernels/jit/conv_block.py",
        "kernels/jit/engine/product.py",
        "containers/chain.py",
        "containers/fusion/array.py",
        "containers/fusion/jit.py",
        "training/evaluation.py",
        "training/fit.py",
        "training/loop.py",
        "training/train_step.py",
    )
}
BACKENDS = ["reference", "array", pytest.param("jit", marks=needs_numba)]


class Tracer:
    """Counts how often each line (or instruction) runs in this thread, and raises KeyboardInterrupt at one of them."""

    def __init__(self, files, at=None, opcodes=False):
        self.files, self.opcodes = files, opcodes
        self.place, self.count = at or (None, 0)
        self.hits = collections.Counter()
        self.raised = False

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in self.files:
            return None
        if self.opcodes:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == ("opcode" if self.opcodes else "line"):
            place = frame.f_code.co_filename, frame.f_lineno, frame.f_lasti if self.opcodes else 0
            self.hits[place] += 1
            if place == self.place and self.hits[place] == self.count:
                self.raised = True
                raise KeyboardInterrupt
        return self

    def run(self, function):
        """Return what the function raised."""
        before, caught = sys.gettrace(), None
        sys.settrace(self)
        try:
            function()
        except KeyboardInterrupt as interrupt:
            caught = interrupt
        finally:
            sys.settrace(before)
        return caught


def net():
    """Return a net whose layers run on several threads, borrow scratch memory and reuse memory of large arrays."""
    rng = np.random.default_rng(0)
    layers = [Conv2d(2, 16, 3, padding=1, bias=False, rng=rng), BatchNorm2d(16), ReLU()]
    layers += [Conv2d(16, 16, 3, padding=1, rng=rng), ReLU(), MaxPool2d(2), Conv2d(16, 16, 3, stride=2, rng=rng)]
    layers += [Flatten(), Dropout(0.1, rng=0), Linear(400, 40, rng=rng), ReLU(), Linear(40, 3, rng=rng)]
    return cnn.Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=Adam(lr=0.01))


class Calls:
    """`fit`, `predict`, and hand-written steps of a net, each from the same state."""

    def __init__(self, samples):
        rng = np.random.default_rng(1)
        self.x, self.y = rng.normal(size=(samples, 2, 24, 24)).astype(np.float32), rng.integers(0, 3, samples)
        self.model = net()
        self.model.build((2, 24, 24))

    def fit(self):
        """Train for an epoch, and return the loss after it and the weights."""
        model = copy.deepcopy(self.model)
        history = model.fit(self.x, self.y, (self.x[:3], self.y[:3]), epochs=1, batch_size=8, verbose_freq=0, rng=0)
        assert model.training
        return [history.epoch(-1)["val_loss"], *model.state_dict().values()]

    def predict(self):
        """Return the probabilities."""
        return [self.model.predict_proba(self.x, batch_size=8)]

    def step(self):
        """Run a training step, and a forward pass without gradients."""
        model = copy.deepcopy(self.model)
        loss = model.train_step(self.x, self.y)
        with modes.no_grad():
            y = model(self.x)
        return [loss, y]


def as_bytes(values):
    return [np.asarray(value).tobytes() for value in values]


def blas_threads():
    return [library.num_threads for library in dispatch.libraries()]


def check_nothing_is_left():
    """What an earlier call has set, lent or started is given back."""
    assert not dispatch._inside
    assert dispatch._limit is None
    assert not dispatch._changing
    assert {name: getattr(modes.state, name) for name in modes.NO_MODES} == modes.NO_MODES
    threads = [thread.name for thread in threading.enumerate()]
    assert sum(name.startswith("cnn_") for name in threads) <= parallel.num_threads - 1
    assert sum(name.startswith("cnn-") for name in threads) <= parallel.num_threads - 1


def interrupted(call, places, files, samples=8, opcodes=False):
    """Interrupt a call at each place; check the calls after it. Return the number of interrupts."""
    calls = Calls(samples)
    functions = {"fit": calls.fit, "predict": calls.predict, "step": calls.step}
    for function in functions.values():
        function()  # the first one loads kernels, and starts threads
    expected = {key: as_bytes(function()) for key, function in functions.items()}
    errors, threads = np.geterr(), blas_threads()
    gc.collect()
    memory.empty_cache()
    functions[call]()
    record = Tracer(files, opcodes=opcodes)
    assert record.run(functions[call]) is None
    count = 0
    for place in places(record.hits):
        tracer = Tracer(files, place, opcodes)
        caught = tracer.run(functions[call])
        assert (caught is not None) == tracer.raised, f"the interrupt at {place} was swallowed"
        count += tracer.raised
        after = "fit" if call == "step" else call  # the next call, while the traceback of the interrupt is still there
        assert as_bytes(functions[after]()) == expected[after], place
        assert blas_threads() == threads, place
        assert np.geterr() == errors, place
        del caught
        check_nothing_is_left()
    for key, function in functions.items():
        assert as_bytes(function()) == expected[key]
    del function
    gc.collect()
    memory._collect_returned()
    return count


def first_of_each_line(hits):
    """The first time that each line runs."""
    return [(place, 1) for place in hits]


def several_of_each(hits):
    """The first, second and last time, and one between."""
    return [(place, n) for place, count in hits.items() for n in sorted({1, min(2, count), (count + 1) // 2, count})]


@pytest.fixture(autouse=True)
def two_blas_threads():
    """BLAS has a setting of the user's own, which each call must give back."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert set(blas_threads()) == {2}
        yield
        assert set(blas_threads()) == {2}


@pytest.mark.parametrize("call", ["fit", "predict"])
@pytest.mark.parametrize("name", BACKENDS)
def test_after_every_line(name, call):
    """The first time that it runs."""
    with using(name, 2):
        assert interrupted(call, first_of_each_line, TRACED) > 50


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fit", "predict", "step"])
@pytest.mark.parametrize("name", BACKENDS)
def test_after_every_line_more_often(name, call):
    """Also when it has run before, and the last time."""
    with using(name, 2):
        assert interrupted(call, several_of_each, TRACED, samples=16) > 100


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fit", "predict"])
@pytest.mark.parametrize("name", BACKENDS)
def test_before_every_instruction(name, call):
    """Of the critical modules; a signal cannot come between all of them."""
    critical = {str(PACKAGE / each) for each in CRITICAL}
    with using(name, 2):
        assert interrupted(call, first_of_each_line, critical, opcodes=True) > 100
