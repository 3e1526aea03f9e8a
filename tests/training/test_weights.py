"""class_weight and sample_weight in fit and evaluate: the numbers, the order of the samples, resume, and refusals."""

import numpy as np
import pytest

import cnn
from cnn import InputError, Sequential, ShapeError
from cnn.data import DataLoader
from cnn.errors import CheckpointError
from cnn.layers import BatchNorm1d, Conv2d, Linear, LogSoftmax, ReLU, Sigmoid, Softmax
from cnn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, NLLLoss
from cnn.module import Module
from cnn.optim import SGD, Adam
from cnn.training import Checkpoint, EarlyStopping, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
IDS = RNG.integers(0, 3, 30)
LABELS = RNG.integers(0, 2, (30, 3))
WEIGHT = RNG.integers(0, 4, 30)
REPEATED = np.repeat(np.arange(30), WEIGHT)
KINDS = {
    "Softmax": (CrossEntropyLoss, [Softmax()], IDS),
    "logits": (lambda **options: CrossEntropyLoss(from_logits=True, **options), [], IDS),
    "LogSoftmax": (NLLLoss, [LogSoftmax()], IDS),
    "one-hot": (CrossEntropyLoss, [Softmax()], np.eye(3)[IDS]),
    "labels": (BCELoss, [Sigmoid()], LABELS),
    "labels from logits": (BCEWithLogitsLoss, [], LABELS),
    "numbers": (MSELoss, [], RNG.normal(size=(30, 3))),
}
EACH = pytest.mark.parametrize("kind", KINDS)
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum"])


def make(kind, optimizer=None, **options):
    loss_func, last, y = KINDS[kind]
    layers = [Linear(4, 8, rng=0), ReLU(), Linear(8, 3, rng=1), *last]
    return Sequential(layers, loss_func=loss_func(**options), optimizer=optimizer or SGD(lr=0.1)).to(np.float64), y


@EACH
@REDUCTIONS
def test_evaluate_counts_a_sample_of_weight_2_like_two(kind, reduction):
    model, y = make(kind, reduction=reduction)
    expected = model.evaluate(X[REPEATED], y[REPEATED])
    np.testing.assert_allclose(model.evaluate(X, y, 7, sample_weight=WEIGHT), expected, rtol=1e-12)
    assert np.isnan(expected[1]) == (kind == "numbers")
    assert model.evaluate(X, y, sample_weight=np.ones(30)) == pytest.approx(model.evaluate(X, y), nan_ok=True)


@EACH
@REDUCTIONS
def test_fit_counts_a_sample_of_weight_2_like_two(kind, reduction):
    """One batch of all samples: the order does not matter."""
    weighted, y = make(kind, reduction=reduction)
    repeated, _ = make(kind, reduction=reduction)
    settings = {"epochs": 3, "verbose_freq": 0, "rng": 0}
    ours = weighted.fit(X, y, batch_size=30, sample_weight=WEIGHT, validation_data=(X, y), **settings)
    theirs = repeated.fit(X[REPEATED], y[REPEATED], batch_size=100, validation_data=(X, y), **settings)
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)
    for p, q in zip(weighted.parameters(), repeated.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9)


@EACH
@REDUCTIONS
def test_weights_are_shuffled_with_the_samples_and_measured_in_the_same_way(kind, reduction):
    """With a learning rate of 0, the running means of an epoch of small batches are those of `evaluate`."""
    model, y = make(kind, SGD(lr=0), reduction=reduction)
    for evaluate_train in (False, True):
        history = model.fit(
            *(X, y), epochs=2, batch_size=4, verbose_freq=0, rng=0, sample_weight=WEIGHT, evaluate_train=evaluate_train
        )
        expected = model.evaluate(X, y, sample_weight=WEIGHT)
        for loss, accuracy in zip(history.train_loss, history.train_accuracy, strict=True):
            np.testing.assert_allclose((loss, accuracy), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "numbers"])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 0.5, 1: 4}])
def test_class_weight_is_the_weight_of_the_loss_in_training_only(kind, class_weight):
    model, y = make(kind)
    binary = kind.startswith("labels")
    if class_weight == "balanced":
        counts = np.stack([30 - LABELS.sum(0), LABELS.sum(0)]) if binary else np.bincount(IDS)
        weights = 30 / (len(counts) * counts)
    else:
        weights = np.array([0.5, 4] if binary else [0.5, 4, 1])
    options = {"weight": weights[0], "pos_weight": weights[1] / weights[0]} if binary else {"weight": weights}
    other, _ = make(kind, **options)
    settings = {"epochs": 3, "batch_size": 8, "verbose_freq": 0, "rng": 0, "validation_data": (X, y)}
    ours = model.fit(X, y, class_weight=class_weight, **settings)
    theirs = other.fit(X, y, **settings)
    np.testing.assert_allclose(ours.train_loss, theirs.train_loss, rtol=1e-12)
    assert ours.train_accuracy == theirs.train_accuracy
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12)
    assert model.loss_func.weight is None
    assert ours.val_loss[-1] == model.evaluate(X, y)[0] != pytest.approx(theirs.val_loss[-1])


def test_both_for_every_pixel_and_with_ignored_targets():
    """The loss of PyTorch's weight= for the pixels of two copies of a sample of weight 2."""
    x, y = RNG.normal(size=(6, 1, 4, 5)), RNG.integers(0, 3, (6, 4, 5))
    y[0], y[1, :2] = 9, 9
    weight = np.array([1, 2, 0, 3, 1, 1])
    numbers = np.repeat(np.arange(6), weight)

    def net(**options):
        layers = [Conv2d(1, 3, 3, padding=1, rng=0), Softmax(dim=1)]
        loss_func = CrossEntropyLoss(ignore_index=9, label_smoothing=0.1, **options)
        return Sequential(layers, loss_func=loss_func, optimizer=SGD(lr=0.1)).to(np.float64)

    settings = {"epochs": 2, "batch_size": 8, "verbose_freq": 0, "rng": 0}
    ours = net().fit(x, y, class_weight={0: 2, 2: 0.5}, sample_weight=weight, **settings)
    theirs = net(weight=(2, 1, 0.5)).fit(x[numbers], y[numbers], **settings)
    np.testing.assert_allclose(ours.train_loss, theirs.train_loss, rtol=1e-12)
    np.testing.assert_allclose(ours.train_accuracy, theirs.train_accuracy, rtol=1e-12)


def test_a_batch_without_weight_changes_nothing_and_does_not_stop_training():
    model, y = make("Softmax")
    before = [p.data.copy() for p in model.parameters()]
    weight = np.zeros(30)
    weight[3] = 2
    steps = list(train(model, X, y, epochs=1, batch_size=1, rng=0, sample_weight=weight))
    assert len(steps) == 30
    assert any((p.data != q).any() for p, q in zip(model.parameters(), before, strict=True))
    assert np.isfinite(steps[-1].loss)


class Net(Module):
    """A module that is not a Sequential."""

    def __init__(self):
        self.linear, self.loss_func, self.optimizer = Linear(4, 3, rng=0), CrossEntropyLoss(from_logits=True), SGD(lr=0)

    def forward(self, x):
        return self.linear(x)

    def backward(self, grad):
        return self.linear.backward(grad)


def test_any_module_takes_weights():
    steps = list(train(Net(), X, IDS, epochs=1, batch_size=7, rng=0, sample_weight=WEIGHT, class_weight="balanced"))
    weights = 30 / (3 * np.bincount(IDS))
    losses = CrossEntropyLoss(True, reduction="none")(Net()(X), IDS)
    assert steps[-1].loss == pytest.approx(np.average(losses, weights=WEIGHT * weights[IDS]), rel=1e-6)


class Own(Sequential):
    """A model with its own loss_and_grad, which takes no loss."""

    def loss_and_grad(self, x, y):
        return super().loss_and_grad(x, y)


class OwnEvaluation(Sequential):
    def loss_and_prediction(self, x, y):
        return super().loss_and_prediction(x, y)


class OwnWithLoss(Sequential):
    def loss_and_grad(self, x, y, loss_func=None):
        loss, outputs = super().loss_and_grad(x, y, loss_func)
        return 2 * loss, outputs


def test_a_models_own_loss_and_grad_takes_the_weighted_loss_or_is_refused():
    layers = [Linear(4, 3, rng=0), Softmax()]
    with pytest.raises(
        InputError, match=r"Own.loss_and_grad takes none: define it as loss_and_grad\(self, x, y, loss_"
    ):
        Own(layers, CrossEntropyLoss(), SGD(lr=0)).fit(X, IDS, sample_weight=WEIGHT)
    model = OwnEvaluation(layers, CrossEntropyLoss(), SGD(lr=0))
    for call in (model.fit, model.evaluate):
        with pytest.raises(InputError, match=r"OwnEvaluation.loss_and_prediction takes none"):
            call(X, IDS, sample_weight=WEIGHT)
    model = OwnWithLoss(layers, CrossEntropyLoss(), SGD(lr=0))
    history = model.fit(X, IDS, epochs=1, verbose_freq=0, sample_weight=WEIGHT)
    assert history.train_loss[0] == pytest.approx(2 * model.evaluate(X, IDS, sample_weight=WEIGHT)[0], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"sample_weight": WEIGHT[:7]}, ShapeError, r"30 samples need a sample_weight of shape \(30,\), got \(7,\)"),
        (
            {"sample_weight": np.where(np.arange(30) == 3, -1.5, 1)},
            InputError,
            r"finite numbers of at least 0, but sample_weight\[3\] is -1.5, and 1 in all are wrong",
        ),
        (
            {"sample_weight": np.where(np.arange(30) > 7, np.nan, 1)},
            InputError,
            r"sample_weight\[8\] is nan, and 22 in",
        ),
        (
            {"sample_weight": np.full(30, "a")},
            InputError,
            "sample_weight must hold finite numbers of at least 0, got <U1",
        ),
        ({"class_weight": {5: 1}}, InputError, "class_weight must name class ids from 0 to 2, got 5"),
        ({"class_weight": [1, 2, 3]}, InputError, 'class_weight must be "balanced" or a dict'),
    ],
)
def test_wrong_weights_are_refused_before_anything_has_changed(settings, error, match):
    model, y = make("Softmax", Adam(lr=0.1))
    before = model.state_dict()
    with pytest.raises(error, match=match):
        model.fit(X, y, **settings)
    np.testing.assert_equal(model.state_dict(), before)
    assert model.input_shape is None
    if "sample_weight" in settings:
        with pytest.raises(error, match=match):
            model.evaluate(X, y, **settings)


def test_a_loader_has_no_weights_of_samples():
    model, y = make("Softmax")
    with pytest.raises(InputError, match="sample_weight needs x and y as arrays"):
        model.fit(DataLoader(X, y), sample_weight=WEIGHT)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 2, 2: 5.0}])
def test_classes_have_the_same_weights_in_a_loader_as_in_arrays(class_weight):
    """In the training loss, and not in the validation loss."""
    found = []
    for with_loader in (False, True):
        model, y = make("Softmax", Adam(lr=0.1))
        data = (DataLoader(X, y, 8, rng=1),) if with_loader else (X, y)
        settings = {} if with_loader else {"batch_size": 8, "rng": 1}
        settings |= {"class_weight": class_weight, "validation_data": (X, y), "epochs": 3, "verbose_freq": 0}
        history = model.fit(*data, **settings)
        found.append((history.train_loss, history.val_loss, model.state_dict()))
        assert model.loss_func.weight is None
        assert history.val_loss[-1] == model.evaluate(X, y)[0]
    np.testing.assert_equal(found[1], found[0])


def test_wrong_weights_of_classes_in_a_loader_are_refused():
    model, y = make("Softmax")

    class Targets:
        def __len__(self):
            return len(y)

        def __getitem__(self, i):
            return y[i]

    for targets, weight, match in (
        (Targets(), "balanced", r"not an array in memory: give the weights to the loss, CrossEntropyLoss\(weight="),
        (y, {5: 1}, "class_weight must name class ids from 0 to 2, got 5"),
        (y + 7, "balanced", "labels must lie between 0 and 2"),
    ):
        with pytest.raises(InputError, match=match):
            model.fit(DataLoader(X, targets), class_weight=weight)


def run(folder, resume=False, stop=None, sample_weight=WEIGHT, class_weight="balanced"):
    cnn.manual_seed(0)
    model, y = make("Softmax", Adam(lr=0.01))
    weights = {"sample_weight": sample_weight, "class_weight": class_weight}
    steps = train(
        *(model, X, y), epochs=2, batch_size=8, rng=1, callbacks=[Checkpoint(folder, steps=1)],
        resume=folder if resume else None, **weights,
    )  # fmt: skip
    for number, _ in enumerate(steps, 1):
        if number == stop:
            break
    return model


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_resumed_with_the_same_bits(tmp_path, stop):
    expected = run(tmp_path / "whole")
    run(tmp_path / "parts", stop=stop)
    resumed = run(tmp_path / "parts", resume=True)
    np.testing.assert_equal(resumed.state_dict(), expected.state_dict())
    assert resumed.history.train_loss == expected.history.train_loss
    assert resumed.history.train_accuracy == expected.history.train_accuracy


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sample_weight": WEIGHT + 1}, "other values in the targets or sample_weight"),
        ({"sample_weight": None}, "sample_weight was given before: pass the same"),
        ({"class_weight": {0: 2}}, "the loss was SampleWeighted"),
        ({"class_weight": None}, "the loss was SampleWeighted"),
    ],
)
def test_other_weights_are_another_training(tmp_path, settings, match):
    run(tmp_path, stop=2)
    with pytest.raises(CheckpointError, match=match):
        run(tmp_path, resume=True, **settings)


@pytest.mark.parametrize("kind", ["Softmax", "labels", "numbers"])
def test_weights_with_all_other_arguments_of_fit(kind):
    """validation_split cuts the weights with the samples, and "balanced" counts the training targets alone."""
    class_weight = None if kind == "numbers" else "balanced"
    settings = {"epochs": 2, "verbose_freq": 0, "rng": 0, "batch_size": 7, "drop_last": True, "clip_norm": 0.1}
    histories = []
    for split in (True, False):
        model, y = make(kind)
        if split:
            data, weight, validation = (X, y), WEIGHT, {"validation_split": 0.2}
        else:
            data, weight, validation = (X[:24], y[:24]), WEIGHT[:24], {"validation_data": (X[24:], y[24:])}
        fit = model.fit(*data, sample_weight=weight, class_weight=class_weight, **validation, **settings)
        histories.append((fit.train_loss, fit.val_loss, model[0].weight.data.tolist()))
    assert histories[0] == histories[1]


def test_a_metric_can_be_watched_in_a_weighted_training_without_validation_data():
    model, y = make("Softmax")
    history = model.fit(
        X,
        y,
        sample_weight=WEIGHT,
        epochs=2,
        verbose_freq=0,
        rng=0,
        callbacks=[EarlyStopping(2, monitor="train_accuracy")],
    )
    assert len(history.train_accuracy) == 2


@pytest.mark.parametrize(
    ("kind", "y", "settings"),
    [
        ("Softmax", np.zeros(30, int), {"class_weight": {0: 0}}),
        ("logits", np.ones(30, int), {"class_weight": {1: 0, 2: 5}}),
        ("one-hot", np.eye(3)[np.zeros(30, int)], {"class_weight": {0: 0}}),
        ("labels", np.ones((30, 3)), {"class_weight": {1: 0}}),
        ("Softmax", IDS, {"class_weight": {0: 0, 1: 0}, "sample_weight": (IDS < 2).astype(float)}),
        ("Softmax", np.where(IDS == 0, -100, IDS), {"sample_weight": (IDS == 0).astype(float)}),
    ],
)
def test_weights_that_are_0_for_all_targets_are_refused(kind, y, settings):
    model, _ = make(kind)
    before = model.state_dict()
    with pytest.raises(InputError, match="there is nothing to learn from"):
        model.fit(X, y, verbose_freq=0, **settings)
    np.testing.assert_equal(model.state_dict(), before)


@pytest.mark.parametrize("settings", [{"class_weight": "balanced"}, {"sample_weight": WEIGHT}], ids=list)
def test_weights_with_a_norm_without_running_statistics(settings):
    layers = [
        Linear(4, 4, bias=False, rng=0),
        BatchNorm1d(4, track_running_stats=False),
        Linear(4, 3, rng=1),
        Softmax(),
    ]
    model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=SGD(lr=0.1))
    assert len(model.fit(X, IDS, epochs=1, batch_size=15, verbose_freq=0, **settings)) == 1
    if "sample_weight" in settings:
        assert np.isfinite(model.evaluate(X, IDS, **settings)[0])


def test_a_training_without_weights_cannot_be_resumed_with_them(tmp_path):
    run(tmp_path, stop=2, sample_weight=None, class_weight=None)
    with pytest.raises(CheckpointError, match="sample_weight was not given before: leave it out"):
        run(tmp_path, resume=True, class_weight=None)
