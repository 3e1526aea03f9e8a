import numpy as np
import pytest

from cnn.functional.elementwise import BLOCK, gate, in_blocks, sigmoid


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_blocks_cover_every_element_once(size):
    a, b = np.arange(size, dtype=np.float32), np.arange(size) % 2 == 0
    sizes = []

    def half(a, b):
        sizes.append(len(a))
        return a / 2 * b

    y = in_blocks(half, a, b)
    np.testing.assert_array_equal(y, a / 2 * b)
    assert y.dtype == np.float32
    assert sum(sizes) == size
    assert max(sizes, default=0) <= BLOCK


def test_blocks_of_arrays_with_different_memory_layouts():
    shape = (3, 4, 50, 60)
    a = np.random.default_rng(0).normal(size=shape)
    b = np.moveaxis(np.random.default_rng(1).normal(size=(3, 50, 60, 4)), -1, 1)
    y = in_blocks(np.subtract, b, a[:, :, ::-1])
    np.testing.assert_array_equal(y, b - a[:, :, ::-1])
    assert y.strides == b.strides


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gate_is_zero_where_blocked(dtype):
    grad = np.array([1, -2, np.inf, -np.inf, np.nan, 0] * 2, dtype)
    blocked = np.repeat([True, False], 6)
    np.testing.assert_array_equal(gate(grad, blocked), [0] * 6 + grad[:6].tolist())


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 700), (np.float32, 80)])
def test_sigmoid_is_accurate_where_it_is_small(dtype, limit):
    x = np.linspace(-limit, limit, 1001)
    true = np.where(x > 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))
    np.testing.assert_allclose(sigmoid(x.astype(dtype)), true, rtol=100 * np.finfo(dtype).eps)
