"""Weights of samples and of classes, compared with numbers computed by hand."""

import numpy as np
import pytest

from cnn import InputError, ShapeError
from cnn.layers import LogSoftmax, Sigmoid, Softmax
from cnn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    LossFunc,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from cnn.loss.weighted import SampleWeighted, check_sample_weight, class_weighted
from cnn.utils.gradcheck import difference, numeric_gradient

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
MAPS = RNG.normal(size=(5, 3, 2, 4))
IDS, PIXEL_IDS = np.array([0, 2, 1, 2, -100]), RNG.integers(0, 3, (5, 2, 4))
PIXEL_IDS[0, 1] = -100
REPEATS = np.array([3, 1, 0, 2, 1])
CASES = [
    (CrossEntropyLoss(from_logits=True), X, IDS),
    (CrossEntropyLoss(from_logits=True, weight=[1, 2, 5], label_smoothing=0.1), X, IDS),
    (CrossEntropyLoss(weight=[1, 2, 5], reduction="sum"), Softmax(1)(X), IDS),
    (CrossEntropyLoss(from_logits=True, weight=[1, 2, 5]), MAPS, PIXEL_IDS),
    (CrossEntropyLoss(from_logits=True, weight=[1, 2, 5]), MAPS, Softmax(1)(-MAPS)),
    (NLLLoss(weight=[1, 2, 5], ignore_index=1), LogSoftmax(1)(X), np.array([0, 2, 1, 2, 0])),
    (BCELoss(pos_weight=3), Sigmoid()(MAPS), (MAPS < 0.5).astype(int)),
    (BCEWithLogitsLoss(pos_weight=[1, 2, 3], label_smoothing=0.2), X, (X < 0.5).astype(int)),
    (BCEWithLogitsLoss(reduction="sum"), X[:, 0], (X[:, 0] < 0.5).astype(int)),
    (MSELoss(), MAPS, MAPS[::-1]),
    (L1Loss(reduction="sum"), X, X[::-1]),
    (HuberLoss(), X, X[::-1]),
    (SmoothL1Loss(), X, X[::-1]),
]
LABELS = [f"{i}-{loss_func!r}" for i, (loss_func, *_) in enumerate(CASES)]


@pytest.mark.parametrize(("loss_func", "x", "y"), CASES, ids=LABELS)
def test_a_weight_of_2_counts_like_two_samples(loss_func, x, y):
    weighted = SampleWeighted(loss_func)
    weighted.sample_weight = REPEATS.astype(float)
    numbers = np.repeat(np.arange(5), REPEATS)
    assert weighted(x, y) == pytest.approx(loss_func(x[numbers], y[numbers]), rel=1e-12)
    count = REPEATS.sum() if loss_func.reduction == "sum" else loss_func.count(x[numbers], y[numbers])
    assert weighted.count(x, y) == pytest.approx(count)
    expected = np.zeros_like(x)
    np.add.at(expected, numbers, loss_func.backward())
    assert difference(weighted.backward(), expected) <= 1e-12


@pytest.mark.parametrize(("loss_func", "x", "y"), CASES, ids=LABELS)
def test_weights_of_1_change_nothing_and_gradients_are_right(loss_func, x, y):
    weighted = SampleWeighted(loss_func)
    weighted.sample_weight = np.ones(5)
    assert weighted(x, y) == pytest.approx(loss_func(x, y), rel=1e-12)
    assert difference(weighted.backward(), loss_func.backward()) <= 1e-12
    weighted.sample_weight, x = np.array([0.5, 0, 2, 7, 1]), x.copy()
    weighted(x, y)
    grad = weighted.backward()
    if isinstance(loss_func, NLLLoss | CrossEntropyLoss) and not getattr(loss_func, "from_logits", False):
        return  # numeric differences leave the space of probabilities
    assert difference(grad, numeric_gradient(lambda: SampleWeighted.forward(weighted, x, y), x)) <= 1e-6


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", [CrossEntropyLoss, MSELoss, BCEWithLogitsLoss])
def test_a_batch_in_which_no_sample_counts(kind, reduction):
    weighted = SampleWeighted(
        kind(True, reduction=reduction) if kind is CrossEntropyLoss else kind(reduction=reduction)
    )
    weighted.sample_weight = np.zeros(5)
    y = IDS if kind is CrossEntropyLoss else np.ones((5, 3))
    assert weighted(X, y) == 0
    np.testing.assert_array_equal(weighted.backward(), np.zeros((5, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_one_number_is_returned(dtype):
    weighted = SampleWeighted(CrossEntropyLoss(from_logits=True))
    weighted.sample_weight = REPEATS.astype(float)
    assert type(weighted(X.astype(dtype), IDS)) is float
    assert weighted.backward().dtype == dtype
    weighted(X, IDS)
    with pytest.raises(InputError, match=r"takes no gradient: call backward\(\) without one"):
        weighted.backward(np.ones(5))


def test_a_loss_without_losses_of_samples_names_the_fix():
    class Mean(LossFunc):
        def forward(self, prediction, target):
            return float(np.mean(prediction))

    weighted = SampleWeighted(Mean())
    weighted.sample_weight = np.ones(5)
    with pytest.raises(InputError, match=r"Mean\(\) has no reduction=\"none\": return self.reduce\(losses\)"):
        weighted(X, IDS)
    weighted.sample_weight = np.ones(4)
    with pytest.raises(ShapeError, match="a number for each of 5 predictions, got shape"):
        SampleWeighted(MSELoss()).count(X, X)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ([1, 2], ShapeError, r"5 samples need a sample_weight of shape \(5,\), got \(2,\): give 5 numbers"),
        (np.ones((5, 1)), ShapeError, r"got \(5, 1\): pass sample_weight.ravel\(\)"),
        (3.0, ShapeError, r"got \(\)"),
        ([1, 1, 1, 1, -1], InputError, "finite numbers of at least 0"),
        ([1, 1, 1, 1, np.nan], InputError, "finite numbers of at least 0"),
        ([1, 1, 1, 1, np.inf], InputError, "finite numbers of at least 0"),
        (["a"] * 5, InputError, "finite numbers of at least 0, got <U1"),
        ([True] * 5, InputError, "got bool"),
        (np.zeros(5), InputError, "is 0 for all samples: there is nothing to learn from"),
    ],
)
def test_wrong_sample_weights_name_the_fix(given, error, match):
    with pytest.raises(error, match=match):
        check_sample_weight(given, 5)


def test_balanced_as_in_scikit_learn():
    """N / (K count): compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 0, 1, 1, 2, 2]) by hand."""
    y = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    weighted = class_weighted(CrossEntropyLoss(), "balanced", y, (8, 3))
    assert weighted.weight == pytest.approx((8 / 12, 8 / 6, 8 / 6))
    with_others = np.r_[y, 7, 7]  # 7 is ignored, 3 never occurs
    weighted = class_weighted(CrossEntropyLoss(ignore_index=7), "balanced", with_others, (10, 4))
    assert weighted.weight == pytest.approx((8 / 12, 8 / 6, 8 / 6, 1))
    one_hot = np.eye(3)[y]
    assert class_weighted(NLLLoss(), "balanced", one_hot, (8, 3)).weight == pytest.approx((8 / 12, 8 / 6, 8 / 6))
    maps, soft_maps = y.reshape(2, 2, 2), np.moveaxis(np.eye(3)[y.reshape(2, 2, 2)], -1, 1)
    for target in (maps, soft_maps):
        weighted = class_weighted(NLLLoss(), "balanced", target, (2, 3, 2, 2))
        assert weighted.weight == pytest.approx((8 / 12, 8 / 6, 8 / 6))


@pytest.mark.parametrize("kind", [BCELoss, BCEWithLogitsLoss])
def test_balanced_for_each_label(kind):
    """Weight = n / (2 count of no), weight * pos_weight = n / (2 count of yes)."""
    y = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    weighted = class_weighted(kind(), "balanced", y, (4, 3))
    assert weighted.weight == pytest.approx((4 / 6, 2, 1))
    assert weighted.pos_weight == pytest.approx((3, 1 / 3, 1))
    maps = np.moveaxis(y.reshape(2, 2, 1, 3), -1, 1)
    weighted = class_weighted(kind(), "balanced", maps, (2, 3, 2, 1))
    np.testing.assert_allclose(weighted.pos_weight, np.reshape([3, 1 / 3, 1], (3, 1, 1)))
    assert class_weighted(kind(), "balanced", y[:, 0], (4,)).pos_weight == pytest.approx(3)
    assert class_weighted(kind(), {0: 2, 1: 6}, y, (4, 3)).arguments() == kind(weight=2, pos_weight=3).arguments()


def test_a_dict_names_some_classes_and_the_loss_itself_is_not_changed():
    loss_func = CrossEntropyLoss(label_smoothing=0.1)
    weighted = class_weighted(loss_func, {np.int64(2): 5}, np.array([0]), (1, 3))
    assert weighted.arguments() == CrossEntropyLoss(label_smoothing=0.1, weight=[1, 1, 5]).arguments()
    assert loss_func.weight is None


@pytest.mark.parametrize(
    ("loss_func", "given", "match"),
    [
        (CrossEntropyLoss(), {3: 1}, "must name class ids from 0 to 2, got 3"),
        (CrossEntropyLoss(), {-1: 1}, "must name class ids from 0 to 2, got -1"),
        (CrossEntropyLoss(), {"cat": 1}, "must name class ids from 0 to 2, got 'cat'"),
        (CrossEntropyLoss(), {True: 1}, "got True"),
        (CrossEntropyLoss(), {0: -1}, r"class_weight\[0\] must be a finite number of at least 0, got -1"),
        (CrossEntropyLoss(), {0: np.nan}, "got nan"),
        (CrossEntropyLoss(), {0: "1"}, "got '1'"),
        (CrossEntropyLoss(), dict.fromkeys(range(3), 0), "0 for all classes: there is nothing to learn from"),
        (CrossEntropyLoss(), [1, 2, 3], 'must be "balanced" or a dict'),
        (CrossEntropyLoss(), "Balanced", 'must be "balanced" or a dict'),
        (CrossEntropyLoss(weight=[1, 2, 3]), {0: 1}, "has weight already: leave out class_weight, or weight"),
        (BCEWithLogitsLoss(pos_weight=2), "balanced", "has pos_weight already: leave out class_weight, or pos_weight"),
        (BCELoss(), {2: 3}, "must name class ids from 0 to 1, got 2"),
        (BCELoss(), {0: 0}, "must be above 0 for class 0"),
        (MSELoss(), {0: 1}, r"a loss with classes, but the loss is MSELoss\(\): pass sample_weight"),
    ],
)
def test_wrong_class_weights_name_the_fix(loss_func, given, match):
    with pytest.raises(InputError, match=match):
        class_weighted(loss_func, given, np.array([[1, 0, 0]]), (1, 3))
