import numpy as np
import pytest

import cnn
from cnn import InputError, Sequential, ShapeError
from cnn.layers import Conv2d, Dropout, Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.utils.gradcheck import difference, numeric_gradient

X = np.random.default_rng(0).normal(size=(4, 3))
IDS = np.array([2, 0, 1, 2])
SOFT = np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 0.5, 0.5], [0.125, 0.125, 0.75]])


def test_by_hand():
    """The mean over the batch: minus the mean of log p of the true class."""
    p = np.array([[0.25, 0.75], [0.5, 0.5]])
    loss_func = CrossEntropyLoss()
    assert np.isclose(loss_func(p, np.array([1, 0])), -(np.log(0.75) + np.log(0.5)) / 2)
    np.testing.assert_allclose(loss_func.backward(), [[0, -1 / 0.75 / 2], [-1 / 0.5 / 2, 0]])


@pytest.mark.parametrize("target", [IDS, SOFT], ids=["ids", "probabilities"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_numeric_gradient(from_logits, target):
    x = X.copy() if from_logits else Softmax()(X)
    loss_func = CrossEntropyLoss(from_logits)
    loss_func(x, target)
    grad = loss_func.backward()
    if not from_logits:  # the perturbed rows sum to one only within the tolerance of 1e-5
        assert abs(x.sum(axis=1) - 1).max() < 1e-15
    assert difference(grad, numeric_gradient(lambda: CrossEntropyLoss(from_logits)(x, target), x)) <= 1e-6


def test_from_logits_is_softmax_then_loss():
    for target in (IDS, SOFT):
        softmax, separate, joint = Softmax(), CrossEntropyLoss(), CrossEntropyLoss(from_logits=True)
        assert np.isclose(separate(softmax(X), target), joint(X, target), rtol=1e-14)
        assert difference(softmax.backward(separate.backward()), joint.backward()) <= 1e-13


def test_ids_are_one_hot_probabilities():
    loss_func, one_hot = CrossEntropyLoss(from_logits=True), np.eye(3)[IDS]
    expected = loss_func(X, IDS)
    for target in (one_hot, one_hot.astype(np.float32), one_hot.astype(np.int64), one_hot.tolist(), IDS.tolist()):
        assert loss_func(X, target) == expected


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_large_logits_stay_finite_in_float32(scale):
    loss_func = CrossEntropyLoss(from_logits=True)
    x = scale * np.array([[1, 0, -1], [-1, 1, 0]], np.float32)
    assert np.isclose(loss_func(x, np.array([2, 1])), scale)
    np.testing.assert_array_equal(loss_func.backward(), [[0.5, 0, -0.5], [0, 0, 0]])


def test_a_probability_of_zero_stays_finite():
    for dtype in (np.float32, np.float64):
        loss_func = CrossEntropyLoss()
        assert 80 < loss_func(np.array([[1, 0]], dtype), np.array([1])) < 1000
        assert np.isfinite(loss_func.backward()).all()


def test_dtype_is_kept_and_the_inputs_are_not_changed():
    for from_logits in (False, True):
        x = Softmax()(X.astype(np.float32))
        x.flags.writeable = False
        loss_func = CrossEntropyLoss(from_logits)
        for target in (IDS, SOFT):
            target = target.copy()
            target.flags.writeable = False
            assert type(loss_func(x, target)) is float
            assert loss_func.backward().dtype == np.float32


def test_each_backward_needs_a_forward():
    """A second backward raises, and inside no_grad nothing is saved."""
    loss_func = CrossEntropyLoss(from_logits=True)
    loss_func(X, IDS)
    loss_func.backward()
    assert loss_func._saved is None
    with pytest.raises(RuntimeError, match=r"CrossEntropyLoss\.backward has nothing saved"):
        loss_func.backward()
    with cnn.no_grad():
        loss_func(X, IDS)
    assert loss_func._saved is None


def fused_and_by_hand(make, x, y):
    """Train the same model with loss_and_grad and with a loop written by hand."""
    fused, by_hand = make(), make()
    loss, prediction = fused.loss_and_grad(x, y)
    p = by_hand(x)
    loss_by_hand = by_hand.loss_func(p, y)
    by_hand.backward(by_hand.loss_func.backward())
    assert difference(prediction, p) <= 1e-12
    assert abs(loss - loss_by_hand) <= 1e-12
    return fused, by_hand


@pytest.mark.parametrize("target", [IDS, SOFT], ids=["ids", "probabilities"])
def test_the_loop_written_by_hand_gives_the_fused_gradients(target):
    def make():
        layers = [
            Conv2d(1, 2, 3, rng=0),
            ReLU(),
            Flatten(),
            Dropout(0.3, rng=1),
            Linear(18, 5, rng=2),
            ReLU(),
            Linear(5, 3, rng=3),
            Softmax(),
        ]
        return Sequential(layers, loss_func=CrossEntropyLoss()).to(np.float64)

    fused, by_hand = fused_and_by_hand(make, np.random.default_rng(0).normal(size=(4, 1, 5, 5)), target)
    for p, q in zip(fused.parameters(), by_hand.parameters(), strict=True):
        assert difference(p.grad, q.grad) <= 1e-10


def test_the_fused_loss_keeps_the_precision_that_the_separate_one_loses():
    """The probability of the true class underflows to 0, but the loss is finite."""
    model = Sequential([Linear(1, 2, rng=0), Softmax()], loss_func=CrossEntropyLoss())
    model.layers[0].weight.data = [[1000], [-1000]]
    model.layers[0].bias.data = [0, 0]
    loss, prediction = model.loss_and_grad(np.ones((1, 1), np.float32), np.array([1]))
    assert loss == 2000
    np.testing.assert_array_equal(prediction, [[1, 0]])
    np.testing.assert_array_equal(model.layers[0].bias.grad, [1, -1])


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.array([0, 1, 2, 3]), InputError, "between 0 and 2.*got 0 to 3: give the last Linear 4 out_features"),
        (np.array([1, 2, 3, 3]), InputError, "number the classes from 0"),
        (np.array([-1, 0, 1, 2]), InputError, "got -1 to 2: number the classes from 0"),
        (np.array([0.0, 1, 2, 0]), InputError, r"pass y.astype\(np.int64\)"),
        (np.array([0.5, 1, 2, 0]), InputError, "fractional float64: for real-valued targets use MSELoss"),
        (np.array([0, 1, 2]), ShapeError, "4 samples need 4 labels, got 3"),
        (np.array(1), ShapeError, "got a single number"),
        (np.array(["a", "b", "c", "a"]), InputError, "np.unique"),
        (np.array([True, False, True, True]), InputError, "labels must be integers"),
        (np.array([[0], [1], [2], [0]]), ShapeError, r"pass y.ravel\(\)"),
        (np.eye(4), ShapeError, "for one-hot rows the model needs 4 outputs"),
        (np.full((4, 3), 0.5), InputError, "sum to 1"),
        (np.array([[2, -1, 0]] * 4), InputError, "sum to 1"),
        (np.full((4, 3), np.nan), InputError, "sum to 1"),
    ],
)
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_wrong_target_names_the_fix(target, error, message, from_logits):
    with pytest.raises(error, match=message):
        CrossEntropyLoss(from_logits)(Softmax()(X), target)


@pytest.mark.parametrize(
    ("prediction", "error", "message"),
    [
        (X, InputError, r"row 0 holds.*end the model with Softmax\(\), or use CrossEntropyLoss\(from_logits=True\)"),
        (np.full((4, 3), 0.4), InputError, "with sum 1.2"),
        (np.full((4, 3), np.nan), InputError, "reads probabilities"),
        (np.ones(4), ShapeError, r"expects predictions \(N, K\) or \(N, K, d1, ...\) of K classes, got \(4,\)"),
        (np.ones((4, 3, 2)), ShapeError, "for one class per sample, flatten before the last Linear"),
        (np.ones((0, 3)), InputError, "the mean over no samples is undefined"),
        (np.ones((4, 3), np.int64), InputError, "astype"),
    ],
)
def test_a_wrong_prediction_names_the_fix(prediction, error, message):
    with pytest.raises(error, match=message):
        CrossEntropyLoss()(prediction, IDS)


@pytest.mark.parametrize("container", [lambda layers: layers, lambda layers: [Sequential(layers)]])
def test_softmax_and_loss_must_fit(container):
    with pytest.raises(ValueError, match=r"layer (0\.)?1, Softmax.*remove the Softmax, or use CrossEntropyLoss\(\)"):
        Sequential(container([Linear(2, 3), Softmax()]), loss_func=CrossEntropyLoss(from_logits=True))
    with pytest.raises(ValueError, match=r"layer (0\.)?0, Linear.*add Softmax\(\) at the end, or use"):
        Sequential(container([Linear(2, 3)]), loss_func=CrossEntropyLoss())
    Sequential(container([Linear(2, 3)]), loss_func=CrossEntropyLoss(from_logits=True))
    Sequential(container([Linear(2, 3), Softmax()]), loss_func=CrossEntropyLoss())
