import numpy as np
import pytest

from cnn import Sequential
from cnn.kernels import backend
from cnn.layers import Conv2d, LocalResponseNorm
from tests.conformance import draw
from tests.kernels.backends import using


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_the_window_in_loops(size):
    """Which channels are in the window: one more before than after, if the size is even."""
    x = draw((2, 6, 3), np.float64)
    y = np.empty_like(x)
    for c in range(6):
        window = [d for d in range(6) if c - size / 2 <= d < c + size / 2]
        y[:, c] = x[:, c] / (2 + 0.3 / size * sum(x[:, d] ** 2 for d in window)) ** 0.75
    np.testing.assert_allclose(LocalResponseNorm(size, alpha=0.3, k=2)(x), y, rtol=1e-12)


def test_a_strong_neighbour_damps_and_a_far_one_does_not():
    layer, x = LocalResponseNorm(3, alpha=1.0), np.ones((1, 6, 1), np.float32)
    y = layer(x)
    x[0, 2] = 100
    damped = layer(x)
    assert (damped[0, [1, 3]] < 0.1 * y[0, [1, 3]]).all()
    np.testing.assert_array_equal(damped[0, [0, 4, 5]], y[0, [0, 4, 5]])


def test_a_square_that_overflows_gives_no_warning():
    layer, x = LocalResponseNorm(3), np.array([[[1e30], [1], [2]]], np.float32)
    np.testing.assert_allclose(layer(x).ravel(), [0, 0, 2], atol=1e-3)
    assert np.isfinite(layer.backward(np.ones_like(x))[0, 2])


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_every_backend_in_a_net_that_is_read_again(name, tmp_path):
    if name == "jit" and not backend.has_numba():
        pytest.skip("Numba is not installed")
    model, x = Sequential([Conv2d(3, 16, 3, rng=0), LocalResponseNorm(5, 1e-2)]), draw((9, 3, 20, 20))
    with using(name):
        y = model(x)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        model.save(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(Sequential.load(tmp_path / "model.safetensors")(x), y)
        grad = model.backward(y)
    with using("reference", 1):
        np.testing.assert_allclose(model(x), y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.backward(y), grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalResponseNorm(0), "size must be an integer of at least 1"),
        (lambda: LocalResponseNorm(3, alpha=np.nan), "alpha must be a finite number"),
        (lambda: LocalResponseNorm(3, beta="1"), "beta must be a finite number"),
        (lambda: LocalResponseNorm(3, k=np.inf), "k must be a finite number"),
        (lambda: LocalResponseNorm(3)(draw((2, 3))), r"expected \(N, C, ...\), at least 3 axes, got \(2, 3\)"),
    ],
)
def test_errors_name_the_number_to_change(make, message):
    with pytest.raises(ValueError, match=message):
        make()
