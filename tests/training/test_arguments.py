"""Arguments of `fit` and `train`: batches that BatchNorm cannot use, validation_split, drop_last, clip_norm, schedules."""

import numpy as np
import pytest

from cnn import InputError, Sequential, training
from cnn.containers.branches import Residual
from cnn.data import DataLoader
from cnn.layers import (
    AdaptiveAvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool2d,
    Sigmoid,
    Softmax,
    Unflatten,
)
from cnn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from cnn.optim import (
    SGD,
    Adam,
    ChainedScheduler,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
    clip_grad_norm_,
)
from cnn.training import Checkpoint, Scheduled, split
from cnn.utils import train_val
from tests.kernels.backends import needs_numba, using

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(33, 1, 8, 8)).astype(np.float32)
LABELS = np.arange(33) % 3


def classifier(*layers):
    return Sequential([*layers, Softmax()], loss_func=CrossEntropyLoss(), optimizer=SGD(lr=0.1))


NEEDS_MORE = {  # one value per channel of each sample
    "1 x 1 maps": lambda: classifier(
        Conv2d(1, 4, 3, bias=False, rng=0), AdaptiveAvgPool2d(1), BatchNorm2d(4), Flatten(), Linear(4, 3, rng=1)
    ),
    "1 x 1 maps in a residual": lambda: classifier(
        Conv2d(1, 4, 8, bias=False, rng=0),
        Residual(Sequential([Conv2d(4, 4, 1, bias=False, rng=1), BatchNorm2d(4)])),
        *(Flatten(), Linear(4, 3, rng=2)),
    ),
    "features": lambda: classifier(Flatten(), Linear(64, 4, bias=False, rng=0), BatchNorm1d(4), Linear(4, 3, rng=1)),
    "sequences of one": lambda: classifier(
        Flatten(), Linear(64, 4, rng=0), Unflatten(1, (4, 1)), BatchNorm1d(4), Flatten(), Linear(4, 3, rng=1)
    ),
    "without running statistics": lambda: classifier(
        Flatten(), Linear(64, 4, bias=False, rng=0), BatchNorm1d(4, track_running_stats=False), Linear(4, 3, rng=1)
    ),
    "the second norm": lambda: classifier(
        *(Conv2d(1, 4, 3, bias=False, rng=0), BatchNorm2d(4), MaxPool2d(6)),
        *(BatchNorm2d(4), Flatten(), Linear(4, 3, rng=1)),
    ),
}
NEEDS_NO_MORE = {
    "maps": lambda: classifier(
        Conv2d(1, 4, 3, bias=False, rng=0), BatchNorm2d(4), MaxPool2d(6), Flatten(), Linear(4, 3, rng=1)
    ),
    "sequences": lambda: classifier(Flatten(), Unflatten(1, (8, 8)), BatchNorm1d(8), Flatten(), Linear(64, 3, rng=0)),
    "no norm": lambda: classifier(Flatten(), Linear(64, 3, rng=0)),
    "other norms": lambda: classifier(
        *(Conv2d(1, 4, 3, rng=0), GroupNorm(2, 4), Flatten(), Linear(144, 4, rng=0), LayerNorm(4)),
        Linear(4, 3, rng=1),
    ),
}
ROUTES = {  # with the samples and the batch size, and other settings
    "arrays": lambda model, n, b, **s: training.fit(model, IMAGES[:n], LABELS[:n], 0, epochs=1, batch_size=b, **s),
    "train": lambda model, n, b, **s: list(training.train(model, IMAGES[:n], LABELS[:n], epochs=1, batch_size=b, **s)),
    "loader": lambda model, n, b, **s: model.fit(
        DataLoader(IMAGES[:n], LABELS[:n], batch_size=b, **s), epochs=1, verbose_freq=0
    ),
    "loader with transforms": lambda model, n, b, **s: model.fit(
        DataLoader(IMAGES[:n], LABELS[:n], batch_size=b, transforms=[lambda x, y, rng: (x, y)], **s),
        epochs=1,
        verbose_freq=0,
    ),
}


def same_state(model, state):
    return all(np.array_equal(values, state[name]) for name, values in model.state_dict().items())


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("net", NEEDS_MORE)
@pytest.mark.parametrize(
    ("samples", "batch_size", "fix"),
    [(33, 32, "use batch_size=33 or drop_last=True"), (5, 1, "use batch_size=3"), (1, 4, "it needs more samples")],
)
def test_a_batch_of_one_value_per_channel_raises_before_training_starts(samples, batch_size, fix, net, route):
    model = NEEDS_MORE[net]()
    if samples == 1 and net == "without running statistics":  # which cannot even be evaluated
        fix = "larger batches|it needs more samples"
    before = model.state_dict()
    with pytest.raises(InputError, match=f"BatchNorm.*({fix})"):
        ROUTES[route](model, samples, batch_size)
    assert same_state(model, before)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("net", NEEDS_MORE)
def test_drop_last_leaves_it_out(net, route):
    model = NEEDS_MORE[net]()
    before = model.state_dict()
    ROUTES[route](model, 33, 32, drop_last=True)
    assert not same_state(model, before)
    tracked = [norm.num_batches_tracked for norm in model.modules() if getattr(norm, "num_batches_tracked", None)]
    assert all(number.data == 1 for number in tracked)
    with pytest.raises(InputError, match=r"BatchNorm.*cannot train: use batch_size=3$"):
        ROUTES[route](NEEDS_MORE[net](), 5, 1, drop_last=True)


@pytest.mark.parametrize("name", ["reference", "array", pytest.param("jit", marks=needs_numba)])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("net", NEEDS_NO_MORE)
@pytest.mark.parametrize(("samples", "batch_size"), [(33, 32), (5, 1), (1, 4)])
def test_a_batch_of_one_sample_with_more_values_trains(samples, batch_size, net, route, name):
    with using(name):
        model = NEEDS_NO_MORE[net]()
        before = model.state_dict()
        ROUTES[route](model, samples, batch_size)
        assert not same_state(model, before)
        assert all(np.isfinite(values).all() for values in model.state_dict().values())


def test_drop_last_leaves_other_samples_out_in_each_epoch():
    seen = []

    class Spy(Linear):
        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].copy())
            return super().forward(x)

    x = np.stack([np.arange(10.0), np.zeros(10)], axis=1)
    model = classifier(Spy(2, 2))
    steps = list(training.train(model, x, np.zeros(10, int), epochs=3, batch_size=4, rng=0, drop_last=True))
    assert [(step.step, step.steps) for step in steps] == [(1, 2), (2, 2)] * 3
    epochs = [set(np.concatenate(seen[i : i + 2])) for i in (0, 2, 4)]
    assert all(len(epoch) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1]
    with pytest.raises(InputError, match=r"drop_last=True leaves no batch, .*: use batch_size=10 or less"):
        training.train(model, x, np.zeros(10, int), batch_size=11, drop_last=True)
    with pytest.raises(InputError, match="drop_last and rng to it"):
        training.train(model, DataLoader(x, np.zeros(10, int)), drop_last=True)


# validation_split


def regression():
    return Sequential([Linear(2, 1, rng=0)], loss_func=MSELoss(), optimizer=SGD(lr=0.1))


X = RNG.normal(size=(20, 2))
Y = X[:, :1] - X[:, 1:]


@pytest.mark.parametrize(
    ("split", "held"), [(0.25, 5), (0.2, 4), (0.1, 2), (0.3, 6), (0.95, 19), (0.05, 1), (0.55, 11), (0.8, 16)]
)
def test_validation_split_holds_out_the_last_samples_before_shuffling(split, held):
    """As in Keras."""
    model, other = regression(), regression()
    history = model.fit(X, Y, validation_split=split, epochs=3, batch_size=4, verbose_freq=0, rng=0)
    pair = X[-held:], Y[-held:]
    expected = other.fit(X[:-held], Y[:-held], validation_data=pair, epochs=3, batch_size=4, verbose_freq=0, rng=0)
    assert history.val_loss == expected.val_loss
    assert history.train_loss == expected.train_loss
    assert model.evaluate(*pair)[0] == history.val_loss[-1]


def test_validation_split_keeps_the_arrays_and_resumes(tmp_path):
    results = []
    for folder, resume in ((None, None), ("a", None), ("a", tmp_path / "a")):
        model = regression()
        callbacks = [Checkpoint(tmp_path / folder)] if folder else []
        epochs = 2 if folder and resume is None else 4
        settings = {"epochs": epochs, "callbacks": callbacks, "resume": resume, "rng": 0, "verbose_freq": 0}
        history = model.fit(X, Y, validation_split=0.2, clip_norm=0.5, drop_last=True, batch_size=3, **settings)
        results.append((history.val_loss, history.train_loss))
    assert results[0] == results[2]
    for changed, text in (
        ({"validation_split": 0.3}, "the data are not those"),
        ({"clip_norm": None}, "clip_norm was 0.5, but is None now"),
        ({"drop_last": False}, "drop_last"),
    ):
        settings = {"validation_split": 0.2, "clip_norm": 0.5, "drop_last": True, **changed}
        with pytest.raises(ValueError, match=text):
            regression().fit(X, Y, batch_size=3, epochs=5, resume=tmp_path / "a", rng=0, verbose_freq=0, **settings)


SORTED = {  # the labels of 30 samples, and the validation split
    "whole classes": (np.repeat([0, 1, 2], 10), 0.4),
    "a part of a class": (np.repeat([0, 1, 2], 10), 0.1),
    "in blocks": (np.repeat([2, 0, 1], 10), 0.3),
}


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("case", SORTED)
def test_validation_split_of_sorted_labels_is_refused(case, one_hot):
    x, (y, split) = RNG.normal(size=(30, 2)), SORTED[case]
    order = np.random.default_rng(0).permutation(30)
    target = np.eye(3)[y] if one_hot else y
    model = classifier(Linear(2, 3))
    before = model.state_dict()
    with pytest.raises(InputError, match=r"labels are sorted.*permutation\(len\(x\)\); x, y = x\[order\], y\[order\]"):
        model.fit(x, target, validation_split=split, verbose_freq=0)
    assert same_state(model, before)
    model.fit(x[order], target[order], validation_split=split, verbose_freq=0, epochs=1)


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1] * 14 + [2, 2]),  # a rare class, which only shuffling often enough brings into training
        np.zeros(30, int),
        np.array([0, 1, 2] * 7 + [-100] * 9),  # ignored labels are of no class
        np.array([0, 1] * 12 + [2, 0, 2, 2, 2, 1]),
        np.array([0, 1, 0, 2]),
        np.append(np.random.default_rng(0).integers(0, 2, 29), 2),
        np.array([0] * 29 + [1]),
    ],
    ids=["a rare class", "one class", "ignored labels", "mostly new", "four samples", "a last one", "a single one"],
)
def test_validation_split_of_unsorted_labels_trains(y):
    x = RNG.normal(size=(len(y), 2))
    history = classifier(Linear(2, 3)).fit(x, y, validation_split=0.3, verbose_freq=0, epochs=1)
    assert len(history) == 1


@pytest.mark.parametrize("loss_func", [BCEWithLogitsLoss(), BCELoss()], ids=repr)
@pytest.mark.parametrize("labels", [1, 3])
def test_validation_split_of_sorted_yes_and_no_is_refused(labels, loss_func):
    last = [Sigmoid()] if isinstance(loss_func, BCELoss) else []
    model = Sequential([Linear(2, labels, rng=0), *last], loss_func=loss_func, optimizer=SGD(lr=0.1))
    x, y = RNG.normal(size=(30, 2)), np.random.default_rng(1).integers(0, 2, (30, labels))
    model.fit(x, y, validation_split=0.3, verbose_freq=0, epochs=1)
    before = model.state_dict()
    order = np.argsort(y[:, -1], kind="stable")
    with pytest.raises(InputError, match="labels are sorted"):
        model.fit(x, y[order], validation_split=0.3, verbose_freq=0)
    assert same_state(model, before)
    model.fit(x, np.eye(30)[:, :labels], validation_split=0.3, verbose_freq=0, epochs=1)  # each yes is a single one


def test_validation_split_of_masks_looks_at_no_pixel(monkeypatch):
    model = Sequential([Conv2d(1, 2, 1)], loss_func=CrossEntropyLoss(from_logits=True), optimizer=SGD())
    y = np.repeat([0, 1], 4)[:, None, None] * np.ones((8, 4, 4), int)
    monkeypatch.setattr(split, "is_sorted", lambda labels: pytest.fail("masks have no order"))
    assert len(model.fit(np.ones((8, 1, 4, 4)), y, validation_split=0.5, verbose_freq=0, epochs=1)) == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"validation_split": 1.0}, "validation_split must be below 1"),
        ({"validation_split": -0.1}, "validation_split must be a finite number of at least 0"),
        ({"validation_split": "half"}, "validation_split must be"),
        ({"validation_split": 0.99999}, "leaves none for training"),
        ({"validation_split": 0.5, "validation_data": (X, Y)}, "exclude each other"),
        ({"clip_norm": -1}, "clip_norm must be"),
        ({"clip_norm": float("nan")}, "clip_norm must be"),
        ({"clip_norm": 0}, "clip_norm must be a finite number above 0, or None for no limit, got 0"),
        ({"clip_norm": float("inf")}, "clip_norm must be a finite number above 0, or None for no limit, got inf"),
        ({"batch_size": np.ones(9)}, r"got an ndarray of numpy of 9 numbers: .* pass sample_weight="),
        ({"drop_last": 1}, "drop_last must be True or False"),
    ],
)
def test_wrong_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        regression().fit(X, Y, verbose_freq=0, **settings)
    if "validation_split" in settings:
        with pytest.raises(ValueError, match=r"cannot be split|exclude|validation_split must"):
            regression().fit(DataLoader(X, Y), verbose_freq=0, **{"validation_split": 0.5, **settings})


# clip_norm


@pytest.mark.parametrize("make", [lambda: SGD(lr=0.1, momentum=0.9), lambda: Adam(lr=0.1)], ids=["SGD", "Adam"])
@pytest.mark.parametrize("clip_norm", [0.1, 1.0, 1e6, None])
@pytest.mark.parametrize("route", ["arrays", "loader"])
def test_clip_norm_is_clip_grad_norm_between_backward_and_the_step(route, clip_norm, make):
    model, other = regression(), regression()
    model.optimizer, other.optimizer = make(), make()
    if route == "arrays":
        model.fit(X, 9 * Y, epochs=3, batch_size=6, verbose_freq=0, rng=0, clip_norm=clip_norm)
    else:
        model.fit(DataLoader(X, 9 * Y, batch_size=6, rng=0), epochs=3, verbose_freq=0, clip_norm=clip_norm)
    norms = []
    loader = DataLoader(X.astype(np.float32), (9 * Y).astype(np.float32), batch_size=6, rng=0)
    for _ in range(3):
        for x, y in loader:
            other.loss_and_grad(x, y)
            if clip_norm is not None:
                norms.append(clip_grad_norm_(other.parameters(), clip_norm))
            other.optimizer.step()
            other.zero_grad()
    assert same_state(model, other.state_dict())
    assert clip_norm is None or clip_norm > 10 or min(norms) > clip_norm


def test_a_frozen_net_with_a_gradient_that_is_infinite_ends_with_the_last_finite_weights():
    model = regression()
    model.layers[0].weight.data = np.array([[1e30, 0.0]])
    before = model.state_dict()
    with pytest.raises(FloatingPointError):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, verbose_freq=0, clip_norm=1.0)
    assert same_state(model, before)


# schedules

SCHEDULES = {
    "step": (lambda o: StepLR(o, 1, 0.5), {}),
    "cosine": (lambda o: CosineAnnealingLR(o, 4), {}),
    "one cycle": (lambda o: OneCycleLR(o, 0.2, total_steps=20), {"every": "step"}),
    "chained": (lambda o: ChainedScheduler([LinearLR(o, total_iters=2), StepLR(o, 2)]), {}),
    "plateau": (lambda o: ReduceLROnPlateau(o, patience=0, factor=0.5, threshold=0.9), {"monitor": "val_loss"}),
    "plateau of accuracy": (
        lambda o: ReduceLROnPlateau(o, mode="max", patience=0, factor=0.5),
        {"monitor": "val_accuracy"},
    ),
}


def rates(schedule, folder=None, resume=None, epochs=4, wrap=None):
    """Return the learning rate at every step, and the final weights."""
    model = classifier(Linear(2, 3, rng=0))
    callback = schedule(model.optimizer)
    callbacks = [callback if wrap is None else Scheduled(callback, **wrap)]
    callbacks += [Checkpoint(folder)] if folder else []
    y = np.arange(20) % 3
    settings = {"epochs": epochs, "batch_size": 4, "rng": 0, "callbacks": callbacks, "resume": resume}
    found = [model.optimizer.lr for _ in training.train(model, X, y, validation_data=(X, y), **settings)]
    return found, [values.tolist() for values in model.state_dict().values()]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_a_callback(name, tmp_path):
    make, settings = SCHEDULES[name]
    expected = rates(make, wrap=settings)
    assert rates(make) == expected
    assert len(set(expected[0])) > 1
    first, _ = rates(make, folder=tmp_path / "a", epochs=2)
    rest, weights = rates(make, folder=tmp_path / "a", resume=tmp_path / "a")
    assert (first + rest, weights) == expected


def test_a_plateau_watches_training_without_validation_data():
    model = regression()
    plateau = ReduceLROnPlateau(model.optimizer, patience=0, factor=0.5, threshold=0.9)
    history = model.fit(X, Y, epochs=3, verbose_freq=0, callbacks=[plateau])
    assert plateau.best == history.train_loss[0]
    assert model.optimizer.lr < 0.1


def test_a_schedule_of_another_optimizer_is_refused_before_training():
    model, other = regression(), regression()
    before = model.state_dict()
    for callback in (StepLR(other.optimizer, 1), Scheduled(StepLR(other.optimizer, 1))):
        with pytest.raises(ValueError, match="StepLR has another optimizer than the model"):
            training.train(model, X, Y, callbacks=[callback])
    with pytest.raises(TypeError, match=r"StepLR is a class: write StepLR\(\.\.\.\)"):
        training.train(model, X, Y, callbacks=[StepLR])
    with pytest.raises(TypeError, match=r"callbacks=\[\.\.\.\]"):
        training.train(model, X, Y, callbacks=StepLR(model.optimizer, 1))
    assert same_state(model, before)


# one array of samples, one of targets


class Framed:
    """Like a DataFrame of pandas or a tensor of PyTorch: not an ndarray, but it has its shape and becomes one."""

    def __init__(self, array):
        self.array, self.ndim, self.shape = array, array.ndim, array.shape

    def __len__(self):
        return len(self.array)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)

    def __getitem__(self, index):
        return self.array[index]


A, B = RNG.normal(size=(6, 1, 8, 8)).astype(np.float32), RNG.normal(size=(6, 1, 8, 8)).astype(np.float32)
ROWS = RNG.normal(size=(6, 64)).astype(np.float32)
ROW_LABELS = np.arange(6) % 3
IMAGE_NET = {"images": lambda: classifier(Conv2d(1, 2, 3), Flatten(), Linear(72, 3))}
ROW_NET = lambda: classifier(Linear(64, 3))  # noqa: E731
TWO_INPUTS = {
    "list": (lambda: [A, B], IMAGE_NET["images"]),
    "tuple": (lambda: (A, B), IMAGE_NET["images"]),
    "three": (lambda: [A, B, A], IMAGE_NET["images"]),
    "rows": (lambda: [ROWS, ROWS], ROW_NET),
    "rows and images": (lambda: [ROWS, A], ROW_NET),
    "dict": (lambda: {"a": A, "b": B}, IMAGE_NET["images"]),
    "frames": (lambda: [Framed(ROWS), Framed(ROWS)], ROW_NET),
}
CALLS = {
    "fit": lambda m, x, y: m.fit(x, y, verbose_freq=0),
    "train": lambda m, x, y: training.train(m, x, y),
    "train_val": lambda m, x, y: train_val(m, x, y, x, y, verbose_freq=0),
    "evaluate": lambda m, x, y: m.evaluate(x, y),
    "predict": lambda m, x, y: m.predict(x),
    "predict_proba": lambda m, x, y: m.predict_proba(x),
    "a batch of evaluate": lambda m, x, y: m.evaluate(iter([(x, y)])),
    "a batch of predict": lambda m, x, y: m.predict(iter([(x, y)])),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", TWO_INPUTS)
def test_two_inputs_are_refused(kind, call):
    make, net = TWO_INPUTS[kind]
    model = net()
    before = model.state_dict()
    with pytest.raises(InputError, match=r"a model has one input, one array: (join|these) inputs"):
        CALLS[call](model, make(), ROW_LABELS)
    assert same_state(model, before)


@pytest.mark.parametrize("kind", TWO_INPUTS)
@pytest.mark.parametrize("call", [lambda m, x: m(x), lambda m, x: m.train_step(x, ROW_LABELS)], ids=["call", "step"])
def test_two_inputs_of_a_direct_call_are_refused(call, kind):
    make, net = TWO_INPUTS[kind]
    with pytest.raises(InputError, match=r"join several inputs along the channels, np.concatenate\(x, axis=1\)"):
        call(net(), make())


@pytest.mark.parametrize("kind", ["list", "dict", "rows"])
def test_two_inputs_of_validation_data_are_refused(kind):
    make, net = TWO_INPUTS[kind]
    x = ROWS if kind == "rows" else A
    with pytest.raises(InputError, match=r"x of the validation data is .*one input, one array: join .*np.concatenate"):
        net().fit(x, ROW_LABELS, validation_data=(make(), ROW_LABELS), verbose_freq=0)


@pytest.mark.parametrize("targets", [[ROW_LABELS, ROW_LABELS], (ROW_LABELS, A), {"a": ROW_LABELS}, [Framed(ROWS)] * 2])
@pytest.mark.parametrize("call", ["fit", "train", "train_val", "evaluate", "a batch of evaluate"])
def test_two_targets_are_refused(call, targets):
    with pytest.raises(InputError, match=r"a model has one target, one array: (join|these) targets"):
        CALLS[call](classifier(Linear(64, 3)), ROWS, targets)
    with pytest.raises(InputError, match=r"y of the validation data is .*one target"):
        classifier(Linear(64, 3)).fit(ROWS, ROW_LABELS, validation_data=(ROWS, targets), verbose_freq=0)


def test_as_many_inputs_as_samples_are_refused_where_the_model_shows_it():
    """Two inputs of two samples each are stacked like two samples, which Conv2d refuses."""
    with pytest.raises(InputError, match=r"layer 0, Conv2d.*got 5 axes"):
        IMAGE_NET["images"]().fit([A[:2], B[:2]], np.array([0, 1]), verbose_freq=0)
    model = classifier(Linear(64, 3))
    model.build((64,))
    with pytest.raises(InputError, match=r"one input, one array.*if each is one sample, pass np.stack\(x\)"):
        model.predict([ROWS, ROWS])


def test_lists_of_samples_are_still_stacked():
    model = IMAGE_NET["images"]()
    expected = model.predict_proba(A)
    for x in (list(A), tuple(A), A.tolist(), [Framed(image) for image in A]):
        np.testing.assert_array_equal(model.predict_proba(x), expected)
        assert model.evaluate(x, list(ROW_LABELS)) == model.evaluate(A, ROW_LABELS)
        model.fit(x, tuple(np.eye(3)[ROW_LABELS]), validation_data=(x, ROW_LABELS), epochs=1, verbose_freq=0)
        expected = model.predict_proba(A)
    rows = classifier(Linear(64, 3))
    np.testing.assert_array_equal(rows.predict_proba([ROWS[0], ROWS[1]]), rows.predict_proba(ROWS[:2]))
    np.testing.assert_array_equal(rows.predict_proba(Framed(ROWS)), rows.predict_proba(ROWS))
    sequences = Sequential([Linear(5, 2, rng=0)], loss_func=MSELoss(), optimizer=SGD())
    x, y = [np.ones((3, 5)), np.zeros((3, 5)), np.ones((3, 5))], np.zeros((3, 3, 2))
    assert len(sequences.fit(x, y, epochs=1, verbose_freq=0)) == 1
    assert sequences.predict(x).shape == (3, 3, 2)


def test_a_loader_of_two_inputs_is_refused():
    with pytest.raises(InputError, match="x is 2 arrays of 6 samples each, but a model has one input, one array"):
        DataLoader([A, B], ROW_LABELS)
    with pytest.raises(InputError, match="y is 2 arrays of 6 samples each, but a model has one target, one array"):
        DataLoader(A, [ROW_LABELS, ROW_LABELS])


# Batches of one sample in evaluation, callbacks, data of other libraries, several arrays


@pytest.mark.parametrize("route", ["arrays", "a loader", "evaluate_train"])
def test_a_validation_batch_of_one_raises_before_training_starts(route):
    model = NEEDS_MORE["without running statistics"]()
    before = model.state_dict()
    x, y = RNG.normal(size=(257, 1, 8, 8)), np.arange(257) % 3
    settings = {"validation_data": (x, y) if route == "arrays" else DataLoader(x, y, batch_size=32)}
    if route == "evaluate_train":
        settings = {"evaluate_train": True, "drop_last": True}
        x, y = x[:33], y[:33]
    else:
        settings["drop_last"] = True
    with pytest.raises(InputError, match=r"^(validation_data|evaluate_train): \d+ samples .*BatchNorm1d"):
        model.fit(x, y, verbose_freq=0, **settings)
    assert same_state(model, before)
    settings = {"validation_data": (x[:32], y[:32])}
    assert len(model.fit(x[:32], y[:32], epochs=1, verbose_freq=0, **settings)) == 1


@pytest.mark.parametrize("again", [lambda s: s, Scheduled], ids=["itself", "Scheduled"])
def test_the_same_callback_twice_is_refused(again):
    model = regression()
    schedule = StepLR(model.optimizer, 1)
    with pytest.raises(InputError, match=r"StepLR.* is twice among the callbacks"):
        model.fit(X, Y, verbose_freq=0, callbacks=[schedule, again(schedule)])
    model.fit(X, Y, verbose_freq=0, epochs=1, callbacks=[schedule, StepLR(model.optimizer, 1)])


def test_the_loader_of_another_library_is_named():
    torch_data = pytest.importorskip("torch.utils.data")
    loader = torch_data.DataLoader([(x, y) for x, y in zip(X, Y, strict=True)], batch_size=4)
    with pytest.raises(InputError, match=r"x is a DataLoader of torch, .* or a cnn\.data\.DataLoader"):
        regression().fit(loader, verbose_freq=0)
    with pytest.raises(InputError, match=r"or a cnn\.data\.DataLoader, got a DataLoader of torch"):
        regression().fit(X, Y, validation_data=loader, verbose_freq=0)


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        ({"a": ROWS}, ROW_LABELS, r"np.concatenate\(list\(x.values\(\)\), axis=1\)$"),
        ([ROWS, A], ROW_LABELS, r"inputs, of shapes \(6, 64\), \(6, 1, 8, 8\), do not join: pass one of them$"),
        (ROWS, [ROW_LABELS, ROW_LABELS], r"np.stack\(y, axis=1\), or train two models$"),
        (ROWS, {"a": ROW_LABELS, "b": ROW_LABELS}, r"np.stack\(list\(y.values\(\)\), axis=1\)"),
        ([ROWS, ROWS[:, :3]], ROW_LABELS, r"np.concatenate\(x, axis=1\)$"),
    ],
)
def test_several_arrays_are_joined_only_where_that_is_possible(x, y, text):
    with pytest.raises(InputError, match=text):
        classifier(Linear(64, 3)).fit(x, y, verbose_freq=0)
