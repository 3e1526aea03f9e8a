import numpy as np
import pytest

from cnn import InputError, ShapeError
from cnn.layers import Sigmoid
from cnn.loss import BCELoss, BCEWithLogitsLoss
from cnn.utils.gradcheck import difference

BOTH = pytest.mark.parametrize("kind", [BCELoss, BCEWithLogitsLoss])


def test_by_hand():
    p, y = np.array([[0.25, 0.5]]), np.array([[1, 0]])
    loss_func = BCELoss()
    assert loss_func(p, y) == pytest.approx((np.log(4) + np.log(2)) / 2)
    np.testing.assert_allclose(loss_func.backward(), [[-2, 1]])


def test_logits_are_sigmoid_then_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)), rng.random((5, 4))
    sigmoid, separate, joint = Sigmoid(), BCELoss(weight=[1, 2, 3, 4]), BCEWithLogitsLoss(weight=[1, 2, 3, 4])
    assert separate(sigmoid(x), y) == pytest.approx(joint(x, y), rel=1e-14)
    assert difference(sigmoid.backward(separate.backward()), joint.backward()) <= 1e-13


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_stay_finite_and_precise(dtype):
    x, loss_func = np.array([[1e30, -1e30, 1e4, -50, -1e4]], dtype), BCEWithLogitsLoss(reduction="none")
    np.testing.assert_allclose(loss_func(x, [[0, 0, 0, 0, 1]]), [[1e30, 0, 1e4, np.exp(-50), 1e4]], rtol=1e-5)
    np.testing.assert_allclose(loss_func.backward(), [[1, 0, 1, np.exp(-50), -1]], rtol=1e-5)


@BOTH
def test_integers_and_bools_are_targets(kind):
    p, y = np.array([[0.25, 0.5]], np.float32), np.array([[True, False]])
    expected = kind()(p, y.astype(np.float64))
    for target in (y, y.astype(np.uint8), y.astype(np.int64), y.tolist()):
        assert kind()(p, target) == expected


@BOTH
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([[-1], [1]], InputError, r"between 0 and 1, got -1 to 1: for labels -1 and 1 pass \(y \+ 1\) / 2"),
        ([[0], [2]], InputError, "between 0 and 1, got 0 to 2: for classes use CrossEntropyLoss"),
        ([[0], [255]], InputError, "between 0 and 1, got 0 to 255: divide a mask of 0 and 255 by 255$"),
        ([[-100], [1]], InputError, r'got -100 to 1: for masks with -100 outside .* mask_fill=0 or edge="reflect"'),
        ([0, 1], ShapeError, r"shape \(2, 1\), got \(2,\): pass y.reshape\(-1, 1\)"),
        ([[0.5], [np.nan]], InputError, "finite targets"),
        ([["a"], ["b"]], InputError, "real numbers"),
    ],
)
def test_a_wrong_target_names_the_fix(kind, target, error, message):
    with pytest.raises(error, match=message):
        kind()(np.full((2, 1), 0.5), np.array(target))


@BOTH
def test_smoothing_by_hand(kind):
    """Label 1 becomes 0.9 and label 0 becomes 0.1."""
    p, y = np.array([[0.25, 0.5]]), np.array([[1, 0]])
    smoothed = kind(label_smoothing=0.2)
    assert smoothed(p, y) == kind()(p, np.array([[0.9, 0.1]]))
    assert kind(label_smoothing=1)(p, y) == kind(label_smoothing=1)(p, 1 - y)


@BOTH
@pytest.mark.parametrize("wrong", [1.5, -0.1, np.nan, "0.1", True, None, [0.1]])
def test_smoothing_is_a_fraction(kind, wrong):
    with pytest.raises(ValueError, match="label_smoothing must be a number between 0 and 1, got"):
        kind(label_smoothing=wrong)


@pytest.mark.parametrize("wrong", [-0.25, 1.5, np.inf])
def test_predictions_that_are_not_probabilities(wrong):
    with pytest.raises(InputError, match=rf"got {wrong}: end the model with Sigmoid\(\), or use BCEWithLogitsLoss\(\)"):
        BCELoss()(np.array([[0.5, wrong]]), np.array([[1, 0]]))


@pytest.mark.parametrize(
    ("shape", "fix"),
    [((2, 3), "give 3 numbers"), ((2, 4, 5, 6), r"for one number per channel pass np.reshape\({}, \(4, 1, 1\)\)")],
)
def test_weights_that_do_not_fit_name_the_fix(shape, fix):
    p, y = np.full(shape, 0.5), np.ones(shape)
    for kind, name in ((BCELoss, "weight"), (BCEWithLogitsLoss, "weight"), (BCEWithLogitsLoss, "pos_weight")):
        with pytest.raises(ShapeError, match=rf"{name} of shape \(4,\) does not fit.*: {fix.format(name)}"):
            kind(**{name: [1, 2, 3, 4]})(p, y)
        if len(shape) > 2:
            kind(**{name: np.reshape([1, 2, 3, 4], (4, 1, 1))})(p, y)
    with pytest.raises(ShapeError, match="does not fit"):  # broadcasting would add axes to the losses
        BCELoss(weight=np.ones((7, 1, 1, 1, 1)))(p, y)
