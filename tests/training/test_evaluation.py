"""evaluate and predict: arrays, a DataLoader, and iterables of batches give the same numbers."""

import numpy as np
import pytest

from cnn import InputError, Sequential, ShapeError, training
from cnn.data import CutMix, DataLoader, Mixup, Normalize
from cnn.layers import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.module import Module
from cnn.optim import Adam
from cnn.training import EarlyStopping

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 1, 6, 6)).astype(np.float32), np.arange(23) % 3
BATCH = 5


def net():
    layers = [Conv2d(1, 4, 3, rng=0), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(4, 3, rng=1), Softmax()]
    return Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam())


class Net(Module):
    """No Sequential."""

    def __init__(self):
        self.body = Sequential(net().layers[:-1])
        self.loss_func, self.optimizer = CrossEntropyLoss(from_logits=True), Adam(self.parameters())

    def forward(self, x):
        return self.body(x)

    def backward(self, grad):
        return self.body.backward(grad)


def pairs(x=X, y=Y):
    for start in range(0, len(x), BATCH):
        yield x[start : start + BATCH], y[start : start + BATCH]


class Batches:
    """As PyTorch's DataLoader: an iterable with a length, which gives lists."""

    batch_size = BATCH

    def __len__(self):
        return 5

    def __iter__(self):
        return ([x, y] for x, y in pairs())


def torch_loader():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(data, batch_size=BATCH)


def mapped(folder):
    np.save(folder / "x.npy", X)
    return DataLoader(folder / "x.npy", Y, batch_size=BATCH, rng=0)


LABELLED = {
    "loader": lambda folder: DataLoader(X, Y, batch_size=BATCH, rng=0),
    "loader that drops the last batch": lambda folder: DataLoader(X, Y, batch_size=BATCH, rng=0, drop_last=True),
    "file": mapped,
    "generator": lambda folder: pairs(),
    "zip": lambda folder: zip([x for x, _ in pairs()], [y for _, y in pairs()], strict=True),
    "map": lambda folder: map(tuple, pairs()),
    "object": lambda folder: Batches(),
    "float64": lambda folder: ((x.astype(np.float64), y) for x, y in pairs()),
    "lists": lambda folder: ((x.tolist(), y.tolist()) for x, y in pairs()),
    "PyTorch": pytest.param(lambda folder: torch_loader(), marks=pytest.mark.parity),
}
UNLABELLED = {
    **LABELLED,
    "samples alone": lambda folder: (x for x, _ in pairs()),
    "iterator": lambda folder: iter([x for x, _ in pairs()]),
}


def cases(makers):
    return [pytest.param(*getattr(m, "values", (m,)), marks=getattr(m, "marks", ()), id=n) for n, m in makers.items()]


@pytest.mark.parametrize("make", cases(LABELLED))
@pytest.mark.parametrize("model", [net(), Net()], ids=["Sequential", "Module"])
def test_evaluate(model, make, tmp_path):
    assert training.evaluate(model, make(tmp_path)) == training.evaluate(model, X, Y, batch_size=BATCH)
    if isinstance(model, Sequential):
        assert model.evaluate(make(tmp_path)) == model.evaluate(X, Y, BATCH)


@pytest.mark.parametrize("make", cases(UNLABELLED))
@pytest.mark.parametrize("model", [net(), Net()], ids=["Sequential", "Module"])
def test_predict(model, make, tmp_path):
    """In the order of the samples, which the outputs, all different, show."""
    expected = training.predict(model, X, batch_size=BATCH)
    assert len(np.unique(expected[:, 0])) > 20
    np.testing.assert_array_equal(training.predict(model, make(tmp_path)), expected)
    if isinstance(model, Sequential):
        np.testing.assert_array_equal(model.predict_proba(make(tmp_path)), model.predict_proba(X, BATCH))
        np.testing.assert_array_equal(model.predict(make(tmp_path)), model.predict(X, BATCH))


def test_a_loader_keeps_its_position_and_its_transforms_are_those_of_validation_in_fit():
    def noise(x, y, rng):
        return x * rng.uniform()[:, None, None, None].astype(np.float32), y

    loader = DataLoader(X, Y, batch_size=BATCH, rng=0, transforms=[noise])
    model = net()
    history = model.fit(X, Y, validation_data=loader, epochs=2, verbose_freq=0, rng=0)
    for _ in loader:
        break
    state = loader.state_dict()
    loss, accuracy = model.evaluate(loader)
    assert (loss, accuracy) == (history.val_loss[-1], history.val_accuracy[-1])
    assert loss != model.evaluate(X, Y)[0]
    assert np.mean(model.predict(loader) == Y) == accuracy
    assert loader.state_dict() == state


def test_pixels_that_a_transform_normalises():
    pixels = RNG.integers(0, 256, X.shape, np.uint8)
    loader = DataLoader(pixels, Y, transforms=[Normalize([0.5], [0.25])])
    model = net()
    expected = model.predict_proba(((pixels / 255 - 0.5) / 0.25).astype(np.float32))
    np.testing.assert_allclose(model.predict_proba(loader), expected, rtol=1e-4)
    with pytest.raises(InputError, match=r"batches of uint8.*Normalize"):
        model.predict(DataLoader(pixels, Y))


def test_images_of_other_sizes_in_other_batches():
    model = net()
    assert model.predict(x for x in (X[:3], X[:2, :, :5, :5])).shape == (5,)
    model = Sequential([Conv2d(1, 2, 3)], loss_func=MSELoss())
    with pytest.raises(ShapeError, match="the batches give outputs of the different shapes"):
        model.predict(x for x in (X[:3], X[:2, :, :5, :5]))


def broken(number, x=None, y=None):
    for i, (a, b) in enumerate(pairs(), start=1):
        yield (a if x is None else x, b if y is None else y) if i == number else (a, b)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda m: m.evaluate(X), ["y is missing"]),
        (lambda m: m.evaluate(DataLoader(X, Y), Y), ["DataLoader contain the targets"]),
        (lambda m: m.evaluate(pairs(), Y), ["generator contain the targets"]),
        (lambda m: m.evaluate(DataLoader(X, Y), batch_size=7), ["leave out batch_size"]),
        (lambda m: m.predict(pairs(), batch_size=7), ["leave out batch_size"]),
        (lambda m: m.predict(pairs(), batch_size=0), ["batch_size must be an integer of at least 1"]),
        (lambda m: m.predict(iter([])), ["there are no batches"]),
        (lambda m: m.predict({1, 2}), ["x must hold real numbers"]),
        (lambda m: m.evaluate(x for x, _ in pairs()), ["batch 1 must be a pair (x, y)", "ndarray"]),
        (lambda m: m.evaluate((x, y, y) for x, y in pairs()), ["batch 1 must be a pair (x, y)", "3 parts"]),
        (lambda m: m.evaluate(broken(2, x=X[:5] * np.float32(np.nan))), ["x of batch 2 holds NaN", "5 of 5 samples"]),
        (lambda m: m.predict(broken(2, x=X[:5] > 0)), ["x of batch 2 holds bool"]),
        (lambda m: m.evaluate(broken(1, y=Y[:5] + 1)), ["y of batch 1: labels must lie between 0 and 2"]),
        (lambda m: m.evaluate(broken(3, y=Y[:5] + 1)), ["batch 3: ", "labels must lie between 0 and 2"]),
        (lambda m: m.evaluate(broken(3, y=Y[:4])), ["batch 3: ", "5 samples need 5 labels"]),
        (lambda m: m.predict(broken(2, x=np.ones((5, 1, 6, 6), np.uint8))), ['pass x.astype("float32") / 255']),
        (lambda m: m.predict(iter([[X[0], X[1]]])), ["list of two arrays of one shape", "np.stack(batch)", "tuple (x, y)"]),
        (lambda m: m.predict(iter([X[0].tolist(), X[1].tolist()])), ["layer 0, Conv2d"]),
        (lambda m: m.predict(iter([[X[0].tolist(), X[1].tolist()]])), ["list of two arrays of one shape"]),
        (lambda m: m.evaluate(X, Y, np.ones(23)), ["batch_size must be an integer", "of 23 numbers", "sample_weight="]),
        (lambda m: m.fit(pairs()), ["x is a generator", "again in every epoch", "DataLoader"]),
        (lambda m: m.fit(X, Y, validation_data=pairs()), ["validation_data must be a pair"]),
    ],
)  # fmt: skip
def test_wrong_batches(call, parts):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call(net())
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)


def test_an_empty_evaluation_is_refused():
    batches = pairs()
    net().evaluate(batches)
    with pytest.raises(InputError, match="no batches: x is empty, or a generator that has run already"):
        net().evaluate(batches)


@pytest.mark.parametrize("as_pair", [tuple, list])
def test_a_list_of_batches(as_pair):
    model = net()
    batches = [as_pair(pair) for pair in pairs()]
    assert model.evaluate(batches) == model.evaluate(iter(batches))
    np.testing.assert_array_equal(model.predict(iter(batches)), model.predict(iter([x for x, _ in pairs()])))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("call", ["predict", "predict_proba", "evaluate"])
def test_a_sample_of_a_loader_that_is_not_finite_is_named(call, bad):
    x = X.copy()
    x[13, 0, 2, 2] = bad
    with pytest.raises(InputError, match=r"x\[13\] of the DataLoader is NaN or infinite"):
        getattr(net(), call)(DataLoader(x, Y, batch_size=BATCH))

    def spoil(x, y, rng):
        x = x.copy()
        x[rng.indices == 7] = bad
        return x, y

    with pytest.raises(InputError, match=r"x\[7\] of the DataLoader became NaN or infinite in transforms\[0\]"):
        getattr(net(), call)(DataLoader(X, Y, batch_size=BATCH, transforms=[spoil]))


@pytest.mark.parametrize("mixing", [Mixup(classes=3), CutMix(classes=3)], ids=["Mixup", "CutMix"])
@pytest.mark.parametrize("call", ["predict", "predict_proba", "evaluate", "validation_data"])
def test_a_loader_that_mixes_samples_is_for_training_only(call, mixing):
    loader, model = DataLoader(X, Y, batch_size=BATCH, transforms=[mixing]), net()
    run = getattr(model, call, lambda loader: model.fit(X, Y, validation_data=loader, verbose_freq=0))
    with pytest.raises(InputError, match=r"(Mixup|CutMix)\(.*mixes the samples.*second DataLoader without it"):
        run(loader)
    assert len(model.fit(loader, epochs=1, verbose_freq=0, evaluate_train=True)) == 1


def test_a_validation_loader_whose_labels_are_all_ignored():
    loader, model = DataLoader(X, np.full(23, -100), batch_size=BATCH), net()
    with pytest.raises(InputError, match="y of the validation data: all labels are ignore_index=-100"):
        model.fit(X, Y, validation_data=loader, verbose_freq=0, callbacks=[EarlyStopping()])
    loader = DataLoader(X, Y, batch_size=BATCH, transforms=[lambda x, y, rng: (x, np.full_like(y, -100))])
    with pytest.raises(ValueError, match="no validation data, or all its labels are ignored"):
        model.fit(X, Y, validation_data=loader, verbose_freq=0, callbacks=[EarlyStopping()])
