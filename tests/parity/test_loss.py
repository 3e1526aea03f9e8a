import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.layers import LogSoftmax, Sigmoid, Softmax
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
from cnn.loss.weighted import SampleWeighted, class_weighted
from cnn.utils.gradcheck import difference
from tests.parity.oracle import DTYPES, TOLERANCE, Tally, tensor


def compare_losses(tally, ours, theirs, x, target, theirs_target=None):
    """Compare loss and gradient for the logits or outputs ``x``."""
    theirs_x = tensor(x, needs_grad=True)
    theirs_loss = theirs(theirs_x, tensor(target) if theirs_target is None else theirs_target)
    theirs_loss.backward()
    loss = ours(x, target)
    assert isinstance(loss, float)
    assert difference(loss, theirs_loss.item()) <= TOLERANCE[x.dtype]
    tally.agree("gradient", ours.backward(), theirs_x.grad)


def draw(n, classes, scale, seed):
    rng = np.random.default_rng(seed)
    soft = rng.random((n, classes))
    return scale * rng.normal(size=(n, classes)), rng.integers(0, classes, n), soft / soft.sum(axis=1, keepdims=True)


batches = given(st.integers(1, 9), st.integers(1, 11), st.sampled_from([0.1, 1, 30, 1e4]), st.integers(0, 99))


@settings(max_examples=100)
@batches
def test_cross_entropy_of_logits(n, classes, scale, seed):
    x, ids, soft = draw(n, classes, scale, seed)
    for dtype in DTYPES:
        compare_losses(Tally(), CrossEntropyLoss(from_logits=True), torch.nn.CrossEntropyLoss(), x.astype(dtype), ids)
        targets = soft.astype(dtype)
        compare_losses(
            Tally(), CrossEntropyLoss(from_logits=True), torch.nn.CrossEntropyLoss(), x.astype(dtype), targets
        )


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_cross_entropy_takes_any_integer_dtype(dtype, from_logits):
    x, ids, _ = draw(8, 5, 1, 0)
    if not from_logits:
        x = Softmax()(x)

    def theirs(prediction, target):
        if from_logits:
            return torch.nn.functional.cross_entropy(prediction, target)
        return torch.nn.functional.nll_loss(torch.log(prediction), target)

    compare_losses(Tally(), CrossEntropyLoss(from_logits), theirs, x, ids.astype(dtype), tensor(ids))


@settings(max_examples=100)
@given(st.integers(1, 9), st.integers(1, 11), st.sampled_from([0.1, 1, 5]), st.integers(0, 99))
def test_cross_entropy_of_probabilities(n, classes, scale, seed):
    """PyTorch has no such loss, so its autograd differentiates minus the mean of the target times log p."""
    x, ids, soft = draw(n, classes, scale, seed)
    for dtype in DTYPES:
        p = Softmax()(x.astype(dtype))
        compare_losses(Tally(), CrossEntropyLoss(), lambda p, t: torch.nn.functional.nll_loss(torch.log(p), t), p, ids)
        compare_losses(
            Tally(), CrossEntropyLoss(), lambda p, t: -(t * torch.log(p)).sum() / len(p), p, soft.astype(dtype)
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_a_confident_mistake_is_finite(dtype):
    """Logits of 1e4 on the wrong side: the loss is 1e4, not infinite, and the gradient p - y."""
    x = np.array([[1e4, 0, -1e4], [-1e4, 1e4, 0]], dtype)
    compare_losses(Tally(), CrossEntropyLoss(from_logits=True), torch.nn.CrossEntropyLoss(), x, np.array([2, 0]))


REDUCTIONS = st.sampled_from(["mean", "sum", "none"])
SEEDS = st.integers(0, 10_000)


def compare_reduced(tally, ours, theirs, x, target, before=None):
    """Compare loss and gradient for any reduction; losses without reduction get a random gradient.

    ``before`` is one of our layers: our loss gets its output, while PyTorch's loss gets ``x``.
    """
    theirs_x = tensor(x, needs_grad=True)
    theirs_loss = theirs(theirs_x, tensor(target))
    loss = ours(before(x) if before else x, target)
    if ours.reduction == "none":
        tally.agree("losses", loss, theirs_loss)
        grad = np.random.default_rng(1).normal(size=loss.shape).astype(x.dtype)
        theirs_loss.backward(tensor(grad))
        grad_x = ours.backward(grad)
    else:
        assert type(loss) is float
        assert difference(loss, theirs_loss.item()) <= TOLERANCE[x.dtype]
        theirs_loss.backward()
        grad_x = ours.backward()
    tally.agree("gradient", before.backward(grad_x) if before else grad_x, theirs_x.grad)


def theirs_of(kind, options, dtype):
    """PyTorch's loss with the same options."""
    weights = {name: tensor(np.array(value, dtype)) for name, value in options.items() if "weight" in name}
    return kind(**{**options, **weights})


@st.composite
def class_problems(draw):
    """Draw options of a classification loss, logits, and targets: class ids (some may be ignored) or probabilities."""
    n, classes = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    positions = draw(st.lists(st.integers(1, 4), max_size=3))
    rng = np.random.default_rng(draw(SEEDS))
    options = {"reduction": draw(REDUCTIONS), "ignore_index": draw(st.sampled_from([-100, -1, 0, 255]))}
    target, x = rng.integers(0, classes, (n, *positions)), rng.normal(size=(n, classes, *positions))
    if draw(st.booleans()):
        target[rng.random(target.shape) < 0.3] = options["ignore_index"]
    x[0], x[0, 0], target[0] = 0, 1, classes - 1  # a wrong prediction; if all are right, p - y has no digits in float32
    if np.all(target == options["ignore_index"]):
        options["reduction"] = "sum"  # the mean over no samples is 0 here and NaN in PyTorch
    if draw(st.booleans()):
        options["weight"] = rng.uniform(0.1, 3, classes).tolist()
    if draw(st.booleans()):
        target = rng.random((n, classes, *positions))
        target /= target.sum(axis=1, keepdims=True)
        options["ignore_index"] = -100  # PyTorch allows no other value for probabilities
    return options, x, target


def as_dtype(target, dtype):
    return target if target.dtype.kind == "i" else target.astype(dtype)


def test_cross_entropy_with_all_options():
    tally = Tally()

    @settings(max_examples=300)
    @given(class_problems(), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([0.1, 1, 30]))
    def compare(problem, smoothing, scale):
        options, x, target = problem
        options = {**options, "label_smoothing": smoothing}
        for dtype in DTYPES:
            theirs = theirs_of(torch.nn.CrossEntropyLoss, options, dtype)
            ours = CrossEntropyLoss(from_logits=True, **options)
            compare_reduced(tally, ours, theirs, (scale * x).astype(dtype), as_dtype(target, dtype))
        tally.seen.add((repr(ours), x.shape, target.ndim))

    compare()
    tally.report(at_least=150)


def test_softmax_and_cross_entropy_of_probabilities_with_all_options():
    tally = Tally()

    @settings(max_examples=150)
    @given(class_problems(), st.sampled_from([0.0, 0.2]))
    def compare(problem, smoothing):
        options, x, target = problem
        options = {**options, "label_smoothing": smoothing}
        for dtype in DTYPES:
            theirs = theirs_of(torch.nn.CrossEntropyLoss, options, dtype)
            ours = CrossEntropyLoss(**options)
            compare_reduced(tally, ours, theirs, x.astype(dtype), as_dtype(target, dtype), before=Softmax(dim=1))
        tally.seen.add((repr(ours), x.shape, target.ndim))

    compare()
    tally.report(at_least=70)


def test_nll():
    """PyTorch's NLLLoss only takes class ids; for probabilities ours is compared with cross-entropy of logits."""
    tally = Tally()

    @settings(max_examples=200)
    @given(class_problems())
    def compare(problem):
        options, x, target = problem
        for dtype in DTYPES:
            x, target = x.astype(dtype), as_dtype(target, dtype)
            ours = NLLLoss(**options)
            if target.dtype.kind == "i":
                compare_reduced(tally, ours, theirs_of(torch.nn.NLLLoss, options, dtype), LogSoftmax(1)(x), target)
            theirs = theirs_of(torch.nn.CrossEntropyLoss, options, dtype)
            compare_reduced(tally, ours, theirs, x, target, before=LogSoftmax(1))
        tally.seen.add((repr(ours), x.shape, target.ndim))

    compare()
    tally.report(at_least=90)


@st.composite
def weights_of(draw, shape, rng):
    """Draw no weights, or weights of a shape that broadcasts to that of the prediction."""
    weight_shape = draw(st.sampled_from([None, (), shape[-1:], shape[1:], (*shape[:1], *[1] * (len(shape) - 1))]))
    return {} if weight_shape is None else rng.uniform(0, 3, weight_shape).tolist()


@pytest.mark.parametrize("kind", ["BCELoss", "BCEWithLogitsLoss"])
def test_binary_cross_entropy(kind):
    tally = Tally()

    @settings(max_examples=150)
    @given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4), SEEDS, REDUCTIONS)
    def compare(data, shape, seed, reduction):
        rng, shape = np.random.default_rng(seed), tuple(shape)
        scale = data.draw(st.sampled_from([1, 5, 300]))
        x, target = scale * rng.normal(size=shape), rng.random(shape)
        if data.draw(st.booleans()):
            target = target.round()
        x.flat[0], target.flat[0] = scale, 0  # a wrong prediction; if all are right, PyTorch's logits lose digits
        options = {"reduction": reduction}
        for name in ("weight", "pos_weight")[: 1 + (kind == "BCEWithLogitsLoss")]:
            weight = data.draw(weights_of(shape, rng))
            options |= {name: weight} if weight != {} else {}
        for dtype in DTYPES:
            prediction = x.astype(dtype)
            if kind == "BCELoss":
                prediction = Sigmoid()(prediction)
            ours = (BCELoss if kind == "BCELoss" else BCEWithLogitsLoss)(**options)
            theirs = theirs_of(getattr(torch.nn, kind), options, dtype)
            compare_reduced(tally, ours, theirs, prediction, target.astype(dtype))
        tally.seen.add((repr(ours), shape))

    compare()
    tally.report(at_least=70)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_binary_cross_entropy_with_smoothing_and_pos_weight(dtype, reduction, smoothing):
    """PyTorch has no label_smoothing: its targets are smoothed before. BCELoss has no pos_weight: logits have."""
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(6, 3)).astype(dtype), rng.integers(0, 2, (6, 3)), np.array([0.5, 2, 4])
    theirs = torch.nn.BCEWithLogitsLoss(pos_weight=tensor(weight.astype(dtype)), reduction=reduction)

    def smoothed(prediction, target):
        return theirs(prediction, target.to(prediction.dtype) * (1 - smoothing) + smoothing / 2)

    options = {"pos_weight": weight, "reduction": reduction, "label_smoothing": smoothing}
    compare_reduced(Tally(), BCEWithLogitsLoss(**options), smoothed, x, y)
    compare_reduced(Tally(), BCELoss(**options), smoothed, x, y, before=Sigmoid())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_binary_cross_entropy_at_0_and_1(dtype, reduction):
    """Logarithms are at least -100, and the denominator of the gradient at least 1e-12."""
    p, y = np.array([[0, 0, 0, 1, 1, 1]], dtype), np.array([[0, 0.5, 1, 0, 0.5, 1]], dtype)
    compare_reduced(Tally(), BCELoss(reduction=reduction), torch.nn.BCELoss(reduction=reduction), p, y)


VALUE_LOSSES = {MSELoss: None, L1Loss: None, HuberLoss: "delta", SmoothL1Loss: "beta"}


@pytest.mark.parametrize("kind", VALUE_LOSSES)
def test_regression_losses(kind):
    tally = Tally()

    @settings(max_examples=100)
    @given(st.lists(st.integers(1, 5), min_size=1, max_size=4), SEEDS, REDUCTIONS, st.sampled_from([0.1, 1.0, 2.5]))
    def compare(shape, seed, reduction, corner):
        options = {"reduction": reduction}
        if VALUE_LOSSES[kind]:
            options[VALUE_LOSSES[kind]] = corner
        x, target = 2 * np.random.default_rng(seed).normal(size=(2, *shape))
        x.flat[0] = target.flat[0]  # a difference of 0
        for dtype in DTYPES:
            ours, theirs = kind(**options), getattr(torch.nn, kind.__name__)(**options)
            compare_reduced(tally, ours, theirs, x.astype(dtype), target.astype(dtype))
        tally.seen.add((repr(ours), tuple(shape)))

    compare()
    tally.report(at_least=30)


def test_smooth_l1_without_a_corner_is_l1():
    x, target = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 1.0])
    compare_reduced(Tally(), SmoothL1Loss(beta=0), torch.nn.SmoothL1Loss(beta=0), x, target)


POSITIVE = np.array([0.5, 2, 4])
WEIGHTED = {
    "cross-entropy": (
        lambda **options: CrossEntropyLoss(from_logits=True, weight=POSITIVE, ignore_index=1, **options),
        lambda w, **options: torch.nn.CrossEntropyLoss(weight=w, ignore_index=1, **options),
    ),
    "logits of labels": (
        lambda **options: BCEWithLogitsLoss(pos_weight=POSITIVE, **options),
        lambda w, **options: torch.nn.BCEWithLogitsLoss(pos_weight=w, **options),
    ),
    "numbers": (lambda **options: MSELoss(**options), lambda w, **options: torch.nn.MSELoss(**options)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", WEIGHTED)
def test_sample_weights(kind, reduction, dtype):
    """PyTorch's losses without reduction, times the weights; a mean divides by the weights of all that counts."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(8, 3)).astype(dtype), rng.uniform(0, 2, 8)
    y = rng.integers(0, 3, 8) if kind == "cross-entropy" else rng.integers(0, 2, (8, 3)).astype(dtype)
    ours, theirs = WEIGHTED[kind]
    weighted = SampleWeighted(ours(reduction=reduction))
    weighted.sample_weight = weight
    each = theirs(tensor(POSITIVE.astype(dtype)), reduction="none")
    divisor = (weight * POSITIVE[y])[y != 1].sum() if kind == "cross-entropy" else 3 * weight.sum()

    def composed(prediction, target):
        losses = each(prediction, target)
        total = (losses * tensor(weight.astype(dtype)).reshape(-1, *[1] * (losses.ndim - 1))).sum()
        return total / divisor if reduction == "mean" else total

    compare_losses(Tally(), weighted, composed, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_class_weights(dtype):
    """They are PyTorch's weight= and pos_weight=; "balanced" is scikit-learn's formula, n / (K count)."""
    rng = np.random.default_rng(1)
    x, ids, labels = rng.normal(size=(20, 3)).astype(dtype), rng.integers(0, 3, 20), rng.integers(0, 2, (20, 3))
    balanced = class_weighted(CrossEntropyLoss(from_logits=True), "balanced", ids, x.shape)
    weight = tensor((20 / (3 * np.bincount(ids))).astype(dtype))
    compare_losses(Tally(), balanced, torch.nn.CrossEntropyLoss(weight=weight), x, ids)
    balanced = class_weighted(BCEWithLogitsLoss(), "balanced", labels, x.shape)
    yes = labels.sum(axis=0)
    weight, pos_weight = tensor((10 / (20 - yes)).astype(dtype)), tensor(((20 - yes) / yes).astype(dtype))
    theirs = torch.nn.BCEWithLogitsLoss(weight=weight, pos_weight=pos_weight)
    compare_losses(Tally(), balanced, theirs, x, labels.astype(dtype))
