"""The thread pool of the compiled kernels. (More tests, such as two models in two threads, are in test_jit.py.)"""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import cnn
from cnn import Sequential
from cnn.kernels import backend, parallel
from cnn.layers import AvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Tanh
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from cnn.utils.gradcheck import difference
from tests.conformance import draw
from tests.kernels.backends import as_bytes, forward_and_backward, needs_numba, using
from tests.kernels.test_threads import can_fork, in_child, in_threads

pytestmark = needs_numba

LAYERS = [
    (lambda: Conv2d(16, 32, 3, padding=1, rng=0), (40, 16, 12, 12)),
    (lambda: Conv2d(3, 20, 3, stride=2, rng=0), (41, 3, 33, 33)),
    (lambda: Conv2d(3, 20, 3, rng=0), (1, 3, 64, 64)),
    (lambda: Conv2d(32, 32, 3, groups=32, rng=0), (41, 32, 17, 17)),
    (lambda: MaxPool2d(2), (41, 16, 22, 22)),
    (lambda: AvgPool2d(3, 2, 1), (41, 16, 22, 22)),
    (lambda: BatchNorm2d(16), (41, 16, 22, 22)),
    (lambda: Linear(300, 200, rng=0), (130, 300)),
    (lambda: ReLU(), (41, 16, 22, 22)),
    (lambda: Tanh(), (41, 16, 22, 22)),
]


@pytest.fixture(autouse=True)
def compiled():
    """Use the kernels under test."""
    with using("jit", 2):
        yield


def small_model(seed):
    """Return a net whose convolutions, norm and products run on several threads."""
    rng = np.random.default_rng(seed)
    layers = [Conv2d(1, 16, 3, padding=1, bias=False, rng=rng), BatchNorm2d(16), ReLU(), MaxPool2d(2)]
    layers += [Conv2d(16, 32, 3, padding=1, rng=rng), ReLU(), MaxPool2d(2), Flatten(), Linear(800, 100, rng=rng)]
    layers += [ReLU(), Linear(100, 3, rng=rng)]
    return Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=Adam(lr=0.01))


def trained(seed, steps=4):
    """Train a net, and return its losses, and its weights as bytes."""
    model, rng = small_model(seed), np.random.default_rng(seed)
    x, y = rng.normal(size=(48, 1, 20, 20)).astype(np.float32), rng.integers(0, 3, 48)
    losses = [model.train_step(x, y) for _ in range(steps)]
    return losses, as_bytes(model.state_dict().values())


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda value: "" if isinstance(value, tuple) else repr(value()))
def test_every_number_of_threads_gives_the_same(make, shape):
    """Outputs and the gradient of the input bit for bit; sums over the batch except rounding."""
    found = []
    for threads in (1, 2, 3, 5):
        cnn.set_num_threads(threads)
        found.append(forward_and_backward(make(), draw(shape)))
        again = forward_and_backward(make(), draw(shape))
        assert as_bytes(found[-1]) == as_bytes(again)
    for arrays in found[1:]:
        assert as_bytes(arrays[:2]) == as_bytes(found[0][:2])
        for a, b in zip(arrays[2:], found[0][2:], strict=True):
            assert difference(a, b) <= 1e-5


def test_two_models_trained_in_two_threads_give_the_same_bits():
    one_after_the_other = [trained(0), trained(1)]
    assert one_after_the_other[0] != one_after_the_other[1]
    for _ in range(3):
        found = [None, None]

        def train(seed):
            found[seed] = trained(seed)  # noqa: B023

        in_threads(lambda: train(0), lambda: train(1))
        assert found == one_after_the_other


def test_the_number_of_threads_up_and_down():
    """Superfluous workers end, and new ones start; the same number gives the same bits."""
    found = {}
    for threads in (2, 1, 4, 3, 2, 1, 4):
        cnn.set_num_threads(threads)
        result = trained(0, steps=2)
        assert found.setdefault(threads, result) == result
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("cnn-")]
        thread_pool = backend.load("cnn.kernels.jit.engine.thread_pool")
        assert len(names) == (len(thread_pool._pool.threads) if thread_pool._pool else 0) == threads - 1


def test_another_thread_changes_the_number_of_threads():
    """Both while a kernel runs and while its arguments are set up: the results stay the same, no thread writes outside
    the scratch buffers, and no thread hangs.
    """
    x, layer = draw((40, 16, 12, 12)), Conv2d(16, 32, 3, padding=1, rng=0)
    expected, stop = layer(x), threading.Event()

    def change():
        while not stop.is_set():
            for threads in (4, 1, 3, 2):
                cnn.set_num_threads(threads)
                time.sleep(0.0005)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(300):
            np.testing.assert_array_equal(layer(x), expected)
    finally:
        stop.set()
        changer.join(60)
    assert not changer.is_alive()


def test_more_workers_than_scratch_buffers():
    """A worker without a scratch buffer runs no parts; all parts are run nevertheless."""
    thread_pool, compiled = (
        backend.load("cnn.kernels.jit.engine.thread_pool"),
        backend.load("cnn.kernels.jit.engine.compilation"),
    )
    done = np.zeros(64, np.int64)

    def note(a, part, slot):
        row = compiled_indices(a[0])
        row[part] = slot + 1

    compiled_indices = compiled.indices
    kernel = compiled.kernel(note)
    cnn.set_num_threads(4)
    pool, row = thread_pool._get_pool(), np.array([done.ctypes.data], np.int64)
    for max_threads in (1, 2, 3, 4):
        for _ in range(200):
            done[...] = 0
            pool.wake()
            assert thread_pool.lead(pool.address, kernel, row.ctypes.data, 64, max_threads)
            assert done.min() >= 1
            assert done.max() <= max_threads


def test_a_user_thread_that_finds_the_workers_busy_works_alone():
    """It does not wait for them."""
    thread_pool = backend.load("cnn.kernels.jit.engine.thread_pool")
    expected = trained(0, steps=1)
    state = thread_pool._get_pool().state
    state[thread_pool.LEADERS] += 1
    try:
        assert trained(0, steps=1) == expected
        assert state[thread_pool.LEADERS] == 1
    finally:
        state[thread_pool.LEADERS] -= 1
    assert trained(0, steps=1) == expected
    assert state[thread_pool.LEADERS] == 0


def result_in_bytes():
    """Return losses and weights after two steps, as bytes."""
    losses, weights = trained(0, steps=2)
    return repr(losses).encode() + b"".join(weights)[:20_000]


@pytest.mark.parametrize("pause", [0, 0.05, 0.2])
def test_a_forked_child_computes_the_same(pause):
    """Whether the workers of the parent poll or sleep; the child starts its own."""
    if not can_fork():
        return
    expected = result_in_bytes()
    for _ in range(3):
        trained(0, steps=1)
        time.sleep(pause)
        assert in_child(result_in_bytes) == expected
    assert result_in_bytes() == expected  # and the parent's workers still run


def test_a_fork_while_another_thread_trains_does_not_hang():
    """Locks that are held at that moment, and unfinished jobs, belong to the parent."""
    if not can_fork():
        return
    expected, stop = result_in_bytes(), threading.Event()

    def train():
        while not stop.is_set():
            trained(1, steps=1)

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        for _ in range(10):
            assert in_child(result_in_bytes) == expected
    finally:
        stop.set()
        trainer.join(60)
    assert not trainer.is_alive()


# How a program ends


STEP = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background is started without
import numpy as np
import cnn
from cnn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

cnn.kernels.use("jit")
cnn.set_num_threads({threads})
layers = [Conv2d(1, 16, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(16 * 81, 3)]
model = cnn.Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=Adam())
x, y = np.ones((40, 1, 20, 20), np.float32), np.arange(40) % 3
model.train_step(x, y)
"""


def program(text, threads=3):
    """Start Python with a training step followed by ``text``."""
    code = STEP.format(threads=threads) + text
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 0),
        ("time.sleep(0.3)", 0),  # the workers sleep
        ("model.train_step(x, y); sys.exit(3)", 3),
        ("model.train_step(x, y); raise SystemExit(0)", 0),
        ("import os; model.train_step(x, y); os._exit(4)", 4),
        ("import gc; model.train_step(x, y); del model, cnn; gc.collect()", 0),
        # another thread runs a job at the end
        (
            "import threading\n"
            "def train():\n"
            "    while True: model.train_step(x, y)\n"
            "threading.Thread(target=train, daemon=True).start(); time.sleep(0.2)",
            0,
        ),
        ("import atexit; atexit.register(model.train_step, x, y)", 0),  # after the workers were stopped, or before
    ],
    ids=["at once", "later", "sys.exit", "SystemExit", "os._exit", "nothing left", "a daemon trains", "atexit"],
)
def test_a_program_ends(text, status):
    """With several numbers of threads, so that the workers are in different states."""
    for threads in (2, 3, 5):
        running = program(text, threads)
        output, errors = running.communicate(timeout=120)
        assert running.returncode == status, errors
        assert not output
        assert not errors


def test_ctrl_c_in_a_loop_that_trains():
    """KeyboardInterrupt is raised in the loop, training can go on after it, and the program ends as it should."""
    text = """
print("started", flush=True)
caught = 0
while caught < 5:
    try:
        while True:
            model.train_step(x, y)
    except KeyboardInterrupt:
        caught += 1
        print(f"caught {caught}", flush=True)
for _ in range(20):
    loss = model.train_step(x, y)
print("ended", np.isfinite(loss))
"""
    running = program(text)
    assert running.stdout.readline() == "started\n"
    for i in range(5):
        time.sleep(0.05 * i)
        os.kill(running.pid, signal.SIGINT)
        assert running.stdout.readline() == f"caught {i + 1}\n"
    output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert output == "ended True\n"
    assert not errors


def test_ctrl_c_while_workers_are_woken():
    """Whichever instruction it comes after, the workers can still be woken and stopped."""
    thread_pool = backend.load("cnn.kernels.jit.engine.thread_pool")

    def interrupted_at(number):
        """Wake the workers, with Ctrl-C at this instruction; tell whether there was one."""
        count = 0

        def trace(frame, event, _):
            nonlocal count
            if frame.f_code is not thread_pool.ThreadPool.wake.__code__:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                count += 1
                if count == number:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            pool.wake()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    number = 1
    while True:
        pool = thread_pool.ThreadPool(2)
        time.sleep(0.02)  # they fall asleep
        interrupted = interrupted_at(number)
        stopper = threading.Thread(target=pool.shut_down, daemon=True)
        stopper.start()
        stopper.join(30)
        assert not stopper.is_alive(), f"after instruction {number}"
        if not interrupted:
            break
        number += 1
    assert number > 20


def test_ctrl_c_that_nobody_catches():
    """The program ends as usual, with the usual traceback."""
    running = program("print('started', flush=True)\nwhile True: model.train_step(x, y)")
    assert running.stdout.readline() == "started\n"
    time.sleep(0.1)
    os.kill(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1


def test_the_pool_is_separate_from_that_for_numpy():
    """Plain functions and array kernels use another pool; set_num_threads sets the size of both."""
    cnn.set_num_threads(3)
    trained(0, steps=1)
    assert parallel.get_num_threads() == 3
    pool = backend.load("cnn.kernels.jit.engine.thread_pool")._pool
    assert len(pool.threads) == 2
    assert all(thread.daemon for thread in pool.threads)
