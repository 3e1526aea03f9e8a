"""The Winograd algorithm for convolutions: its rounding errors, and when it is used.

Largest error relative to the largest result, against float64, on normal data, of output, input gradient and weight
gradient, as `pytest tests/kernels/test_winograd.py -rP` prints them:

    channels    16                       64                       256
    Winograd    3.1e-6 3.2e-6 3.7e-6     7.4e-6 5.4e-6 4.9e-6     1.4e-5 1.2e-5 3.9e-6
    direct      4.6e-7 4.8e-7 7.8e-7     1.0e-6 9.7e-7 1.2e-6     1.9e-6 1.7e-6 1.0e-6
"""

import numpy as np
import pytest

from cnn.kernels import backend
from cnn.layers import Conv2d
from cnn.utils.gradcheck import difference
from tests.conformance import draw
from tests.kernels.backends import forward_and_backward, in_float64, needs_numba, using

pytestmark = needs_numba

CASES = [(16, 16, 8, 20), (32, 48, 6, 17), (64, 64, 4, 28), (128, 128, 4, 18), (256, 256, 3, 20)]  # C, K, N, H = W
WINOGRAD, DIRECT = 2e-5, 3e-6


@pytest.fixture(autouse=True)
def compiled():
    """Use the kernels under test."""
    with using("jit", 2):
        yield


def algorithm(layer, shape):
    """Return the algorithm of a convolution of this shape."""
    return backend.load("cnn.kernels.jit.engine.shapes").algorithm(
        shape, layer.weight.shape, layer.geometry(), layer.groups
    )


def convolution(c, k, n, size):
    """Return a layer and its input."""
    layer = Conv2d(c, k, 3, padding=1, rng=0)
    layer.weight.data = draw(layer.weight.shape, seed=1)
    return layer, draw((n, c, size, size))


@pytest.mark.parametrize(("c", "k", "n", "size"), CASES)
@pytest.mark.parametrize("name", ["winograd", "direct"])
def test_errors(c, k, n, size, name, monkeypatch):
    """Outputs, the gradient of the input, and that of the weights."""
    layer, x = convolution(c, k, n, size)
    shapes = backend.load("cnn.kernels.jit.engine.shapes")
    assert algorithm(layer, x.shape) == "winograd"
    if name == "direct":
        monkeypatch.setattr(shapes, "algorithm", lambda *arguments: "direct")
    caches = shapes.prepare, backend.load("cnn.kernels.jit.conv2d").plan_forward
    try:
        for cache in caches:
            cache.cache_clear()
        found = forward_and_backward(layer, x)
    finally:
        for cache in caches:
            cache.cache_clear()
    errors = [difference(a, b) for a, b in zip(found, in_float64(layer, x), strict=True)]
    print(f"{name}, {c} -> {k} channels: y {errors[0]:.1e}, x_grad {errors[1]:.1e}, w_grad {errors[2]:.1e}")
    assert max(errors) <= (WINOGRAD if name == "winograd" else DIRECT)
    if name == "winograd":  # so it was not the direct algorithm
        assert max(errors) > 1e-7


@pytest.mark.parametrize("offset", [10, 1000])
def test_values_far_from_zero(offset):
    """As after ReLU or for raw pixels, the mean is not 0: the sums are larger, and the errors grow in proportion."""
    layer, x = convolution(32, 32, 6, 17)
    assert algorithm(layer, x.shape) == "winograd"
    x += offset
    found = forward_and_backward(layer, x)
    for a, b in zip(found, in_float64(layer, x), strict=True):
        assert difference(a, b) <= WINOGRAD


def test_float64_never_uses_winograd():
    """A net in float64 is as exact as without compiled kernels."""
    layer, x = convolution(16, 16, 8, 20)
    layer.to(np.float64)
    assert algorithm(layer, x.shape) == "winograd"  # in float32
    x = x.astype(np.float64)
    found = forward_and_backward(layer, x)
    for a, b in zip(found, in_float64(layer, x), strict=True):
        assert difference(a, b) <= 1e-13
    with using("array", 2):
        for a, b in zip(found, forward_and_backward(layer, x), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv2d(16, 16, 3), (8, 16, 18, 18), "winograd"),
        (Conv2d(16, 48, 3, padding=(0, 2)), (64, 16, 8, 8), "winograd"),
        (Conv2d(16, 48, 3, padding="same"), (1, 16, 64, 64), "winograd"),
        (Conv2d(16, 16, 3, padding="same"), (1, 16, 14, 14), "direct"),  # too few output pixels
        (Conv2d(16, 16, 3), (10_000, 16, 5, 5), "direct"),  # 3 x 3 outputs are less than one tile
        (Conv2d(8, 16, 3), (8, 8, 18, 18), "direct"),
        (Conv2d(16, 24, 3), (8, 16, 18, 18), "direct"),
        (Conv2d(32, 32, 3, groups=2), (8, 32, 18, 18), "direct"),
        (Conv2d(16, 16, 3, stride=2), (8, 16, 36, 36), "direct"),
        (Conv2d(16, 16, 3, dilation=(1, 2)), (8, 16, 18, 18), "direct"),
        (Conv2d(16, 16, 5), (8, 16, 18, 18), "direct"),
        (Conv2d(16, 16, (3, 1)), (8, 16, 18, 18), "direct"),
        (Conv2d(16, 16, 3, groups=16), (8, 16, 18, 18), "depthwise"),
        (Conv2d(1, 1, 3), (8, 1, 18, 18), "depthwise"),
        (Conv2d(16, 32, 3, groups=16), (8, 16, 18, 18), "direct"),
    ],
    ids=repr,
)
def test_the_choice_by_shape(layer, shape, expected):
    """The choice is fixed; nothing is timed."""
    assert algorithm(layer, shape) == expected


def test_both_algorithms_agree_at_the_threshold():
    """With one sample less the direct algorithm is used: the results are the same except rounding."""
    layer = Conv2d(16, 16, 3, padding=1, rng=0)
    n = next(n for n in range(1, 100) if algorithm(layer, (n, 16, 16, 16)) == "winograd")
    assert n > 1
    x = draw((n, 16, 16, 16))
    assert algorithm(layer, x[1:].shape) == "direct"
    many, few = forward_and_backward(layer, x), forward_and_backward(layer, x[1:])
    assert difference(many[0][1:], few[0]) <= WINOGRAD
    assert not np.array_equal(many[0][1:], few[0])
