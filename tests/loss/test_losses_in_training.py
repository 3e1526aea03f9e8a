"""Losses in the rest of the library: the fused path with Softmax, accuracies, predictions, pairs of last layer and loss."""

import numpy as np
import pytest

import cnn
from cnn import InputError, Sequential, ShapeError, training
from cnn.data import DataLoader
from cnn.layers import Conv2d, Flatten, Linear, LogSoftmax, MaxPool2d, ReLU, Sigmoid, Softmax, Tanh
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
from cnn.loss.loss_func import LossFunc
from cnn.module import Module
from cnn.optim import Adam
from cnn.training.train_step import train_step
from cnn.utils.gradcheck import difference

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(6, 1, 4, 5))
PIXEL_LABELS = RNG.integers(0, 3, (6, 4, 5))
PIXEL_LABELS[0] = PIXEL_LABELS[3, 1:] = 9
LABELS = np.array([0, 1, 9, 2, 1, 9])
OPTIONS = [
    {},
    {"weight": (1.0, 2.0, 0.5)},
    {"label_smoothing": 0.2},
    {"reduction": "sum"},
    {"weight": (3, 2, 1), "label_smoothing": 0.1, "reduction": "sum"},
]


def classifier(loss_func, *last):
    layers = [Conv2d(1, 2, 3, rng=0), Flatten(), Linear(12, 3, rng=1), *last]
    return Sequential(layers, loss_func=loss_func, optimizer=Adam(lr=0.01)).to(np.float64)


def segmenter(loss_func, *last):
    return Sequential([Conv2d(1, 3, 3, padding=1, rng=0), *last], loss_func=loss_func, optimizer=Adam(lr=0.1)).to(
        np.float64
    )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("make", "y"), [(classifier, LABELS), (segmenter, PIXEL_LABELS)])
def test_four_ways_to_the_same_gradients(make, y, options):
    """Softmax fused with the loss, called by hand, left out, and as LogSoftmax."""
    options = {**options, "ignore_index": 9}
    fused = make(CrossEntropyLoss(**options), Softmax(dim=1))
    loss, prediction = fused.loss_and_grad(IMAGES, y)
    others = [make(CrossEntropyLoss(**options), Softmax(dim=1)), make(CrossEntropyLoss(True, **options))]
    if "label_smoothing" not in options:
        others.append(make(NLLLoss(**options), LogSoftmax(dim=1)))
    for other in others:
        assert other.loss_func(other(IMAGES), y) == pytest.approx(loss, rel=1e-12)
        other.backward(other.loss_func.backward())
        for p, q in zip(fused.parameters(), other.parameters(), strict=True):
            assert difference(p.grad, q.grad) <= 1e-12
        assert difference(other.predict_proba(IMAGES), prediction) <= 1e-14
        np.testing.assert_array_equal(other.predict(IMAGES), prediction.argmax(axis=1))
    assert fused.evaluate(IMAGES, y)[0] == pytest.approx(loss / (6 if "reduction" in options else 1), rel=1e-12)


def test_softmax_along_the_last_axis_of_images_is_rejected():
    """Both the fused formula and the loss use axis 1."""
    model = segmenter(CrossEntropyLoss(), Softmax())
    for call in (model.fit, model.evaluate, model.loss_and_grad):
        with pytest.raises(ShapeError, match=r"layer 1, Softmax\(\), works along axis 3.*use Softmax\(dim=1\)"):
            call(IMAGES, np.zeros((6, 4, 5), int))


@pytest.mark.parametrize("dim", [1, -3])
def test_a_softmax_along_the_classes_is_fused_with_the_loss_for_positive_and_negative_dim(dim):
    """With a logit 200 lower, a probability is 0 in float32: without the fused formula the loss would be wrong."""
    x = np.full((2, 1, 3, 4), 200, np.float32)
    net = Conv2d(1, 2, 1, rng=0)
    net.weight.data = np.array([1, 0], np.float32).reshape(2, 1, 1, 1)
    net.bias.data = np.zeros(2, np.float32)
    model = Sequential([net, Softmax(dim=dim)], loss_func=CrossEntropyLoss(), optimizer=Adam())
    loss, prediction = model.loss_and_grad(x, np.ones((2, 3, 4), int))
    assert loss == 200
    np.testing.assert_array_equal(prediction[:, 1], np.zeros((2, 3, 4)))
    np.testing.assert_allclose(net.bias.grad, [1, -1], rtol=1e-6)
    assert model.evaluate(x, np.ones((2, 3, 4), int)) == (200, 0)


def test_softmax_along_the_batch_is_rejected():
    model = segmenter(CrossEntropyLoss(), Softmax(dim=0))
    for call in (model.fit, model.evaluate, model.loss_and_grad):
        with pytest.raises(ShapeError, match=r"layer 1, Softmax\(dim=0\), works along axis 0.*use Softmax\(dim=1\)"):
            call(IMAGES, np.zeros((6, 4, 5), int))


def test_a_segmentation_net_learns():
    """The class of a pixel is the sign of its value; a third of the pixels have no label."""
    x = RNG.normal(size=(20, 1, 6, 6))
    y = (x[:, 0] > 0).astype(np.uint8)
    truth = y.copy()
    y[RNG.random(y.shape) < 0.3] = 255
    layers = [Conv2d(1, 2, 1, rng=0), Softmax(dim=1)]
    model = Sequential(layers, loss_func=CrossEntropyLoss(ignore_index=255), optimizer=Adam(lr=0.1))
    history = model.fit(x, y, validation_data=(x, truth), epochs=30, batch_size=4, verbose_freq=0, rng=0)
    assert history.train_accuracy[-1] > 0.97
    assert (model.predict(x) == truth).mean() == pytest.approx(history.val_accuracy[-1])
    assert model.predict_proba(x).shape == (20, 2, 6, 6)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("make", "y"), [(classifier, LABELS), (segmenter, PIXEL_LABELS)])
def test_metrics_do_not_depend_on_the_batch_size(make, y, options):
    """A batch is weighted by its number of targets that are not ignored, which may be 0."""
    model = make(CrossEntropyLoss(**options, ignore_index=9), Softmax(dim=1))
    loss, accuracy = model.evaluate(IMAGES, y)
    counted = y != 9
    assert accuracy == pytest.approx((model.predict(IMAGES) == y)[counted].mean())
    for batch_size in (1, 2, 4):
        assert model.evaluate(IMAGES, y, batch_size) == pytest.approx((loss, accuracy), rel=1e-12)
    model.optimizer.lr = 0.0
    step = list(training.train(model, IMAGES, y, epochs=1, batch_size=2, rng=0))[-1]
    assert (step.loss, step.accuracy) == pytest.approx((loss, accuracy), rel=1e-12)


def test_if_all_targets_are_ignored_fit_raises_and_a_step_changes_nothing():
    model = classifier(CrossEntropyLoss(ignore_index=9), Softmax())
    for method in (model.fit, model.evaluate):
        with pytest.raises(InputError, match=r"^y: all labels are ignore_index=9, there is nothing to learn from"):
            method(IMAGES, np.full(6, 9))
    before = model.state_dict()
    assert model.train_step(IMAGES, np.full(6, 9)) == 0
    assert all((before[name] == value).all() for name, value in model.state_dict().items())


def test_probabilities_as_targets_of_pixels_have_an_accuracy():
    y = np.where(PIXEL_LABELS == 9, 0, PIXEL_LABELS)
    model = segmenter(CrossEntropyLoss(), Softmax(dim=1))
    one_hot = np.moveaxis(np.eye(3)[y], -1, 1)
    assert model.evaluate(IMAGES, one_hot) == pytest.approx(model.evaluate(IMAGES, y), rel=1e-12)


@pytest.mark.parametrize("call", ["fit", "evaluate", "loss_and_grad", "train_step", "loss_and_prediction"])
@pytest.mark.parametrize("kind", [CrossEntropyLoss, MSELoss])
def test_training_needs_one_number(kind, call):
    last = [Softmax()] if kind is CrossEntropyLoss else []
    model = Sequential([Linear(2, 2), *last], loss_func=kind(reduction="none"), optimizer=Adam())
    x, y = np.zeros((4, 2), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    with pytest.raises(ValueError, match=r"\(reduction='none'\) returns a loss for each.*use reduction=\"mean\" or"):
        getattr(model, call)(x, y)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("loss_func", "last"),
    [(L1Loss, []), (SmoothL1Loss, []), (HuberLoss, [])],
)
def test_regression_losses_train_and_predict_outputs(loss_func, last, reduction):
    cnn.manual_seed(0)
    x = RNG.normal(size=(64, 2))
    y = x[:, :1] - 2 * x[:, 1:]
    model = Sequential([Linear(2, 1), *last], loss_func=loss_func(reduction=reduction), optimizer=Adam(lr=0.05))
    history = model.fit(x, y, validation_data=(x, y), epochs=30, verbose_freq=0, rng=0)
    assert history.val_loss[-1] < history.train_loss[0] / 2
    assert model.evaluate(x, y, 7)[0] == pytest.approx(history.val_loss[-1], rel=1e-5)
    assert np.isnan(history.val_accuracy).all()
    assert model.predict(x).shape == (64, 1)
    with pytest.raises(ValueError, match="has no classes: use predict"):
        model.predict_proba(x)


BINARY = pytest.mark.parametrize(
    ("loss_func", "last"),
    [
        (BCELoss(), [Sigmoid()]),
        (BCELoss(label_smoothing=0.1, reduction="sum"), [Sigmoid()]),
        (BCEWithLogitsLoss(), []),
        (BCEWithLogitsLoss(pos_weight=2, reduction="sum"), []),
    ],
    ids=repr,
)


@BINARY
@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_a_yes_no_net_and_a_net_of_several_labels(loss_func, last, labels, dtype, tmp_path):
    """Accuracy in fit, evaluate and history, predict and predict_proba, also after loading from a file."""
    cnn.manual_seed(0)
    x = RNG.normal(size=(100, 4))
    y = (x[:, :labels] > 0.3).astype(dtype)
    model = Sequential([Linear(4, labels), *last], loss_func=loss_func, optimizer=Adam(lr=0.1))
    history = model.fit(x, y, validation_data=(x, y), epochs=8, verbose_freq=0, rng=0, evaluate_train=True)
    assert history.val_accuracy[-1] > 0.9
    assert history.train_accuracy == history.val_accuracy
    model.save(tmp_path / "model.safetensors")
    for net in (model, Sequential.load(tmp_path / "model.safetensors")):
        outputs, p, decisions = net(x.astype(np.float32)), net.predict_proba(x), net.predict(x)
        np.testing.assert_allclose(p, outputs if last else 1 / (1 + np.exp(-outputs)), rtol=1e-6)
        assert (decisions.dtype, decisions.shape) == (np.int64, (100, labels))
        np.testing.assert_array_equal(decisions, p >= 0.5)
        assert net.evaluate(x, y, 7)[1] == history.val_accuracy[-1] == np.mean(decisions == y)


def test_yes_begins_at_one_half():
    """Soft labels are compared in the same way, so that mixed images have an accuracy too."""
    model = Sequential([Sigmoid()], loss_func=BCELoss())
    x = np.array([[0.0, -0.1], [0.1, 50.0]])
    assert model.predict(x).tolist() == [[1, 0], [1, 1]]
    assert model.evaluate(x, np.array([[1, 0], [1, 1]]))[1] == 1
    assert model.evaluate(x, np.array([[0.5, 0.4], [0.9, 0.2]]))[1] == 0.75


def test_yes_no_for_every_pixel():
    x, y = RNG.normal(size=(5, 1, 6, 7)), RNG.integers(0, 2, (5, 1, 6, 7))
    model = Sequential([Conv2d(1, 1, 3, padding=1, rng=0)], loss_func=BCEWithLogitsLoss())
    assert model.predict(x).shape == model.predict_proba(x).shape == y.shape
    assert model.evaluate(x, y, 2)[1] == np.mean(model.predict(x) == y)


@BINARY
def test_one_output_needs_targets_with_one_column(loss_func, last):
    """PyTorch refuses them as well; broadcasting (N, 1) with (N,) would compare each answer with all targets."""
    model = Sequential([Linear(4, 1), *last], loss_func=loss_func, optimizer=Adam())
    for call in (model.fit, model.evaluate):
        with pytest.raises(ShapeError, match=r"prediction's shape \(6, 1\), got \(6,\): pass y.reshape\(-1, 1\)"):
            call(np.zeros((6, 4), np.float32), np.array([0, 1, 0, 1, 1, 0]))


def test_log_probabilities_are_returned_as_probabilities():
    model = Sequential([Linear(2, 3, rng=0), LogSoftmax()])
    x = RNG.normal(size=(5, 2))
    assert np.abs(model.predict_proba(x).sum(axis=1) - 1).max() < 1e-6
    np.testing.assert_array_equal(model.predict(x), model.predict_proba(x).argmax(axis=1))


LOGITS = CrossEntropyLoss(from_logits=True, weight=[1, 2])


@pytest.mark.parametrize(
    ("last", "loss_func", "reads", "fix"),
    [
        (
            Linear(2, 2),
            NLLLoss(),
            "log-prob",
            "add LogSoftmax(dim=1) at the end, or use CrossEntropyLoss(from_logits=True)",
        ),
        (Softmax(), NLLLoss(), "log-prob", "put LogSoftmax(dim=1) in its place, or use CrossEntropyLoss()"),
        (LogSoftmax(), CrossEntropyLoss(), "probabilities", "put Softmax() in its place, or use NLLLoss()"),
        (Sigmoid(), CrossEntropyLoss(), "probabilities", "put Softmax() in its place, or use BCELoss()"),
        (
            Tanh(),
            CrossEntropyLoss(weight=[1, 2]),
            "probabilities",
            "add Softmax() at the end, or use CrossEntropyLoss(from",
        ),
        (MaxPool2d(2), CrossEntropyLoss(), "probabilities", "add Softmax() at the end"),
        (Linear(2, 2), BCELoss(), "probabilities", "add Sigmoid() at the end, or use BCEWithLogitsLoss()"),
        (ReLU(), BCELoss(), "probabilities", "add Sigmoid() at the end"),
        (LogSoftmax(), BCELoss(), "probabilities", "put Sigmoid() in its place, or use NLLLoss()"),
        (Sigmoid(), BCEWithLogitsLoss(), "logits", "remove the Sigmoid, or use BCELoss()"),
        (Softmax(), BCEWithLogitsLoss(), "logits", "remove the Softmax, or use CrossEntropyLoss()"),
        (Sigmoid(), LOGITS, "logits", "remove the Sigmoid, or use BCELoss()"),
        (Softmax(), LOGITS, "logits", "remove the Softmax, or use CrossEntropyLoss()"),
    ],
)
def test_a_rejected_pair_of_last_layer_and_loss_names_the_fix(last, loss_func, reads, fix):
    for layers, name in (([last], "0"), ([Sequential([last])], "0.0")):
        with pytest.raises(ValueError, match="reads") as caught:
            Sequential(layers, loss_func=loss_func)
        text = str(caught.value)
        assert f"reads {reads}" in text
        assert f"layer {name}, {last!r}, gives" in text
        assert fix in text


@pytest.mark.parametrize(
    ("last", "loss_func"),
    [
        (LogSoftmax(), NLLLoss()),
        (Sigmoid(), BCELoss()),
        (Softmax(), BCELoss()),
        (MaxPool2d(2), BCELoss()),
        (Linear(2, 2), BCEWithLogitsLoss()),
        (Tanh(), LOGITS),
        (Sigmoid(), MSELoss()),
        (LogSoftmax(), LOGITS),
    ],
)
def test_valid_pairs_of_last_layer_and_loss(last, loss_func):
    assert Sequential([last], loss_func=loss_func).loss_func is loss_func


class Distance(LossFunc):
    """A user's loss: the mean of |prediction - target|, whose gradient is passed through a function."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, prediction, target):
        self.save_for_backward(np.sign(prediction - target).astype(np.float32))
        return float(np.abs(prediction - target).mean())

    def backward(self):
        (slope,) = self.saved()
        return self.change(slope / slope.dtype.type(slope.size))


class Wrapped(Module):
    """A Module that is no Sequential."""

    def __init__(self, loss_func):
        self.layer, self.loss_func = Linear(4, 2, rng=0), loss_func
        self.optimizer = Adam(self.parameters())

    def forward(self, x):
        return self.layer(x)

    def backward(self, grad):
        return self.layer.backward(grad)


def in_a_sequential(loss_func):
    return Sequential([Sequential([Linear(4, 2, rng=0)])], loss_func=loss_func, optimizer=Adam())


X, Y = RNG.normal(size=(6, 4)).astype(np.float32), np.zeros((6, 2), np.float32)
TRAIN = {
    "fit": lambda model: training.fit(model, X, Y, 0, epochs=1),
    "loader": lambda model: training.fit(model, DataLoader(X, Y), None, 0, epochs=1),
    "train_step": lambda model: train_step(model, X, Y),
}
WRONG_GRADIENTS = {
    "float64": (lambda grad: grad.astype(np.float64), r"got float64 of shape \(6, 2\): return grad.astype\(\"float32"),
    "shape": (lambda grad: grad.mean(axis=1), r"got float32 of shape \(6,\)$"),
    "transposed": (lambda grad: grad.T, r"got float32 of shape \(2, 6\)$"),
    "integers": (lambda grad: grad.astype(np.int64), r"got int64 of shape \(6, 2\)$"),
    "None": (lambda grad: None, "got NoneType$"),
    "number": (lambda grad: np.float64(1), "got float64$"),
}


@pytest.mark.parametrize("make", [in_a_sequential, Wrapped])
@pytest.mark.parametrize("route", TRAIN)
@pytest.mark.parametrize("wrong", WRONG_GRADIENTS)
def test_a_wrong_gradient_of_a_loss_names_the_loss(wrong, route, make):
    change, got = WRONG_GRADIENTS[wrong]
    model = make(Distance(change))
    before = model.state_dict()
    expected = r"^Distance.backward must return the gradient of the prediction, float32 of shape \(6, 2\), "
    with pytest.raises(InputError, match=expected + got):
        TRAIN[route](model)
    assert all(np.array_equal(values, before[name]) for name, values in model.state_dict().items())


def test_a_wrong_gradient_in_a_loop_written_by_hand_names_the_loss():
    model = in_a_sequential(Distance(WRONG_GRADIENTS["float64"][0]))
    model.loss_func(model(X), Y)
    with pytest.raises(
        InputError, match=r"^layer 0.0, Linear.*got float64 .*; if Distance.* made this gradient, change"
    ):
        model.backward(model.loss_func.backward())


def test_the_gradient_of_a_layer_is_not_blamed_on_the_loss():
    class Wrong(ReLU):
        def backward(self, grad):
            return super().backward(grad).astype(np.float64)

    model = Sequential([Linear(4, 2, rng=0), Wrong()], loss_func=MSELoss(), optimizer=Adam())
    with pytest.raises(InputError, match=r"^layer 0, Linear.*backward of layer 1, Wrong\(\), made this gradient$"):
        model.train_step(X, Y)
    model = Sequential([Sequential([Linear(4, 2, rng=0), Wrong()])], loss_func=MSELoss(), optimizer=Adam())
    with pytest.raises(InputError, match=r"^layer 0.0, Linear.*backward of layer 1, Wrong\(\), made this gradient$"):
        model.train_step(X, Y)


def test_a_right_gradient_of_a_user_loss_trains():
    for make in (in_a_sequential, Wrapped):
        history = training.fit(make(Distance(lambda grad: grad)), X, Y, 0, epochs=9)
        assert history.train_loss[-1] < history.train_loss[0]
