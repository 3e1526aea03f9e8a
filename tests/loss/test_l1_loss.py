import numpy as np
import pytest

from cnn import InputError, ShapeError
from cnn.loss import HuberLoss, L1Loss, SmoothL1Loss

DIFFERENCES = np.array([-3.0, -2.0, -0.5, 0.0, 1.0, 2.0, 8.0])


@pytest.mark.parametrize(
    ("loss_func", "losses", "slopes"),
    [
        (L1Loss("none"), [3, 2, 0.5, 0, 1, 2, 8], [-1, -1, -1, 0, 1, 1, 1]),
        (HuberLoss("none", 2), [4, 2, 0.125, 0, 0.5, 2, 14], [-2, -2, -0.5, 0, 1, 2, 2]),
        (SmoothL1Loss("none", 2), [2, 1, 0.0625, 0, 0.25, 1, 7], [-1, -1, -0.25, 0, 0.5, 1, 1]),
    ],
)
def test_by_hand(loss_func, losses, slopes):
    target = np.arange(7)
    np.testing.assert_array_equal(loss_func(target + DIFFERENCES, target), losses)
    np.testing.assert_array_equal(loss_func.backward(), slopes)


@pytest.mark.parametrize("kind", [L1Loss, HuberLoss, SmoothL1Loss])
def test_a_wrong_target_names_the_fix_and_the_loss(kind):
    with pytest.raises(ShapeError, match=rf"{kind.__name__} expects.*pass y.reshape\(-1, 1\)"):
        kind()(np.ones((4, 1)), np.ones(4))
    with pytest.raises(InputError, match=f"{kind.__name__} expects finite targets"):
        kind()(np.ones((4, 1)), np.full((4, 1), np.inf))


@pytest.mark.parametrize("kind", [L1Loss, HuberLoss, SmoothL1Loss])
def test_an_infinite_prediction_has_a_gradient(kind):
    loss_func = kind()
    assert loss_func(np.array([-np.inf, 1.0]), np.zeros(2)) == np.inf
    np.testing.assert_array_equal(loss_func.backward(), [-0.5, 0.5])


@pytest.mark.parametrize("value", [-1, np.inf, np.nan, "1", True, None])
def test_delta_and_beta_must_be_numbers_of_at_least_0(value):
    for kind, name in ((HuberLoss, "delta"), (SmoothL1Loss, "beta")):
        with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0"):
            kind(**{name: value})
    with pytest.raises(ValueError, match="delta must be more than 0"):
        HuberLoss(delta=0)
