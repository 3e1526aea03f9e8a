"""A program that runs kernels on arrays between protected memory pages, filled with NaN: it crashes if a kernel reads or
writes outside an array, and its results are wrong if a kernel reads uninitialised memory. See test_bounds.py.
"""

import collections
import copy
import ctypes
import faulthandler
import math
import mmap
import sys
import warnings

import numpy as np

from cnn import ModelWarning, Sequential
from cnn.containers.branches import Residual
from cnn.kernels import backend, memory, parallel
from cnn.kernels.table import TABLE
from cnn.layers import AvgPool2d, BatchNorm2d, Conv2d, ConvTranspose2d, Linear, MaxPool2d, ReLU, Tanh
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from tests.kernels.backends import using

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
seen = collections.Counter()  # algorithms, with and without bands; narrow inputs and merged images, in which pass
at_end = True  # whether arrays end at the end of their memory, or start at its start


def guarded(shape, dtype=np.float32):
    """Return an array with a protected page right before or right after it."""
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    pages = max(1, -(-size // PAGE))
    area = mmap.mmap(-1, (pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    for page in (address, address + (pages + 1) * PAGE):
        if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE + (pages * PAGE - size if at_end else 0)
    array = np.frombuffer(area, np.uint8, size, start)
    array[...] = 255  # as floats: NaN
    return array.view(dtype).reshape(shape)


def guarded_copy(x, images=False):
    """Return a read-only copy of an array in guarded memory, with images channels last, as kernels read them."""
    made = guarded(x.transpose(0, 2, 3, 1).shape).transpose(0, 3, 1, 2) if images else guarded(x.shape)
    made[...] = x
    made.flags.writeable = False
    return made


class GuardedNumpy:
    """NumPy, but new arrays are guarded."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype=np.float64):
        return guarded(shape, dtype)

    @staticmethod
    def empty_like(x, dtype=None):
        return guarded(x.shape, x.dtype if dtype is None else dtype)

    @staticmethod
    def zeros(shape, dtype=np.float64):
        made = guarded(shape, dtype)
        made[...] = 0
        return made


def guard_kernels():
    """Make all compiled kernels use guarded memory, for results and for scratch buffers."""
    for entries in TABLE.values():
        for entry in entries:
            if entry.backend == "jit":
                backend.load(entry.path.rpartition(".")[0])
    backend.load("cnn.containers.fusion.jit")
    changed = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("cnn.kernels.jit.") or module is memory:
            for what, instead in (
                ("empty", guarded),
                ("new_scratch", guarded),
                ("borrow_scratch", guarded),
                ("return_scratch", lambda scratch: None),
            ):
                if hasattr(module, what):
                    setattr(module, what, instead)
                    changed += 1
            if name.rpartition(".")[2] in (
                "conv2d",
                "conv_block",
                "normalize",
                "small_linear",
                "cross_entropy_loss",
            ):
                module.np = GuardedNumpy()
                changed += 1
    assert changed > 15
    memory.idle_scratch = EmptyCache()
    conv2d = backend.load("cnn.kernels.jit.conv2d")
    arguments = backend.load("cnn.kernels.jit.engine.arguments")
    run_forward, prepare = conv2d.run_forward, conv2d.prepare

    def counted(plan, *others):
        seen[plan.conv.algorithm, int(plan.arguments[arguments.BANDS]) > 1] += 1
        y, choice, uneven = run_forward(plan, *others)
        seen["uneven"] += uneven is not None
        return y, choice, uneven

    def recorded(shape, *others, **named):
        conv = prepare(shape, *others, **named)
        direction = "backward" if len(others) > 3 else "forward"  # only backward passes needs_input_grad
        seen["narrow", direction] += int(conv.arguments[arguments.NARROW])
        seen["merged", direction] += conv.arguments[arguments.N] < shape[0]
        return conv

    conv2d.run_forward, conv2d.prepare = counted, recorded
    backend.load("cnn.kernels.jit.conv_plan").prepare = recorded


class EmptyCache(list):
    """A replacement for the idle scratch buffers: each job gets a new one, of exactly the requested size."""

    def append(self, buffer):
        pass


def check(layer, x, rng):
    """Assert that results with guarded arrays are those of the plain functions."""
    plain = copy.deepcopy(layer).to(np.float64)
    for tensor in layer.parameters():
        tensor._data = guarded_copy(tensor.data)
    y = layer(guarded_copy(x, x.ndim == 4))
    grad = rng.normal(size=y.shape).astype(np.float32)
    found = [y, layer.backward(guarded_copy(grad, grad.ndim == 4)), *(p.grad for p in layer.parameters())]
    with using("reference", 1):
        expected = [plain(x.astype(np.float64)), plain.backward(grad.astype(np.float64))]
        expected += [p.grad for p in plain.parameters()]
    for a, b in zip(found, expected, strict=True):
        # a value near 0 may pass ReLU in one and not in the other; the gradient of a bias before a norm is 0 except rounding
        error = np.linalg.norm(a - b) / max(np.linalg.norm(b), 0.01 * np.linalg.norm(grad))
        assert error <= 0.03, (layer, x.shape, parallel.get_num_threads(), error)


def convolutions(rng, count):
    """Generate random convolutions, some with layers after them."""
    while count:
        groups = int(rng.choice([1, 1, 1, 2, 3, 8]))
        c, k = (groups * int(rng.choice([1, 1, 2, 3, 5, 8, 16, 17, 33])) for _ in range(2))
        if rng.random() < 0.2:
            groups, k = c, c
        kernel = tuple(int(n) for n in rng.integers(1, 5, 2))
        stride = tuple(int(n) for n in rng.integers(1, 4, 2))
        dilation = tuple(int(n) for n in rng.integers(1, 4, 2))
        top, bottom, left, right = (int(n) for n in rng.integers(0, 4, 4))
        padding = [(top, left), ((top, bottom), (left, right)), "same"][rng.integers(3)]
        h, w = (int(n) for n in rng.integers(1, 14, 2))
        n = int(rng.choice([1, 2, 3, 9]))
        if rng.random() < 0.25:  # the Winograd algorithm
            groups, (c, k), kernel, stride, dilation = 1, (int(v) for v in rng.choice([16, 32, 48], 2)), (3, 3), 1, 1
            n = int(rng.choice([1, 2, 6]))
            h, w = (math.ceil((1024 / n) ** 0.5) + int(v) for v in rng.integers(0, 6, 2))
        conv = Conv2d(c, k, kernel, stride, padding, dilation, groups, bool(rng.random() < 0.7), rng=rng)
        try:
            oh, ow = conv.geometry(h, w).output_size(h, w)
        except ValueError:
            continue
        count -= 1
        x = rng.normal(size=(n, c, h, w)).astype(np.float32)
        if count % 2:
            x[0, 0, h // 2, w // 2] *= 1000  # an uneven image, which does not use the Winograd algorithm
        kind = rng.random()
        if kind < 0.4:
            yield conv, x
            continue
        layers = [conv]
        if rng.random() < 0.5 and n * oh * ow > 8:
            layers.append(BatchNorm2d(k))
        if rng.random() < 0.5:
            layers.append(ReLU())
        if rng.random() < 0.6 and min(oh, ow) > 3:
            layers.append(
                MaxPool2d(*[(2,), (3, 2, 1), (2, 1), (3,), (3, 2, "same"), (2, 2, ((0, 1), (1, 0)))][rng.integers(6)])
            )
        model = Sequential(layers)
        model.build(x.shape[1:])
        yield model, x


def rest(rng):
    """Generate convolutions that read an array in place, without padding; and other layers with kernels."""
    for conv in (
        Conv2d(16, 16, 1, groups=2, rng=rng),
        Conv2d(3, 24, 1, rng=rng),
        Conv2d(16, 16, 1, groups=16, rng=rng),
        Conv2d(70, 41, 1, rng=rng),
    ):
        for n in (2, 40):
            yield conv, rng.normal(size=(n, conv.in_channels, 8, 8)).astype(np.float32)
    for shape in ((2, 3, 4, 5), (3, 5, 47, 47)):
        model = Sequential([Residual(Tanh()), ReLU()])
        model.build(shape[1:])
        yield model, rng.normal(size=shape).astype(np.float32)
    for _ in range(8):
        n, c, h, w = (int(rng.integers(1, high)) for high in (6, 40, 12, 12))
        x = rng.normal(size=(n, c, h + 3, w + 3)).astype(np.float32)
        yield MaxPool2d(2), x
        yield MaxPool2d(3, 2, 1, ceil_mode=True), x
        yield MaxPool2d((2, 3), (2, 1), 1, (2, 1)), x
        yield AvgPool2d(2), x
        yield AvgPool2d(3, 2, 1, ceil_mode=True), x
        yield AvgPool2d(3, 2, 1, count_include_pad=False), x
        yield AvgPool2d(3, 2, ((0, 2), (1, 0))), x
        yield MaxPool2d(3, 2, "same"), x
        yield BatchNorm2d(c), x
        yield ReLU(), x
        yield Tanh(), x
        k, stride = int(rng.integers(1, 20)), int(rng.integers(1, 3))
        yield ConvTranspose2d(c, k, (3, 2), stride, 1, stride - 1, rng=rng), x
        rows, inputs, outputs = (int(rng.integers(1, high)) for high in (70, 300, 300))
        rows_of = rng.normal(size=(rows, inputs)).astype(np.float32)
        yield Linear(inputs, outputs, rng=rng), rows_of
        model = Sequential([Linear(inputs, outputs, rng=rng), ReLU()])
        model.build((inputs,))
        yield model, rows_of


def train_steps(rng):
    """Train some steps with a loss and an optimizer."""
    layers = [Linear(33, 47, rng=rng), ReLU(), Linear(47, 5, rng=rng)]
    model = Sequential(layers, CrossEntropyLoss(from_logits=True), Adam())
    model.build((33,))
    for tensor in model.parameters():
        writable = guarded(tensor.shape)
        writable[...] = tensor.data
        tensor._data = writable
    x, y = guarded_copy(rng.normal(size=(19, 33)).astype(np.float32)), rng.integers(0, 5, 19)
    losses = [model.train_step(x, y) for _ in range(20)]
    assert losses[-1] < losses[0], losses


def add_workers():
    """Make a pool with more workers than a job has scratch buffers, as if another thread had just set the number of threads."""
    thread_pool = backend.load("cnn.kernels.jit.engine.thread_pool")
    larger = thread_pool.ThreadPool(parallel.num_threads + 1)
    thread_pool._get_pool = lambda: larger
    thread_pool._pool = larger


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore", ModelWarning)  # a bias before a norm
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    with using("jit", 2):
        guard_kernels()
        done = 0
        for at_end, threads in ((True, 1), (True, 3), (False, 2), (True, 2)):
            if done and at_end and threads == 2:
                add_workers()
            rng = np.random.default_rng([seed, at_end, threads])
            for layer, x in [*convolutions(rng, count), *rest(rng)]:
                print(repr(layer).replace("\n", " "), x.shape, threads, at_end, file=sys.stderr)
                with using("jit", threads):
                    check(layer, x, rng)
                done += 1
            train_steps(rng)
    assert seen["winograd", True], seen
    assert seen["direct", True], seen
    assert seen["uneven"], seen
    assert all(seen[case] for case in (("narrow", "backward"), ("merged", "forward"), ("merged", "backward"))), seen
    print(f"{done} layers")
