"""Tests that every loss must pass, with all its options."""

import itertools

import numpy as np
import pytest

import cnn
from cnn import InputError, Sequential
from cnn.layers import Linear, LogSoftmax, Sigmoid, Softmax
from cnn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from cnn.utils.gradcheck import difference, numeric_gradient

RNG = np.random.default_rng(0)
SPATIAL = (2, 3)
NUMBERS = 2 * RNG.normal(size=(4, 3, *SPATIAL))
VALUES = RNG.normal(size=NUMBERS.shape)
PROBABILITIES = Softmax(1)(VALUES)
IDS = RNG.integers(0, 3, (4, *SPATIAL))
IDS[0, 1] = IDS[2, 0, 0] = -100
WEIGHT = (0.5, 2.0, 0.0)

CLASS_OPTIONS = [{}, {"weight": WEIGHT}, {"ignore_index": 1, "weight": (1.0, 7.0, 3.0)}]
SMOOTHED = [*CLASS_OPTIONS, *({**options, "label_smoothing": 0.3} for options in CLASS_OPTIONS)]
BINARY = [{}, {"weight": ((0.5,), (2.0,), (0.0,))}, {"weight": 3.0}]
POSITIVE = [
    *BINARY,
    {"pos_weight": (0.5, 1.0, 4.0)},
    {"pos_weight": 2.0, "weight": 3.0},
    {"label_smoothing": 0.3},
    {"label_smoothing": 1.0, "pos_weight": 2.0, "weight": 3.0},
]


def cases():
    """Class, options, prediction, target."""
    for target in (np.where(IDS == -100, 1, IDS), IDS, PROBABILITIES):
        options = [each for each in SMOOTHED if "ignore_index" not in each] if target is IDS else SMOOTHED
        for each in options:
            yield CrossEntropyLoss, {"from_logits": True, **each}, NUMBERS, target
            yield CrossEntropyLoss, each, Softmax(1)(NUMBERS / 4), target
            if "label_smoothing" not in each:
                yield NLLLoss, each, LogSoftmax(1)(NUMBERS), target
    yield from ((BCELoss, each, Sigmoid()(NUMBERS)[..., 0], PROBABILITIES[..., 0]) for each in BINARY[:1])
    yield from ((BCELoss, each, Sigmoid()(NUMBERS), PROBABILITIES) for each in POSITIVE if each is not BINARY[1])
    yield BCELoss, {"weight": (((0.5,), (2.0,)),) * 3}, Sigmoid()(NUMBERS), (VALUES > 0).astype(int)
    yield from ((BCEWithLogitsLoss, each, NUMBERS, PROBABILITIES) for each in POSITIVE if each is not BINARY[1])
    yield from ((kind, {}, NUMBERS, VALUES) for kind in (MSELoss, L1Loss))
    yield from ((HuberLoss, {"delta": corner}, NUMBERS, VALUES) for corner in (0.5, 2.0))
    yield from ((SmoothL1Loss, {"beta": corner}, NUMBERS, VALUES) for corner in (0.0, 0.5, 2.0))


CASES = list(cases())
LABELS = [f"{kind.__name__}-{i}" for i, (kind, *_) in enumerate(CASES)]
REDUCTIONS = ["mean", "sum", "none"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("kind", "options", "prediction", "target"), CASES, ids=LABELS)
def test_numeric_gradient(kind, options, prediction, target, reduction):
    """The gradient of the loss, or of its losses times random numbers."""
    loss_func, x = kind(**options, reduction=reduction), prediction.copy()
    losses = loss_func(x, target)
    weights = np.random.default_rng(1).normal(size=np.shape(losses)) if reduction == "none" else None
    grad = loss_func.backward() if weights is None else loss_func.backward(weights)

    def number():
        with cnn.no_grad():
            losses = loss_func(x, target)
        return losses if weights is None else float((losses * weights).sum())

    assert difference(grad, numeric_gradient(number, x)) <= 1e-6


@pytest.mark.parametrize(("kind", "options", "prediction", "target"), CASES, ids=LABELS)
def test_reductions_agree(kind, options, prediction, target):
    none, total = kind(**options, reduction="none"), kind(**options, reduction="sum")
    losses = none(prediction, target)
    assert losses.shape in (prediction.shape, (4, *SPATIAL))
    assert total(prediction, target) == pytest.approx(losses.sum(), rel=1e-12)
    assert difference(none.backward(), total.backward()) <= 1e-14
    if kind not in (CrossEntropyLoss, NLLLoss):
        assert kind(**options)(prediction, target) == pytest.approx(losses.mean(), rel=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("kind", "options", "prediction", "target"), CASES, ids=LABELS)
def test_dtype_is_kept_the_arrays_are_not_changed_and_the_saved_values_are_released(
    kind, options, prediction, target, reduction
):
    prediction, target = prediction.astype(np.float32), target.copy()
    prediction.flags.writeable = target.flags.writeable = False
    loss_func = kind(**options, reduction=reduction)
    losses = loss_func(prediction, target)
    assert losses.dtype == np.float32 if reduction == "none" else type(losses) is float
    grad = loss_func.backward()
    assert (grad.dtype, grad.shape) == (np.float32, prediction.shape)
    with pytest.raises(RuntimeError, match=rf"{kind.__name__}\.backward has nothing saved"):
        loss_func.backward()
    assert eval(repr(loss_func), {kind.__name__: kind}).arguments() == loss_func.arguments()


@pytest.mark.parametrize(("kind", "options", "prediction", "target"), CASES, ids=LABELS)
def test_memory_layout_makes_no_difference(kind, options, prediction, target):
    plain, other = kind(**options), kind(**options)
    loss = plain(prediction, target)
    assert other(np.asfortranarray(prediction), np.asfortranarray(target)) == pytest.approx(loss, rel=1e-14)
    assert difference(other.backward(), plain.backward()) <= 1e-14


ONE_OF_EACH = {kind: case for kind, *case in reversed(CASES)}
EACH = pytest.mark.parametrize("kind", ONE_OF_EACH)


@EACH
def test_no_samples(kind):
    """The mean is undefined, but the sum and the losses are defined."""
    _, prediction, target = ONE_OF_EACH[kind]
    empty = prediction[:0], target[:0]
    with pytest.raises(InputError, match="the mean over no samples is undefined"):
        kind()(*empty)
    for reduction, loss in (("sum", 0), ("none", [])):
        loss_func = kind(reduction=reduction)
        np.testing.assert_array_equal(np.ravel(loss_func(*empty)), np.ravel(loss))
        assert loss_func.backward().shape == empty[0].shape


@EACH
def test_nan_gives_nan_and_no_error(kind):
    """The training loop reports predictions that are NaN."""
    options, prediction, target = ONE_OF_EACH[kind]
    prediction = prediction.copy()
    prediction[1] = np.nan
    loss_func = kind(**options)
    if kind is CrossEntropyLoss:
        loss_func.from_logits = True
    assert np.isnan(loss_func(prediction, target))
    assert np.isnan(loss_func.backward()[1]).any() or kind is NLLLoss  # whose gradient does not depend on it


@EACH
def test_wrong_gradients_name_the_fix(kind):
    options, prediction, target = ONE_OF_EACH[kind]
    loss_func = kind(**options)
    loss_func(prediction, target)
    with pytest.raises(InputError, match=r'call backward\(\) without one, or use reduction="none"'):
        loss_func.backward(np.ones(1))
    for wrong in (1.0, np.ones(3), np.ones((4, *SPATIAL, 7))):
        loss_func = kind(**options, reduction="none")
        loss_func(prediction, target)
        with pytest.raises(InputError, match=rf"{kind.__name__}\.backward expects the gradient of its output, float64"):
            loss_func.backward(wrong)


@EACH
@pytest.mark.parametrize("reduction", ["average", None, True, "Mean"])
def test_an_unknown_reduction_is_rejected(kind, reduction):
    with pytest.raises(ValueError, match='reduction must be "mean", "sum" or "none", got'):
        kind(reduction=reduction)


@pytest.mark.parametrize(("kind", "name"), [(CrossEntropyLoss, "weight"), (NLLLoss, "weight"), (BCELoss, "weight"),
                          (BCELoss, "pos_weight"), (BCEWithLogitsLoss, "weight"), (BCEWithLogitsLoss, "pos_weight")])  # fmt: skip
def test_weights_must_be_numbers_of_at_least_0(kind, name):
    for wrong in ([1, -1], [1, np.nan], [np.inf], ["1"], [True], [[1], [1, 2]], "balanced", {0: 1}):
        with pytest.raises(ValueError, match=f"{name} must hold finite numbers of at least 0, got"):
            kind(**{name: wrong})
    for given in ([1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float32)):
        assert getattr(kind(**{name: given}), name) == (1.0, 2.0)
    assert getattr(kind(), name) is None


@EACH
def test_model_files_keep_every_option(kind, tmp_path):
    options = {
        CrossEntropyLoss: {"weight": [1, 2, 3], "ignore_index": -1, "reduction": "sum", "label_smoothing": 0.25},
        NLLLoss: {"weight": np.array([1, 2, 3]), "ignore_index": 255},
        BCELoss: {"weight": [[[1], [2]]], "label_smoothing": np.float32(0.5)},
        BCEWithLogitsLoss: {"pos_weight": [1, 2, 3], "weight": 0.5},
        HuberLoss: {"delta": np.float32(0.5)},
        SmoothL1Loss: {"beta": 2},
    }.get(kind, {"reduction": "sum"})
    last = {CrossEntropyLoss: [Softmax()], NLLLoss: [LogSoftmax()], BCELoss: [Sigmoid()]}.get(kind, [])
    model = Sequential([Linear(2, 3), *last], loss_func=kind(**options))
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors")
    assert type(again.loss_func) is kind
    assert again.loss_func.arguments() == model.loss_func.arguments()
    assert repr(again) == repr(model)


def test_every_public_loss_is_tested_here():
    public = {getattr(cnn.loss, name) for name in cnn.loss.__all__} - {cnn.loss.LossFunc}
    assert public == set(ONE_OF_EACH)


def test_the_cases_cover_all_options():
    seen = set(itertools.chain(*([(kind, name) for name in options] for kind, options, *_ in CASES)))
    wanted = {(kind, name) for kind in ONE_OF_EACH for name in kind().arguments()} - {
        (k, "reduction") for k in ONE_OF_EACH
    }
    assert seen == wanted


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("kind", "options", "prediction", "target"), CASES, ids=LABELS)
def test_float16_predictions_and_targets_are_widened(kind, options, prediction, target, reduction):
    """The numbers are those of the same float32 arrays, and the gradient is float32."""
    half = prediction.astype(np.float16)
    half_target = target.astype(np.float16) if target.dtype.kind == "f" else target
    loss_func, other = kind(**options, reduction=reduction), kind(**options, reduction=reduction)
    wide_target = half_target.astype(np.float32) if target.dtype.kind == "f" else target
    losses = loss_func(half, half_target)
    np.testing.assert_array_equal(losses, other(half.astype(np.float32), wide_target))
    assert losses.dtype == np.float32 if reduction == "none" else type(losses) is float
    grad = loss_func.backward()
    assert grad.dtype == np.float32
    np.testing.assert_array_equal(grad, other.backward())


def test_float16_logits_of_the_usual_case_are_widened():
    """One class id for each row, which a compiled function may serve."""
    half, ids = NUMBERS[..., 0, 0].astype(np.float16), np.array([0, 2, 1, 1])
    loss_func, other = CrossEntropyLoss(from_logits=True), CrossEntropyLoss(from_logits=True)
    assert loss_func(half, ids) == pytest.approx(other(half.astype(np.float32), ids), rel=1e-6)
    np.testing.assert_allclose(loss_func.backward(), other.backward(), rtol=1e-6)
    rows = np.full((2, 2048), 1 / 2048, np.float16)
    assert loss_func(rows, np.asfortranarray(rows)) == pytest.approx(np.log(2048), rel=1e-6)
