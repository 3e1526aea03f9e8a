"""Ctrl-C at any moment leaves the library as it was, at the latest when the next call returns.

A tracer raises KeyboardInterrupt where an instruction is about to run. Real signals come only between some of these
instructions, and are in benchmarks/interrupts.py.
"""

import collections
import copy
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn.core import modes
from cnn.data import DataLoader
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
        "training/run.py",
        "training/train_step.py",
    )
}
LOADING = {str(PACKAGE / name) for name in ("data/loader.py", "data/prefetch.py")}
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

    def load(self):
        """Train with a thread that prepares the batches."""
        model = copy.deepcopy(self.model)
        loader = DataLoader(self.x, self.y, batch_size=4, rng=0, transforms=[lambda x, y, _: (x + 1, y)], prefetch=2)
        model.fit(loader, epochs=1, verbose_freq=0)
        return model.state_dict().values()

    def threads(self):
        """Change the number of threads, which ends threads and starts others."""
        try:
            cnn.set_num_threads(3)
            found = self.predict()
            cnn.set_num_threads(2)
            return found + self.predict()
        finally:
            cnn.set_num_threads(2)

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
    assert len(parallel._pools) <= 1
    most = {"cnn_": parallel.num_threads - 1, "cnn batches": 0}
    if backend.active() == "jit":
        most["cnn-"] = parallel.num_threads - 1
    for prefix, number in most.items():
        threads = [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]
        for thread in threads[: len(threads) - number] if len(threads) > number else []:  # they are about to end
            thread.join(5)
            assert not thread.is_alive(), threads


def interrupted(call, places, files, samples=8, opcodes=False):
    """Interrupt a call at each place; check the calls after it. Return the number of interrupts."""
    calls = Calls(samples)
    functions = {name: getattr(calls, name) for name in ("fit", "predict", "step", "load", "threads")}
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
        # the next call, while the traceback of the interrupt is still there
        assert as_bytes(functions[call]()) == expected[call], place
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


@pytest.mark.parametrize("name", ["array", pytest.param("jit", marks=needs_numba)])
def test_while_threads_end_and_start(name):
    """The threads of kernels."""
    files = {str(PACKAGE / "kernels/parallel.py"), str(PACKAGE / "kernels/jit/engine/thread_pool.py")}
    with using(name, 2):
        assert interrupted("threads", first_of_each_line, files) > 20


def test_while_a_thread_prepares_batches():
    """The thread of a DataLoader."""
    with using("reference", 2):
        assert interrupted("load", first_of_each_line, LOADING) > 20


@pytest.mark.slow
@pytest.mark.parametrize("call", ["step", "load"])
@pytest.mark.parametrize("name", BACKENDS)
def test_after_every_line_of_other_calls(name, call):
    """A training step by hand, and a loop over a DataLoader."""
    with using(name, 2):
        assert interrupted(call, first_of_each_line, TRACED | LOADING) > 50


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fit", "predict"])
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


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such signals")
def test_workers_end_before_the_caller_goes_on():
    """Also if Ctrl-C comes again and again while it waits for them."""
    begun, ended, interrupts = threading.Event(), [], []

    def slow():
        begun.set()
        time.sleep(0.3)
        ended.append(True)

    def interrupt(*_):
        if not ended:
            interrupts.append(True)
            raise KeyboardInterrupt

    def first():
        assert begun.wait(60)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        time.sleep(60)

    with using("array", 2):
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                parallel.run_parallel([first, slow])
            assert ended == [True]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert len(interrupts) > 5
        assert parallel.run_parallel([lambda: 1, lambda: 2]) == [1, 2]
    check_nothing_is_left()


def test_no_code_runs_when_an_array_is_deleted():
    """An interrupt in it would be swallowed: Python can only print it."""
    array, ran = memory.empty((600, 500)), []
    sys.setprofile(lambda frame, event, _: ran.append((event, frame.f_code.co_name)))
    try:
        del array
    finally:
        sys.setprofile(None)
    assert [event for event, _ in ran] == ["c_call"]  # of setprofile itself
    assert len(memory._returned) >= 1


@pytest.mark.parametrize("name", BACKENDS)
def test_another_thread_trains_meanwhile(name):
    """Neither do its numbers change, nor has BLAS more than one thread while it computes."""
    calls, found, seen, stop = Calls(8), [], set(), threading.Event()

    def train():
        while not stop.is_set():
            with dispatch.one_blas_thread():
                found.append(as_bytes(calls.step()))
                seen.update(blas_threads())

    with using(name, 2):
        expected, predicted = as_bytes(calls.step()), as_bytes(calls.predict())
        files = {str(PACKAGE / each) for each in CRITICAL}
        record = Tracer(files)
        record.run(calls.predict)
        trainer = threading.Thread(target=train)
        trainer.start()
        try:
            count = 0
            for place in list(record.hits)[::5]:
                tracer = Tracer(files, (place, 1))
                tracer.run(calls.predict)
                count += tracer.raised
                assert as_bytes(calls.predict()) == predicted
        finally:
            stop.set()
            trainer.join(60)
    assert not trainer.is_alive()
    assert count > 5
    assert found
    assert all(each == expected for each in found)
    assert seen == {1}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such signals")
@pytest.mark.parametrize("name", BACKENDS)
def test_real_signals(name):
    """At 2,000 random moments; the script also prints how long calls take afterwards."""
    command = [sys.executable, str(PACKAGE.parent / "benchmarks" / "interrupts.py"), name, "--json"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ, PYTHONPATH=str(PACKAGE.parent))
    )
    found = json.loads(done.stdout)
    assert found["signals"] >= 2000
    assert (found["swallowed"], found["wrong"], found["limited"]) == (0, 0, 0)
    assert found["growth"] < 5


IMPORTING = """
import signal, sys
import cnn

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            found.append(name)
            signal.raise_signal(signal.SIGINT)

found, before = [], signal.getsignal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
try:
    cnn.kernels.active()
except KeyboardInterrupt:
    print("interrupted")
assert found and signal.getsignal(signal.SIGINT) is before
print(cnn.kernels.active())
import numba
print(numba.njit(lambda x: x + 1)(2))
"""


@needs_numba
@pytest.mark.parametrize("module", ["numba.core", "numba.core.config", "llvmlite", "numba.core.types", "numba.np"])
def test_ctrl_c_while_numba_is_imported(module):
    """Half of Numba would stay in sys.modules, and no later import of it works."""
    command = [sys.executable, "-c", IMPORTING, module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.split() == ["interrupted", "jit", "3"], done.stderr
