import numpy as np

from cnn.layers import ReLU


def test_by_hand():
    """At zero the gradient is zero."""
    layer = ReLU()
    np.testing.assert_array_equal(layer(np.array([[-2.0, 0, -0.0, 3]])), [[0, 0, 0, 3]])
    np.testing.assert_array_equal(layer.backward(np.array([[5.0, 6, 7, 8]])), [[0, 0, 0, 8]])


def test_nan_is_not_hidden():
    """The gradient passes where the input was NaN, as in PyTorch."""
    layer = ReLU()
    assert np.isnan(layer(np.array([[np.nan]]))).all()
    np.testing.assert_array_equal(layer.backward(np.array([[3.0]])), [[3.0]])


def test_blocks_infinite_gradients():
    """Infinity times a mask of zeros would be NaN."""
    layer = ReLU()
    layer(np.array([[-1.0, -1, -1, 0, 1]]))
    grad = np.array([[np.inf, -np.inf, np.nan, np.inf, np.inf]])
    np.testing.assert_array_equal(layer.backward(grad), [[0, 0, 0, 0, np.inf]])


def test_channels_last_memory_is_kept():
    """Otherwise every convolution after it would have to copy."""
    x = np.ones((2, 4, 4, 3)).transpose(0, 3, 1, 2)
    assert ReLU()(x).strides == x.strides
