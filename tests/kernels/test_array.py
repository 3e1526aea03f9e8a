"""The functions in kernels/array compute what the plain functions compute, for all tiles, threads and shapes."""

import importlib
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cnn.errors import ShapeError
from cnn.functional.elementwise import gate
from cnn.functional.windows import WindowGeometry
from cnn.kernels.array import chunks, linear, maxpool2d, parallel_for, strips, windows
from cnn.kernels.array import conv2d as conv2d_kernels
from tests.kernels.backends import using

pytestmark = pytest.mark.kernels

conv2d, maxpool, relu, linears, adam = (
    importlib.import_module(name)  # the classes with the same names hide these modules
    for name in (
        "cnn.layers.conv2d",
        "cnn.layers.maxpool2d",
        "cnn.layers.relu",
        "cnn.layers.linear",
        "cnn.optim.adam",
    )
)
drawn = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles of one image or of a part of one, and threads even for little work, so that small arrays are enough."""
    for module in (windows, conv2d_kernels, maxpool2d, strips):
        monkeypatch.setattr(module, "TILE_BYTES", 600)
    monkeypatch.setattr(windows, "MIN_WINDOWS", 5)
    monkeypatch.setattr(strips, "MIN_ROWS", 1)
    monkeypatch.setattr(strips, "SMALL_PRODUCT", 300)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100)
    monkeypatch.setattr(chunks, "MIN_NANOSECONDS", 0)
    monkeypatch.setattr(parallel_for, "MIN_NANOSECONDS", 0)
    monkeypatch.setattr(linear, "MIN_NANOSECONDS", 0)


def both(function, *arguments):
    """Return the results of the plain function and of the array kernel with two threads, for read-only arrays."""
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            argument.flags.writeable = False
    with using("reference", 1):
        plain = function(*arguments)
    with using("array", 2):
        return plain, function(*arguments)


def laid_out(rng, shape, layout, dtype=np.float64):
    """Return small integers, with channels first or last in memory, or with gaps."""
    n, c, h, w = shape
    if layout == "channels last":
        return rng.integers(-3, 4, (n, h, w, c)).astype(dtype).transpose(0, 3, 1, 2)
    if layout == "gaps":
        return rng.integers(-3, 4, (n, c, h, 2 * w)).astype(dtype)[..., ::2]
    return rng.integers(-3, 4, shape).astype(dtype)


@st.composite
def convolutions(draw):
    """Draw arrays of small integers, a geometry and groups."""
    groups = draw(st.integers(1, 3))
    c, k = groups * draw(st.sampled_from([1, 1, 2, 5])), groups * draw(st.sampled_from([1, 1, 2, 3]))
    pads = [(draw(st.integers(0, 4)), draw(st.integers(-1, 4))) for _ in range(2)]
    geometry = WindowGeometry(draw(pair), draw(st.just((1, 1)) | pair), draw(pair), tuple(pads))
    shape = draw(st.integers(0, 4)), c, draw(st.integers(1, 9)), draw(st.integers(1, 9))
    try:
        oh, ow = geometry.output_size(*shape[2:])
    except ShapeError:
        assume(False)
    rng, layout = np.random.default_rng(draw(st.integers(0, 99))), st.sampled_from(["first", "channels last", "gaps"])
    x, grad = laid_out(rng, shape, draw(layout)), laid_out(rng, (shape[0], k, oh, ow), draw(layout))
    weight = rng.integers(-3, 4, (k, c // groups, *geometry.size)).astype(float)
    bias = rng.integers(-3, 4, k).astype(float) if draw(st.booleans()) else None
    return x, grad, weight, bias, geometry, groups


@drawn
@given(convolutions())
def test_convolutions_of_small_integers_are_exact(case):
    x, grad, weight, bias, geometry, groups = case
    plain, y = both(conv2d.conv2d, x, weight, bias, geometry, groups)
    assert (y == plain).all()
    plain, x_grad = both(conv2d.conv2d_input_grad, grad, weight, x.shape, geometry, groups)
    assert (x_grad == plain).all()
    plain, weight_grad = both(conv2d.conv2d_weight_grad, grad, x, weight.shape, geometry, groups)
    assert (weight_grad == plain).all()
    assert (y.shape, x_grad.shape, weight_grad.shape) == (grad.shape, x.shape, weight.shape)
    plain, bias_grad = both(conv2d.conv2d_bias_grad, grad)
    assert (bias_grad == plain).all()
    # <conv(x, w), g> = <x, input_grad(g)> = <w, weight_grad(x, g)>
    if bias is not None:
        y = y - bias[:, None, None]
    assert (y * grad).sum() == (x * x_grad).sum() == (weight * weight_grad).sum()


@pytest.mark.parametrize(
    "pads", [((0, 0), (0, 0)), ((2, -2), (0, 0)), ((0, 0), (1, -1)), ((0, 2), (0, 3)), ((1, 1), (1, 1))]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_windows_of_one_pixel(pads, groups):
    """The window matrix is the image itself, unless windows reach past the image."""
    rng, geometry = np.random.default_rng(0), WindowGeometry((1, 1), (1, 1), (1, 1), pads)
    x, weight = laid_out(rng, (3, 6, 5, 4), "channels last"), rng.integers(-3, 4, (8, 6 // groups, 1, 1)).astype(float)
    plain, y = both(conv2d.conv2d, x, weight, None, geometry, groups)
    assert (y == plain).all()
    plain, x_grad = both(conv2d.conv2d_input_grad, y, weight, x.shape, geometry, groups)
    assert (x_grad == plain).all()
    plain, weight_grad = both(conv2d.conv2d_weight_grad, y, x, weight.shape, geometry, groups)
    assert (weight_grad == plain).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@drawn
@given(convolutions(), st.integers(0, 99))
def test_convolutions_of_real_numbers(dtype, case, seed):
    *arrays, geometry, groups = case
    rng = np.random.default_rng(seed)
    x, grad, weight, bias = (None if a is None else rng.normal(size=a.shape) for a in arrays)
    rounded = [None if a is None else a.astype(dtype) for a in (x, grad, weight, bias)]
    wide = [None if a is None else a.astype(np.float64) for a in rounded]

    def all_of(x, grad, weight, bias):
        yield conv2d.conv2d(x, weight, bias, geometry, groups)
        yield conv2d.conv2d_input_grad(grad, weight, x.shape, geometry, groups)
        yield conv2d.conv2d_weight_grad(grad, x, weight.shape, geometry, groups)

    with using("reference", 1):
        expected = list(all_of(*wide))
        sizes = list(all_of(*(None if a is None else np.abs(a) for a in wide)))  # of the summands
    with using("array", 2):
        found = list(all_of(*rounded))
    for a, b, size in zip(found, expected, sizes, strict=True):
        assert a.dtype == dtype
        assert np.abs(a - b).max(initial=0) <= (3e-5 if dtype == np.float32 else 1e-10) * size.max(initial=0)


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_images_stay_channels_last_and_threads_change_no_bit(monkeypatch, stride, groups):
    """Each result is the same sum for any number of threads."""
    rng = np.random.default_rng(0)
    geometry = WindowGeometry((3, 3), (stride, stride), (1, 1), ((1, 1), (1, 1)))
    x = rng.normal(size=(6, 10, 10, 8)).astype(np.float32).transpose(0, 3, 1, 2)
    weight = rng.normal(size=(8, 8 // groups, 3, 3)).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        with using("array", threads):
            y = conv2d.conv2d(x, weight, None, geometry, groups)
            x_grad = conv2d.conv2d_input_grad(y, weight, x.shape, geometry, groups)
            weight_grad = conv2d.conv2d_weight_grad(y, x, weight.shape, geometry, groups)
        assert all(a.transpose(0, 2, 3, 1).flags.c_contiguous for a in (y, x_grad))
        results.append([a.tobytes() for a in (y, x_grad, weight_grad)])
    assert results[0] == results[1] == results[2]


def test_infinity_and_nan_touch_only_the_windows_that_see_them():
    x = np.ones((1, 5, 6, 6))
    x[0, 0, 0, 0], x[0, 1, 5, 5] = np.inf, np.nan
    geometry = WindowGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    with np.errstate(invalid="ignore"):  # BLAS may pad with zeros, and infinity times 0 is invalid
        plain, y = both(conv2d.conv2d, x, np.ones((2, 5, 3, 3)), None, geometry, 1)
    assert np.array_equal(plain, y, equal_nan=True)
    assert np.isfinite(y).sum() == 2 * (36 - 8)


@st.composite
def pools(draw):
    """Draw images with equal values, some with NaN, a geometry and the output size."""
    size, stride, dilation = draw(pair), draw(pair), draw(pair)
    pads = tuple((draw(st.integers(0, s // 2)),) * 2 for s in size)
    geometry = WindowGeometry(size, draw(st.just(size)) if draw(st.booleans()) else stride, dilation, pads)
    shape = draw(st.integers(0, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    try:
        output_size = geometry.output_size(*shape[2:], draw(st.booleans()))
    except ShapeError:
        assume(False)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = laid_out(rng, shape, draw(st.sampled_from(["first", "channels last", "gaps"])), draw(st.sampled_from("fd")))
    if draw(st.integers(0, 3)) == 0:
        x[rng.random(shape) < 0.2] = np.nan
    return x, geometry, output_size, rng


@drawn
@given(pools())
def test_pools_are_exact(case):
    x, geometry, output_size, rng = case
    plain, found = both(maxpool.maxpool2d, x, geometry, output_size)
    for a, b in zip(found, plain, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=True)
        assert a.transpose(0, 2, 3, 1).flags.c_contiguous
    grad = laid_out(rng, found[0].shape, "first", x.dtype)
    plain, x_grad = both(maxpool.maxpool2d_input_grad, grad, found[1], x.shape, geometry)
    assert x_grad.dtype == x.dtype
    assert np.array_equal(x_grad, plain)


def test_a_pool_of_more_than_255_pixels():
    x = np.random.default_rng(0).normal(size=(2, 3, 20, 20))
    geometry = WindowGeometry((17, 17), (2, 2), (1, 1), ((0, 0), (0, 0)))
    plain, found = both(maxpool.maxpool2d, x, geometry, (2, 2))
    assert all((a == b).all() for a, b in zip(found, plain, strict=True))
    assert found[1].dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["first", "channels last", "gaps"])
def test_relu_and_gate(layout, dtype):
    x = laid_out(np.random.default_rng(0), (3, 4, 5, 6), layout, dtype)
    x[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    plain, found = both(relu.relu, x)
    for a, b in zip(found, plain, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=True)
    for mask in (found[1], np.ascontiguousarray(found[1])):  # in the memory order of x, and in another
        plain, grad = both(gate, x, mask)
        assert grad.dtype == dtype
        assert np.array_equal(grad, plain, equal_nan=True)


def test_empty_arrays_and_arrays_of_one_element():
    for shape in ((0, 3), (), (1,)):
        plain, found = both(relu.relu, np.ones(shape))
        assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_linear(n, dtype):
    rng = np.random.default_rng(0)
    x, grad, weight = (rng.integers(-3, 4, shape).astype(dtype) for shape in ((n, 7), (n, 4), (4, 7)))
    bias = np.arange(4).astype(dtype)
    for plain, found in (
        both(linears.linear, x, weight, bias),
        both(linears.linear, x, weight, None),
        both(linears.linear_input_grad, grad, weight),
        both(linears.linear_weight_grad, grad, x),
        both(linears.linear, x[:, None], weight, bias),
        both(linears.linear_weight_grad, grad[:, None], x[:, None]),
    ):
        assert found.dtype == dtype
        assert np.array_equal(found, plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam(dtype):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(dtype) for shape in ((3, 5), (4,), (2, 3, 3, 3))]
    results = []
    for name in ("reference", "array"):
        ours, states = [w.copy() for w in weights], [{} for _ in weights]
        rng = np.random.default_rng(1)
        with using(name, 2):
            for _ in range(3):
                grads = [rng.normal(size=w.shape).astype(dtype) for w in weights]
                adam.adam_of_states(ours, grads, states, 1e-2, (0.9, 0.999), 1e-8)
        results.append([*ours, *(state[key] for state in states for key in ("m", "v", "t"))])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    assert all(a.dtype == dtype for a in results[1][:3])


def test_adam_continues_in_another_dtype_and_with_gradients_in_another_order():
    state = [{"t": 1, "m": np.ones((3, 4)), "v": np.ones((3, 4))}]
    results = []
    for name in ("reference", "array"):
        w, states = [np.ones((3, 4), np.float32)], [dict(s) for s in state]
        with using(name, 2):
            adam.adam_of_states(w, [np.arange(12, dtype=np.float32).reshape(4, 3).T], states, 1e-2, (0.9, 0.999), 1e-8)
        assert states[0]["m"].dtype == np.float32
        results.append([w[0], states[0]["m"], states[0]["v"]])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    assert (state[0]["m"] == 1).all()


def test_several_threads_process_each_item_once():
    barrier, seen = threading.Barrier(2, timeout=20), []

    def work(items, scratch):
        barrier.wait()  # passed only if two threads are inside at once
        memory = scratch((2, 3), np.float64)
        for item in items:
            memory[...] = item
            seen.append(memory.sum())

    with using("array", 2):
        parallel_for.parallel_for(work, range(20), nanoseconds=1)
    assert sorted(seen) == [6 * item for item in range(20)]


def test_an_error_in_a_work_item_reaches_the_caller():
    def work(items, scratch):
        for item in items:
            if item == 5:
                raise KeyError(item)

    with using("array", 2), pytest.raises(KeyError):
        parallel_for.parallel_for(work, range(9), nanoseconds=1)


def test_subclasses_and_other_dtypes_are_declined():
    class Own(np.ndarray):
        pass

    x, weight = np.ones((2, 5, 4, 4)), np.ones((3, 5, 1, 1))
    geometry = WindowGeometry((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
    for other in (weight.view(Own), weight.astype(np.float32), weight.astype(int)):
        assert conv2d_kernels.conv2d(x, other, None, geometry, 1) is NotImplemented
        assert conv2d_kernels.conv2d_input_grad(x[:, :3], other, x.shape, geometry, 1) is NotImplemented
