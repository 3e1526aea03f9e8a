"""A program that calls every implementation in the table, and every net that runs as a fused step, with each array
replaced by others: of another dtype, rank, shape, order, read-only, misaligned. Each call must be refused or declined,
or give the result of the plain function. All arrays lie next to protected pages, or in memory that glibc's malloc_debug
checks, so a read or write outside an array ends the process. See test_every_argument.py.
"""

import collections
import copy
import ctypes
import faulthandler
import gc
import math
import sys
import warnings
import weakref

import numpy as np

from cnn import ModelWarning, Sequential, no_grad
from cnn.containers.branches import Residual
from cnn.functional.windows import WindowGeometry
from cnn.kernels import backend, dispatch
from cnn.kernels.table import TABLE
from cnn.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear, MaxPool2d, ReLU, Tanh
from cnn.layers.avgpool2d import areas
from cnn.optim import Adam
from tests.kernels import guarded
from tests.kernels.backends import using

REFUSED = (ValueError, TypeError, IndexError)  # InputError is a ValueError
LAYOUTS = ("unchanged", "order", "last", "read-only", "misaligned")
counts = collections.Counter()
# Python's own calls of malloc and free go to the preloaded library; those that ctypes looks up by name do not
allocate, free = ctypes.pythonapi.PyMem_RawMalloc, ctypes.pythonapi.PyMem_RawFree
allocate.restype = ctypes.c_void_p


def from_malloc(shape, dtype=np.float32):
    """Return an array of memory that is given back to malloc, which then looks whether anything wrote beyond it."""
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    address = allocate(ctypes.c_size_t(max(size, 1)))
    area = (ctypes.c_char * max(size, 1)).from_address(address)
    weakref.finalize(area, free, ctypes.c_void_p(address)).atexit = False
    array = np.frombuffer(area, np.uint8, size)
    array[...] = 255  # as floats: NaN
    return array.view(dtype).reshape(shape)


def placed(array, new):
    """Return a copy with the same strides in memory that ``new`` returns, without a byte before or after it."""
    if array.dtype.hasobject:
        return array
    low, high = np.lib.array_utils.byte_bounds(array)
    start = array.__array_interface__["data"][0]
    shift = 0 if array.flags.aligned else 1  # one byte more, so that the copy is misaligned as well
    block = new((high - low + shift,), np.uint8)
    made = np.ndarray(array.shape, array.dtype, block, start - low + shift * (not guarded.at_end), array.strides)
    if not any(step == 0 for step in array.strides):
        made[...] = array
    elif array.size:  # broadcast: the same element many times
        made[(0,) * array.ndim] = array[(0,) * array.ndim]
    made.flags.writeable = array.flags.writeable
    return made


def misaligned(x):
    block = np.zeros(x.nbytes + 1, np.uint8)
    made = block[1:].view(x.dtype).reshape(x.shape)
    made[...] = x
    return made


def read_only(x):
    made = x.copy()
    made.flags.writeable = False
    return made


def variants(x):
    """Yield pairs of a description and an array in the place of ``x``."""
    for dtype in ("f8", "f2", "i1", "u1", "i4", "i8", "?", "c8", ">f4", "O"):
        if x.dtype != dtype:
            yield dtype, x.astype(dtype)
    shapes = [(*x.shape[:i], n, *x.shape[i + 1 :]) for i, m in enumerate(x.shape) for n in (m + 1, m - 1, 2 * m, 1, 0)]
    shapes += [(1, *x.shape), (*x.shape, 1), x.shape[1:], x.shape[:-1], (x.size,), (), x.shape[::-1], (*x.shape, 2)]
    for shape in dict.fromkeys(shapes):
        if shape != x.shape:
            yield f"shape {shape}", np.resize(x, shape)
    yield "in Fortran order", np.asfortranarray(x)
    yield "channels last", np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 1 else x.copy()
    for axis in range(x.ndim):
        yield f"reversed along axis {axis}", np.flip(np.flip(x, axis).copy(), axis)
        yield f"with gaps along axis {axis}", np.take(np.repeat(x, 2, axis), range(0, 2 * x.shape[axis], 2), axis)
        wide = np.repeat(x, 2, axis)
        yield f"every other along axis {axis}", wide[(slice(None),) * axis + (slice(None, None, 2),)]
    yield "one element for all", np.broadcast_to(x.reshape(-1)[:1].reshape((1,) * x.ndim), x.shape)
    yield "read-only", read_only(x)
    yield "misaligned", misaligned(x)
    yield "a subclass", x.view(np.recarray)
    yield "a list", x.tolist()
    if x.dtype.kind in "iub":
        yield "large values", np.full_like(x, np.iinfo(x.dtype).max if x.dtype.kind != "b" else True)
        yield "small values", np.full_like(x, np.iinfo(x.dtype).min if x.dtype.kind != "b" else False)


# One or more valid calls for each function in the table: its arguments

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.normal(size=shape).astype(np.float32)


def convolutions():
    """Yield shape of the input, of the weights, geometry and groups: for each algorithm."""
    for x, k, size, stride, pad, groups in (
        ((3, 5, 9, 8), 7, (3, 2), (1, 1), (1, 0), 1),
        ((3, 6, 9, 8), 4, (3, 3), (2, 2), (1, 1), 2),
        ((3, 6, 9, 8), 6, (3, 3), (1, 1), (1, 1), 6),
        ((4, 20, 6, 6), 9, (1, 1), (1, 1), (0, 0), 1),
        ((2, 3, 12, 12), 8, (3, 3), (1, 1), (1, 1), 1),
        ((2, 16, 24, 24), 32, (3, 3), (1, 1), (1, 1), 1),
    ):
        geometry = WindowGeometry.of(size, stride, (1, 1), pad)
        yield x, (k, x[1] // groups, *size), geometry, groups


def output_of(x, weight, geometry):
    return draw(x[0], weight[0], *geometry.output_size(*x[2:]))


def conv2d():
    for x, weight, geometry, groups in convolutions():
        yield draw(*x), draw(*weight), draw(weight[0]), geometry, groups


def conv2d_input_grad():
    for x, weight, geometry, groups in convolutions():
        yield output_of(x, weight, geometry), draw(*weight), x, geometry, groups


def conv2d_weight_grad():
    for x, weight, geometry, groups in convolutions():
        yield output_of(x, weight, geometry), draw(*x), weight, geometry, groups


def conv_transpose2d():
    for x, weight, geometry, groups in convolutions():
        yield output_of(x, weight, geometry), draw(*weight), draw(x[1]), x, geometry, groups


def conv_transpose2d_input_grad():
    for x, weight, geometry, groups in convolutions():
        yield draw(*x), draw(*weight), geometry, groups


def conv_transpose2d_weight_grad():
    for x, weight, geometry, groups in convolutions():
        yield draw(*x), output_of(x, weight, geometry), weight, geometry, groups


def pools():
    """Yield geometry and sizes of pools."""
    for size, stride, pad, ceil_mode in (((2, 2), (2, 2), (0, 0), False), ((3, 2), (2, 1), (1, 0), True)):
        geometry = WindowGeometry.of(size, stride, (1, 1), pad)
        yield geometry, geometry.output_size(9, 8, ceil_mode)


def maxpool2d():
    for geometry, size in pools():
        yield draw(3, 5, 9, 8), geometry, size


def maxpool2d_input_grad():
    for geometry, size in pools():
        argmax = rng.integers(0, math.prod(geometry.size), (3, 5, *size)).astype(np.uint8)
        yield draw(3, 5, *size), argmax, (3, 5, 9, 8), geometry


def adaptive_avg_pool2d():
    for n in (3, 20):  # fewer and more than the parts that threads share; channels last
        yield draw(n, 9, 8, 5).transpose(0, 3, 1, 2), (1, 1)


def avgpool2d():
    for geometry, size in pools():
        yield draw(3, 5, 9, 8), geometry, areas(geometry, size, 9, 8, False).astype(np.float32)


def avgpool2d_input_grad():
    for geometry, size in pools():
        yield draw(3, 5, *size), (3, 5, 9, 8), geometry, areas(geometry, size, 9, 8, True).astype(np.float32)


def statistics(dtype, c):
    return draw(1, c, 1, 1).astype(dtype), (draw(1, c, 1, 1) ** 2 + 0.5).astype(dtype)


def batchnorm():
    for dtype in (np.float64, np.float32):
        mean, var = statistics(dtype, 19)
        yield draw(3, 19, 4, 5), mean, var, 1e-5, draw(19), draw(19)


def batchnorm_grad():
    for dtype in (np.float64, np.float32):
        mean, var = statistics(dtype, 19)
        yield draw(3, 19, 4, 5), draw(3, 19, 4, 5), mean, var, 1e-5, draw(19), dtype is np.float64


def part_sums():
    yield draw(3, 19, 4, 5), draw(3, 19, 4, 5), *statistics(np.float64, 19), 1e-5


def part_grad():
    yield *next(part_sums()), draw(19), draw(19).astype(np.float64), draw(19).astype(np.float64)


def two():
    yield draw(3, 5, 47, 47), draw(3, 5, 47, 47)
    yield draw(7, 9), draw(7, 9)


def linear():
    for n in (3, 9, 64):
        yield draw(n, 257), draw(300, 257), draw(300)


def adam():
    shapes = ((7, 5), (5,), (2, 3, 2, 2))
    yield (
        *([draw(*shape) for shape in shapes] for _ in range(3)),
        [draw(*shape) ** 2 for shape in shapes],
        [1, 2, 3],
        0.1,
        (0.9, 0.999),
        1e-8,
    )


BASES = {
    "cnn.layers.conv2d.conv2d": conv2d,
    "cnn.layers.conv2d.conv2d_input_grad": conv2d_input_grad,
    "cnn.layers.conv2d.conv2d_weight_grad": conv2d_weight_grad,
    "cnn.layers.conv2d.conv2d_bias_grad": lambda: [(np.moveaxis(draw(3, 4, 5, 7), -1, 1),)],
    "cnn.layers.conv_transpose2d.conv_transpose2d": conv_transpose2d,
    "cnn.layers.conv_transpose2d.conv_transpose2d_input_grad": conv_transpose2d_input_grad,
    "cnn.layers.conv_transpose2d.conv_transpose2d_weight_grad": conv_transpose2d_weight_grad,
    "cnn.layers.linear.linear": linear,
    "cnn.layers.linear.linear_input_grad": lambda: ((draw(n, 257), draw(257, 300)) for n in (3, 9, 64)),
    "cnn.layers.linear.linear_weight_grad": lambda: ((draw(n, 257), draw(n, 300)) for n in (3, 9, 64)),
    "cnn.layers.maxpool2d.maxpool2d": maxpool2d,
    "cnn.layers.maxpool2d.maxpool2d_input_grad": maxpool2d_input_grad,
    "cnn.layers.adaptiveavgpool2d.adaptive_avg_pool2d": adaptive_avg_pool2d,
    "cnn.layers.avgpool2d.avgpool2d": avgpool2d,
    "cnn.layers.avgpool2d.avgpool2d_input_grad": avgpool2d_input_grad,
    "cnn.functional.norms.moments": lambda: [(draw(3, 19, 4, 5), (0, 2, 3))],
    "cnn.functional.shared_batch.part_sums": part_sums,
    "cnn.functional.shared_batch.part_grad": part_grad,
    "cnn.layers.batchnorm.batchnorm": batchnorm,
    "cnn.layers.batchnorm.batchnorm_grad": batchnorm_grad,
    "cnn.layers.relu.relu": lambda: [(draw(3, 5, 7, 9),), (draw(7, 9),)],
    "cnn.functional.elementwise.gate": lambda: ((x, y > 0) for x, y in two()),
    "cnn.layers.sigmoid.tanh": lambda: [(draw(3, 5, 7, 9),)],
    "cnn.layers.sigmoid.tanh_grad": two,
    "cnn.containers.branches.added": two,
    "cnn.containers.branches.added_relu": two,
    "cnn.containers.branches.added_relu_grad": two,
    "cnn.loss.cross_entropy_loss.mean_and_gradient": lambda: [(draw(9, 7), rng.integers(0, 7, 9))],
    "cnn.optim.adam.adam": adam,
}


def close(found, expected):
    """Tell whether results are equal but for rounding in float32."""
    if expected is None or found is None or isinstance(expected, (float, int)):
        return found is expected or (
            found is not None and expected is not None and math.isclose(found, expected, rel_tol=1e-4)
        )
    if isinstance(expected, (tuple, list)):
        return len(found) == len(expected) and all(map(close, found, expected))
    if found.shape != expected.shape:
        return False
    if expected.dtype.kind not in "fc":
        return np.array_equal(found, expected)
    if expected.size == 0:
        return True
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return np.allclose(a, b, rtol=0, atol=1e-4 * scale + 1e-12, equal_nan=True)


def near(found, expected):
    """Tell whether results of a net are equal but for a few elements: rounding decides which of two pixels is larger."""
    if close(found, expected):
        return True
    finite = np.isfinite(expected)
    if found.shape != expected.shape or not np.array_equal(finite, np.isfinite(found)):
        return False
    a, b = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    return np.linalg.norm(a - b) <= 0.03 * np.linalg.norm(b)


def place_all(arguments, new):
    """Return the arguments with every array in its own memory."""
    made = []
    for value in arguments:
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            made.append([placed(array, new) if type(array) is np.ndarray else array for array in value])
        else:
            made.append(placed(value, new) if type(value) is np.ndarray else value)
    return tuple(made)


def substitutes(arguments, positions):
    """Yield the arguments unchanged, and with each array replaced by each of its variants."""
    yield "unchanged", arguments
    for position in positions:
        value = arguments[position]
        arrays = enumerate(value) if isinstance(value, list) else [(None, value)]
        for i, array in arrays:
            for what, other in variants(array):
                changed = list(arguments)
                changed[position] = other if i is None else [*value[:i], other, *value[i + 1 :]]
                yield f"argument {position}{'' if i is None else f'[{i}]'} {what}", tuple(changed)


def plain_result(plain, arguments):
    """Return what the plain function gives, and the arguments, some of which it may change; or None if it refuses."""
    copied = copy.deepcopy(arguments)
    with using("reference", 1):
        try:
            return plain(*copied), copied
        except (*REFUSED, AttributeError, ZeroDivisionError):
            return None


def walk_table(new, only=None):
    """Call every implementation with every variant of every array."""
    for name, entries in TABLE.items():
        module, _, function = name.rpartition(".")
        plain = getattr(backend.load(module), function)
        positions = dispatch.array_positions(plain.dispatcher.signature)
        for entry in entries:
            if only is not None and entry.backend != only:
                continue
            with using(entry.backend, 2):
                callees = [pair for pair in plain.dispatcher._import(entry.backend) if is_entry(pair[0], entry)]
                assert len(callees) == 1, (name, entry)
                served = sum(
                    walk_entry(name, plain, callees[0], arguments, positions, new) for arguments in BASES[name]()
                )
                assert served, f"{entry.path} never served its base case"


def is_entry(function, entry):
    module, _, name = entry.path.rpartition(".")
    return function is getattr(backend.load(module), name)


def walk_entry(name, plain, callee, base, positions, new):
    """Call an implementation; return whether it served the base case."""
    implementation, types = callee
    served = False
    for what, arguments in substitutes(base, positions):
        label = f"{implementation.__module__}.{implementation.__name__}, {what}"
        print(label, file=sys.stderr)
        if not dispatch.any_type_fits(arguments, types):
            counts["declined"] += 1
            continue
        given = place_all(arguments, new)
        try:
            result = implementation(*given)
        except REFUSED:
            counts["refused"] += 1
            # another layout is no reason to refuse an array, except for Adam, which writes into it
            assert not what.endswith(LAYOUTS) or name.endswith("adam"), label
            continue
        if result is NotImplemented:
            counts["declined"] += 1
            continue
        expected = plain_result(plain, arguments)
        assert expected is not None, f"{label}: the plain function refuses this"
        assert close(result, expected[0]), f"{label}: not the result of the plain function"
        if name.endswith("adam"):
            assert close(list(given[:4]), list(expected[1][:4])), label
        served |= what == "unchanged"
        counts["right"] += 1
    return served


NETS = [
    (lambda: [Conv2d(4, 6, 3, padding=1, rng=0)], (3, 4, 8, 8)),
    (lambda: [Conv2d(4, 6, 3, padding=1, rng=0), ReLU()], (3, 4, 8, 8)),
    (lambda: [Conv2d(16, 16, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)], (2, 16, 24, 24)),
    (lambda: [Conv2d(4, 4, 3, groups=4, bias=False, rng=0), BatchNorm2d(4), ReLU()], (3, 4, 8, 8)),
    (lambda: [Conv2d(3, 6, 3, bias=False, rng=0), BatchNorm2d(6), ReLU(), MaxPool2d(2)], (3, 3, 8, 8)),
    (lambda: [ConvTranspose2d(4, 6, 3, rng=0)], (3, 4, 8, 8)),
    (lambda: [BatchNorm2d(4)], (3, 4, 8, 8)),
    (lambda: [Linear(5, 7, rng=0), ReLU()], (9, 5)),
    (lambda: [Linear(150, 70, rng=0), ReLU()], (9, 150)),
    (lambda: [Linear(5, 7, rng=0)], (3, 5)),
    (lambda: [Residual(Tanh()), ReLU()], (3, 5, 8, 8)),
]


def walk_nets(new, only=None):
    """Run fused steps with every variant of input, gradient, tensors and their gradients, put in without a check."""
    for make, shape in NETS:
        x, model = draw(*shape), built(make, shape)
        grad = draw(*model(x).shape)
        for training in (True, False):
            roles = [("x", x), *((name, t.data) for name, t in model.named_tensors() if t.data.ndim)]
            roles += (
                [("grad", grad), *((f"grad of {name}", p.data) for name, p in model.named_parameters())]
                if training
                else []
            )
            for role, array in roles:
                for what, other in variants(array):
                    arrays = {"x": x, "grad": grad, role: other}
                    label = f"{make()}, training={training}, {role} {what}"
                    print(label.replace("\n", " "), file=sys.stderr)
                    found = run_net(make, shape, arrays, training, "jit" if only is None else only, new)
                    if found is None:
                        counts["refused"] += 1
                        continue
                    expected = run_net(make, shape, arrays, training, "reference", None)
                    if (
                        expected is None and np.ndim(other) == 0
                    ):  # NumPy turns such arrays into numbers, which are refused
                        continue
                    assert expected is not None, f"{label}: the plain functions refuse this"
                    if what == "one element for all":  # so rounding decides which pixel of a pool is the largest
                        found, expected = found[:1], expected[:1]
                    assert all(map(near, found, expected)), f"{label}: not the result of the plain functions"
                    counts["right"] += 1


def built(make, shape):
    model = Sequential(make())
    model.build(shape[1:])
    return model


def placed_or_copied(array, new):
    return placed(array, new) if type(array) is np.ndarray else copy.deepcopy(array)


def run_net(make, shape, arrays, training, used, new):
    """Return outputs, gradients and new weights, or None if it is refused."""
    arrays = copy.deepcopy(arrays) if new is None else {role: placed_or_copied(a, new) for role, a in arrays.items()}
    with using(used, 2):
        model = built(make, shape)
        for name, tensor in model.named_tensors():
            if name in arrays:
                tensor._data = arrays[name]
            elif new is not None and tensor.data.ndim:
                tensor._data = placed(tensor.data, new)
        try:
            if not training:
                model.eval()
                with no_grad():
                    return [model(arrays["x"]) for _ in range(2)]
            y = model(arrays["x"])
            x_grad = model.backward(arrays["grad"])
            grads = [p.grad.copy() for p in model.parameters()]
            for name, parameter in model.named_parameters():
                parameter.grad = arrays.get(f"grad of {name}", parameter.grad)
            if model.parameters():
                Adam(model.parameters(), lr=0.1, eps=0.1).step()
            return [y, x_grad, *grads, *(p.data for p in model.parameters())]
        except (*REFUSED, AttributeError):
            return None


def overrun(new):
    """Let a kernel read and write one element more than there is."""
    relu = backend.load("cnn.kernels.jit.relu")
    thread_pool = backend.load("cnn.kernels.jit.engine.thread_pool")
    x, y, blocked = new((1500,)), new((1500,)), new((1501,), np.uint8)
    arguments = {relu.COUNT: 1501, relu.X: new((1501,)), relu.Y: y, relu.BLOCKED: blocked, relu.PARTS: 1}
    thread_pool.run(relu.forward, arguments, 1, 0)
    del x, y, blocked, arguments
    gc.collect()
    print("not caught")


def main(memory, what):
    faulthandler.enable()
    warnings.simplefilter("ignore", ModelWarning)
    warnings.simplefilter("ignore", RuntimeWarning)
    warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
    new = from_malloc if memory == "malloc" else guarded.guarded
    guarded.at_end = memory != "start"
    only = None if backend.has_numba() else "array"
    assert set(BASES) == set(TABLE), set(BASES) ^ set(TABLE)
    if memory == "malloc":
        guarded.guarded = from_malloc  # what guard_kernels puts in place of the library's own allocations
    if only is None:
        with using("jit", 2):
            guarded.guard_kernels()
    if what == "overrun":
        overrun(new)
        return
    walk_table(new, only)
    walk_nets(new, only)
    gc.collect()
    print(counts["right"], counts["refused"], counts["declined"])


if __name__ == "__main__":
    main(*sys.argv[1:])
