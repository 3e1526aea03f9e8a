import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Flatten, Identity


def test_the_order_is_channel_then_row_then_column_for_any_memory_layout():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    for layout in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), np.asfortranarray(x)):
        layer = Flatten()
        y = layer(layout)
        np.testing.assert_array_equal(y, [np.arange(24)])
        np.testing.assert_array_equal(layer.backward(y), x)


def test_a_single_sample_is_an_error():
    with pytest.raises(ShapeError, match=r"a single sample needs a batch axis: x\[None\]"):
        Flatten()(np.ones(5))


def test_identity_returns_its_arguments():
    layer, x, grad = Identity(), np.ones((2, 3)), np.ones((2, 3))
    assert layer(x) is x
    assert layer.backward(grad) is grad
