import numpy as np
import pytest

from cnn import InputError, ShapeError
from cnn.loss import MSE, MSELoss
from cnn.utils.gradcheck import difference, numeric_gradient


def test_by_hand():
    """The mean over all values."""
    loss_func = MSELoss()
    assert loss_func(np.array([[1.0, 2], [3, 6]]), np.array([[1, 0], [0, 6]])) == 13 / 4
    np.testing.assert_array_equal(loss_func.backward(), [[0, 1], [1.5, 0]])


def test_mse_is_the_same_class():
    assert MSE is MSELoss


@pytest.mark.parametrize("shape", [(3,), (4, 1), (2, 3), (2, 3, 4, 1)])
def test_numeric_gradient(shape):
    rng = np.random.default_rng(0)
    x, target, loss_func = rng.normal(size=shape), rng.normal(size=shape), MSELoss()
    loss_func(x, target)
    assert difference(loss_func.backward(), numeric_gradient(lambda: MSELoss()(x, target), x)) <= 1e-6


@pytest.mark.parametrize("target_dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_dtype_is_that_of_the_prediction(target_dtype):
    x, target, loss_func = np.ones((2, 3), np.float32), np.zeros((2, 3), target_dtype), MSELoss()
    x.flags.writeable = target.flags.writeable = False
    assert type(loss_func(x, target)) is float
    assert loss_func.backward().dtype == np.float32


def test_a_second_backward_is_an_error():
    loss_func = MSELoss()
    loss_func(np.ones((2, 1)), np.ones((2, 1)))
    loss_func.backward()
    with pytest.raises(RuntimeError, match=r"MSELoss\.backward has nothing saved"):
        loss_func.backward()


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.ones(4), ShapeError, r"pass y.reshape\(-1, 1\)"),
        (np.ones((4, 2)), ShapeError, "as many out_features"),
        (np.ones((3, 1)), ShapeError, r"got \(3, 1\)"),
        (np.array([["a"]] * 4), InputError, "real numbers"),
        (np.full((4, 1), np.nan), InputError, "finite targets"),
    ],
)
def test_a_wrong_target_names_the_fix(target, error, message):
    """Above all (N,) with (N, 1), which would broadcast to N x N."""
    with pytest.raises(error, match=message):
        MSELoss()(np.ones((4, 1)), target)


def test_an_empty_batch_has_no_mean():
    with pytest.raises(InputError, match="the mean over no samples is undefined"):
        MSELoss()(np.ones((0, 1)), np.ones((0, 1)))


def test_class_ids_are_recognised():
    with pytest.raises(ShapeError, match=r"got \(4,\): these look like class ids: use CrossEntropyLoss"):
        MSELoss()(np.ones((4, 3)), np.array([0, 1, 2, 0]))
    with pytest.raises(ShapeError, match="as many out_features"):
        MSELoss()(np.ones((4, 3)), np.array([0.5, 1, 2, 0]))
