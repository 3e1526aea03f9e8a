import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Permute


def test_channels_are_put_last_and_first_again():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    last, first = Permute((0, 2, 3, 1)), Permute([0, 3, 1, 2])
    y = last(x)
    assert y.shape == (1, 3, 4, 2)
    assert y[0, 2, 3, 1] == x[0, 1, 2, 3]
    np.testing.assert_array_equal(first(y), x)
    np.testing.assert_array_equal(last.backward(y), x)
    np.testing.assert_array_equal(first.backward(x), y)


@pytest.mark.parametrize("dims", [3, (), (1, 0), (0, 1, 1), (0, 2), (0, 1.0), (False, 1), None, (0, -1, -2)])
def test_wrong_orders_are_named(dims):
    with pytest.raises(ValueError, match="dims must be 0 for the batch axis and then the other axes"):
        Permute(dims)


def test_another_number_of_axes_is_an_error():
    with pytest.raises(ShapeError, match=r"dims=\(0, 2, 1\) needs 3 axes, got \(2, 3\)"):
        Permute((0, 2, 1))(np.zeros((2, 3)))
