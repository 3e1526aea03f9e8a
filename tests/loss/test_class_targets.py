"""Labels, class weights and ignored targets: CrossEntropyLoss and NLLLoss."""

import numpy as np
import pytest

from cnn import InputError, ShapeError
from cnn.layers import LogSoftmax
from cnn.loss import CrossEntropyLoss, NLLLoss

LOGITS = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
IDS = np.random.default_rng(1).integers(0, 3, (2, 4, 5))


def both(**options):
    """Both losses, each with a suitable prediction."""
    yield CrossEntropyLoss(from_logits=True, **options), LOGITS
    yield NLLLoss(**options), LogSoftmax(1)(LOGITS)


def test_spatial_positions_count_like_samples():
    flat = np.moveaxis(LOGITS, 1, -1).reshape(-1, 3)
    for loss_func, x in both(weight=[1, 2, 3]):
        loss = loss_func(x, IDS)
        grad = np.moveaxis(loss_func.backward(), 1, -1).reshape(-1, 3)
        assert loss_func(flat if x is LOGITS else LogSoftmax()(flat), IDS.ravel()) == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(loss_func.backward(), grad, atol=1e-15)


def test_ids_equal_one_hot_targets_except_for_the_divisor_of_a_weighted_mean():
    """For ids PyTorch divides by the sum of their weights, for probabilities by their number."""
    one_hot = np.moveaxis(np.eye(3)[IDS], -1, 1)
    for reduction, same in (("sum", True), ("none", True), ("mean", False)):
        for loss_func, x in both(weight=[1, 2, 3], reduction=reduction):
            assert np.allclose(loss_func(x, IDS), loss_func(x, one_hot), rtol=1e-13) == same


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_any_integer_dtype_with_every_option(dtype):
    ids = IDS.astype(dtype)
    ids[0, 0, 0] = 100
    expected = IDS.copy()
    expected[0, 0, 0] = -100
    for (one, x), (other, _) in zip(both(weight=[1, 2, 3]), both(weight=[1, 2, 3], ignore_index=100), strict=True):
        assert other(x, ids) == one(x, expected)


def test_ignored_targets_do_not_count():
    ids = IDS.copy()
    ids[0, 2] = 7
    kept = np.ones(IDS.shape, bool)
    kept[0, 2] = False
    for loss_func, x in both(ignore_index=7):
        losses = [type(loss_func)(**loss_func.arguments() | {"reduction": "none"}) for _ in range(2)]
        assert loss_func(x, ids) == pytest.approx(losses[0](x, IDS)[kept].mean(), rel=1e-12)
        grad = loss_func.backward()
        assert not grad[0, :, 2].any()
        assert grad[0, :, 1].any()
        assert not losses[1](x, ids)[0, 2].any()


def test_a_batch_with_all_targets_ignored_has_loss_0_and_gradient_0():
    """PyTorch's loss is NaN, and so is its gradient if the weights are 0."""
    for options, ids in (({}, np.full_like(IDS, -100)), ({"weight": [0, 1, 1]}, np.zeros_like(IDS))):
        for smoothing in (0.0, 0.1):
            for reduction in ("mean", "sum", "none")[: 1 if options else 3]:
                for loss_func, x in both(**options, reduction=reduction):
                    if isinstance(loss_func, CrossEntropyLoss):
                        loss_func.label_smoothing = smoothing
                    assert not np.any(loss_func(x, ids))
                    assert not loss_func.backward().any()


def test_a_log_probability_of_minus_infinity_counts_only_for_the_true_class():
    log_p = np.array([[0, -np.inf]])
    loss_func = NLLLoss()
    assert loss_func(log_p, [0]) == 0
    np.testing.assert_array_equal(loss_func.backward(), [[-1, 0]])
    assert loss_func(log_p, [1]) == np.inf


def with_a_negative_probability():
    p = np.full(LOGITS.shape, 1 / 3)
    p[1, :, 2, 3] = -1, 1, 1
    return p


def changed(index, value):
    ids = IDS.copy()
    ids[index] = value
    return ids


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (
            IDS[:, None],
            ShapeError,
            r"expected labels \(N, 4, 5\) or .*\(N, 3, 4, 5\), got \(2, 1, 4, 5\): pass y\[:, 0\]",
        ),
        (np.eye(3)[IDS], ShapeError, r"classes belong on axis 1: pass np.moveaxis\(y, -1, 1\)"),
        (np.moveaxis(np.eye(4)[IDS], -1, 1), ShapeError, "for one-hot rows the model needs 4 outputs"),
        (IDS[:, 0, 0], ShapeError, "for one class per sample, flatten before the last Linear"),
        (IDS[:, :3], ShapeError, "each spatial position of the prediction needs one label"),
        (IDS[:1], ShapeError, "2 samples need 2 labels, got 1"),
        (IDS.astype(float), InputError, r"pass y.astype\(np.int64\)"),
        (IDS / 2, InputError, "fractional float64"),
        (IDS > 0, InputError, r"pass y.astype\(np.int64\)"),
        (None, InputError, "the labels are missing"),
        (
            changed((0, 0), 5),
            InputError,
            "between 0 and 2 for 3 outputs, got 0 to 5: give the last Conv2d 6 out_channels",
        ),
        (changed((0, 0), -1), InputError, "number the classes from 0, or set ignore_index=-1 if that marks"),
        (changed((0, 0), 255), InputError, "256 out_channels, or set ignore_index=255 if that marks"),
        (np.full(LOGITS.shape, 0.5), InputError, r"\(N, 3, 4, 5\) are probabilities.*sum to 1"),
        (with_a_negative_probability(), InputError, r"row 1 at \(2, 3\) has minimum -1 and sum 1$"),
    ],
)
def test_a_wrong_target_names_the_fix(target, error, message):
    for loss_func, x in both():
        with pytest.raises(error, match=message):
            loss_func(x, target)


def test_there_must_be_one_weight_per_class():
    for loss_func, x in both(weight=[1, 2]):
        with pytest.raises(ShapeError, match="weight has 2 numbers, but predictions have 3 classes: give 3 numbers"):
            loss_func(x, IDS)
    for kind in (CrossEntropyLoss, NLLLoss):
        for wrong in (2.0, [[1, 2]]):
            with pytest.raises(ValueError, match="weight must be a list with one number for each class"):
                kind(weight=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"from_logits": [1, 2, 3]},
            r"from_logits must be True or False, got \[1, 2, 3\]; weights are given as weight=",
        ),
        ({"ignore_index": 1.5}, "ignore_index must be an integer, got 1.5"),
        ({"ignore_index": None}, "ignore_index must be an integer, got None"),
        ({"label_smoothing": 1.5}, "label_smoothing must be a number between 0 and 1, got 1.5"),
        ({"label_smoothing": -0.1}, "between 0 and 1"),
        ({"label_smoothing": float("nan")}, "between 0 and 1"),
        ({"label_smoothing": "0.1"}, "between 0 and 1, got '0.1'"),
        ({"label_smoothing": True}, "between 0 and 1, got True"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        CrossEntropyLoss(**options)


@pytest.mark.parametrize("shape", [(4,), (4, 0), ()])
def test_a_prediction_without_classes(shape):
    for kind in (CrossEntropyLoss, NLLLoss):
        with pytest.raises(ShapeError, match=rf"{kind.__name__} expects predictions \(N, K\) or \(N, K, d1, ...\)"):
            kind(reduction="sum")(np.ones(shape), np.zeros(4, int))


def test_wrong_probabilities_are_reported_with_their_position():
    p = np.full((2, 2, 3), 0.5)
    p[1, 0, 2] = 0.75
    with pytest.raises(
        InputError, match=r"row 1 at \(2,\) holds values from 0.5 to 0.75 with sum 1.25.*Softmax\(dim=1\)"
    ):
        CrossEntropyLoss()(p, np.zeros((2, 3), int))


def test_nll_rejects_predictions_that_are_not_log_probabilities():
    for wrong in (np.zeros((2, 3)), np.full((2, 3), 1e4)):
        with pytest.raises(InputError, match=r"LogSoftmax\(dim=1\), or use CrossEntropyLoss\(from_logits=True\)"):
            NLLLoss()(wrong, [0, 1])
    with pytest.raises(InputError, match=r"probabilities: take np.log of them, or .* LogSoftmax\(dim=1\)$"):
        NLLLoss()(np.full((2, 3), 1 / 3), [0, 1])
