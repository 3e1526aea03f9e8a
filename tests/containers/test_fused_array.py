"""In plain NumPy, ReLU and the pool behind it run as one, and so does a convolution before them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cnn
from cnn import Sequential, kernels
from cnn.kernels import backend
from cnn.kernels.array import parallel_for, strips, windows
from cnn.layers import Conv2d, MaxPool2d, ReLU
from cnn.module import no_grad
from tests.containers import steps


@pytest.fixture(autouse=True)
def tuned():
    before = kernels.active()
    kernels.use("array")
    yield
    kernels.use(before)


def draw(shape, dtype=np.float32, seed=0):
    """Numbers many of which are equal, some of them negative in whole windows; and zeros of both signs."""
    x = np.random.default_rng(seed).integers(-3, 3, shape).astype(dtype)
    x[:, :, :2, :2] = -1
    x[:, :, 2:4] *= -0.0
    return x


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": "same"},
    {"kernel_size": 2, "stride": 2, "padding": ((0, 1), (1, 0))},
    {"kernel_size": 2, "stride": 1},
    {"kernel_size": 2, "dilation": 2},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": (16, 16), "stride": 1},  # more pixels than a byte can number
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nan", [False, True])
def test_the_same_bits(pool, dtype, nan):
    x = draw((3, 4, 17, 16), dtype)
    if nan:
        x[1, 2, 3, 3] = x[2, 0, 0, 0] = np.nan
    models = [Sequential([ReLU(), MaxPool2d(**pool)], fuse=fuse) for fuse in (True, False)]
    for model in models:
        model.build(x.shape[1:])
    outputs = [model(x) for model in models]
    assert outputs[0].dtype == dtype
    np.testing.assert_array_equal(*outputs)
    assert steps.names(models[0]) == ["ReLUPoolStep"] * (pool["kernel_size"] != (16, 16))
    grad = draw(outputs[0].shape, dtype, seed=1)
    np.testing.assert_array_equal(*(model.backward(grad) for model in models))
    assert steps.names(models[0]) == []
    with no_grad():
        np.testing.assert_array_equal(models[0](x), outputs[0])
    assert steps.names(models[0]) == []


def test_errors_are_those_of_the_layers():
    x = draw((2, 3, 8, 8))
    model = Sequential([ReLU(), MaxPool2d(2)])
    model.build(x.shape[1:])
    y = model(x)
    with pytest.raises(ValueError, match=r"layer 1.*MaxPool2d.backward expects the gradient of its output"):
        model.backward(y[:1])
    model(x)
    model.backward(y)
    with pytest.raises(RuntimeError, match="forward"):
        model.backward(y)
    with pytest.raises(ValueError, match=r"layer 1.*the window spans 2 pixels"):
        model(x[:, :, :1])


@pytest.mark.parametrize("order", [("array", "jit"), ("jit", "array"), ("array", "reference"), ("reference", "array")])
def test_backward_follows_the_latest_forward(order):
    """Also if other kernels served before, in which other neighbours run as one."""
    if "jit" in order and not backend.has_numba():
        pytest.skip("Numba is not installed")
    x = draw((4, 3, 12, 12))
    model = Sequential([Conv2d(3, 8, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)])
    plain = Sequential(model.layers, fuse=False)
    for name in order:
        kernels.use(name)
        y = model(x)
    grad = draw(y.shape, seed=1)
    got = model.backward(grad), model.layers[0].weight.grad
    assert steps.names(model) == []
    model.zero_grad()
    assert np.abs(plain(x) - y).max() < 1e-5
    expected = plain.backward(grad), model.layers[0].weight.grad
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@st.composite
def halved_convolutions(draw):
    """A convolution whose places can be halved, of few channels (whole windows) or more (strips), and images."""
    c, k = draw(st.sampled_from([1, 3, 4, 5, 6])), draw(st.integers(1, 7))
    size, dilation = draw(st.tuples(*[st.integers(1, 4)] * 2)), draw(st.integers(1, 2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 2))
    places = [2 * draw(st.integers(1, 4)) for _ in range(2)]
    height, width = (
        most + dilation * (kernel - 1) - 2 * pad for most, kernel, pad in zip(places, size, padding, strict=True)
    )
    assume(height > 0 and width > 0)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    conv = Conv2d(c, k, size, padding=padding, dilation=dilation, bias=draw(st.booleans()), rng=0)
    x = rng.integers(-3, 4, (draw(st.integers(1, 5)), c, height, width))
    return conv, x if draw(st.booleans()) else np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), rng


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of a few images, and threads for the least work, so that small arrays are enough."""
    before = cnn.get_num_threads()
    for module in (windows, strips):
        monkeypatch.setattr(module, "TILE_BYTES", 12_000)
    monkeypatch.setattr(strips, "MIN_ROWS", 1)
    monkeypatch.setattr(strips, "SMALL_PRODUCT", 1500)
    monkeypatch.setattr(windows, "MIN_WINDOWS", 64)
    monkeypatch.setattr(parallel_for, "MIN_NANOSECONDS", 0)
    yield
    cnn.set_num_threads(before)


RAN = set()  # (of few channels, the group ran, with the gradient of the input)


@pytest.mark.kernels
@given(
    halved_convolutions(), st.sampled_from([np.float32, np.float64]), st.booleans(), st.booleans(), st.integers(1, 3)
)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_the_convolution_on_small_integers(small_tiles, case, dtype, nan, needs_input_grad, threads):
    """Where nothing is rounded, all gradients are those of the layers one by one, also among equals and with NaN."""
    conv, x, rng = case
    x = x.astype(dtype)
    if nan:
        x[0, 0, 0, 0] = np.nan
    conv = conv.to(dtype)
    for parameter in conv.parameters():
        parameter.data = rng.integers(-2, 3, parameter.shape).astype(dtype)
    cnn.set_num_threads(threads)
    results = []
    for name, fuse in (("array", True), ("reference", False)):
        kernels.use(name)
        model = Sequential([conv, ReLU(), MaxPool2d(2)], fuse=fuse)
        model.needs_input_grad = needs_input_grad
        y = model(x)
        if fuse:
            RAN.add((conv.in_channels <= windows.FEW_CHANNELS, steps.names(model)[0], needs_input_grad))
            with no_grad():
                np.testing.assert_array_equal(model(x), y)
        grad = np.random.default_rng(1).integers(-2, 3, y.shape).astype(dtype)
        model.zero_grad()
        results.append([y, model.backward(grad), *(p.grad for p in model.parameters())])
    kernels.use("array")
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.kernels
def test_all_ways_were_tried():
    """Runs after the test above, of which it keeps count."""
    if RAN:
        assert {(few, "ConvReLUPoolStep", needed) for few in (True, False) for needed in (True, False)} <= RAN


def test_where_the_convolution_is_in_the_group():
    conv = Conv2d(3, 8, 3, padding=1, rng=0)
    model = Sequential([conv, ReLU(), MaxPool2d(2)])
    assert steps.ran(model, draw((4, 3, 12, 12))) == ["ConvReLUPoolStep"]
    assert steps.ran(Sequential([Conv2d(6, 8, 3), ReLU(), MaxPool2d(2)]), draw((4, 6, 14, 14))) == ["ConvReLUPoolStep"]
    assert steps.ran(model, draw((4, 3, 13, 12))) == ["ReLUPoolStep"]  # a line of places is in no pool
    assert steps.ran(model, draw((1, 3, 512, 512))) == ["ReLUPoolStep"]  # a tile does not hold the image
    assert steps.ran(Sequential([Conv2d(6, 8, 3), ReLU(), MaxPool2d(2)]), draw((1, 6, 258, 258))) == ["ReLUPoolStep"]
    assert steps.ran(Sequential([conv, ReLU(), MaxPool2d(3)]), draw((4, 3, 12, 12))) == ["ReLUPoolStep"]
    assert steps.ran(Sequential([Conv2d(4, 8, 3, groups=2), ReLU(), MaxPool2d(2)]), draw((4, 4, 8, 8))) == [
        "ReLUPoolStep"
    ]
    assert steps.ran(Sequential([Conv2d(3, 8, 3, 2, 1), ReLU(), MaxPool2d(2)]), draw((4, 3, 8, 8))) == ["ReLUPoolStep"]
    assert steps.ran(Sequential(model.layers, fuse=False), draw((4, 3, 12, 12))) == []
    with pytest.raises(ValueError, match=r"layer 0, Conv2d\(.*expected float32"):
        model(draw((4, 3, 12, 12), np.float64))
    with pytest.raises(ValueError, match=r"layer 0, Conv2d\(.*in_channels=4"):
        model(draw((4, 4, 12, 12)))
    y = model(draw((4, 3, 12, 12)))
    with pytest.raises(ValueError, match=r"layer 2, MaxPool2d.*expects the gradient of its output"):
        model.backward(y[:1])


@pytest.mark.parametrize("layers", [[], [Conv2d(1, 3, 3, rng=0)], [Conv2d(6, 3, 3, rng=0)]], ids=len)
def test_an_infinite_gradient_does_not_reach_what_was_not_chosen(layers):
    x = draw((5, layers[0].in_channels if layers else 4, 10, 10))
    results = []
    for fuse in (True, False):
        model = Sequential([*layers, ReLU(), MaxPool2d(2)], fuse=fuse)
        y = model(x)
        grad = np.ones_like(y)
        grad[2, 0] = np.inf
        model.zero_grad()
        with np.errstate(invalid="ignore"):
            results.append([model.backward(grad), *(p.grad for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_another_dtype_forgets_the_forward():
    model = Sequential([Conv2d(6, 5, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)])
    y = model(draw((6, 6, 32, 32)))
    assert steps.names(model) == ["ConvReLUPoolStep"]
    model.to(np.float64)
    with pytest.raises(RuntimeError, match="forward"):
        model.backward(np.ones_like(y))


@pytest.mark.kernels
def test_the_same_bits_with_as_many_threads(small_tiles):
    x = np.random.default_rng(0).standard_normal((9, 6, 12, 12)).astype(np.float32)
    model = Sequential([Conv2d(6, 5, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)])
    for threads in (1, 2, 4):
        cnn.set_num_threads(threads)
        results = []
        for _ in range(3):
            y = model(x)
            model.zero_grad()
            results.append([y, model.backward(y), *(p.grad for p in model.parameters())])
        for again in results[1:]:
            for a, b in zip(results[0], again, strict=True):
                assert a.tobytes() == b.tobytes()
