"""In plain NumPy, ReLU and the pool behind it run as one: the same bits, a quarter of the numbers to look at."""

import numpy as np
import pytest

from cnn import Sequential, kernels
from cnn.kernels import choice
from cnn.layers import Conv2d, MaxPool2d, ReLU
from cnn.module import no_grad


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
    group = models[0]._groups[0]
    assert group.has_run == (pool["kernel_size"] != (16, 16))
    grad = draw(outputs[0].shape, dtype, seed=1)
    np.testing.assert_array_equal(*(model.backward(grad) for model in models))
    assert not group.has_run
    with no_grad():
        np.testing.assert_array_equal(models[0](x), outputs[0])
    assert not group.has_run


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
    if "jit" in order and not choice.has_numba():
        pytest.skip("Numba is not installed")
    x = draw((4, 3, 12, 12))
    model = Sequential([Conv2d(3, 8, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)])
    plain = Sequential(model.layers, fuse=False)
    for name in order:
        kernels.use(name)
        y = model(x)
    grad = draw(y.shape, seed=1)
    got = model.backward(grad), model.layers[0].weight.grad
    assert not any(group.has_run for group in model._groups.values())
    model.zero_grad()
    assert np.abs(plain(x) - y).max() < 1e-5
    expected = plain.backward(grad), model.layers[0].weight.grad
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
