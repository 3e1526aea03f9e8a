"""A sample that is NaN or infinite is named, by whichever way it reaches the model."""

import numpy as np
import pytest

from cnn import Sequential
from cnn.data import DataLoader, HorizontalFlip, Normalize
from cnn.errors import InputError
from cnn.kernels import backend as backends
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from cnn.optim import SGD, Adam
from cnn.training import train
from tests.kernels.backends import needs_numba, using

BACKENDS = [pytest.param(name, marks=[needs_numba] if name == "jit" else []) for name in backends.BACKENDS]
X = np.random.default_rng(0).random((40, 1, 6, 6), dtype=np.float32)
Y = np.arange(40) % 3


def net(loss=None, outputs=3):
    layers = [
        Conv2d(1, 4, 3, bias=False, rng=0),
        BatchNorm2d(4),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(16, outputs, rng=1),
    ]
    return Sequential(layers, loss_func=loss or CrossEntropyLoss(from_logits=True), optimizer=Adam())


def spoil(x, y, rng):
    x = x.copy()
    x[rng.indices == 17, 0, 2, 3] = np.nan
    return x, y


class OneByOne:
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i]


def with_bad_sample(kind, tmp_path):
    """Samples and transforms, and what the error says."""
    x = X.astype(np.float64)
    if kind == "transform":
        return (
            x,
            [HorizontalFlip(), spoil],
            r"x\[17\] of the DataLoader became NaN or infinite in transforms\[1\], .*spoil",
        )
    if kind == "too large":
        x[17, 0, 5, 5] = 1e300
        return x, [], r"x\[17\] of the DataLoader is too large for float32"
    x[17, 0, 3, 2] = -np.inf if kind == "-inf" else np.inf if kind == "inf" else np.nan
    expected = r"x\[17\] of the DataLoader is NaN or infinite"
    if kind == "one by one":
        return OneByOne(x), [Normalize(0.5, 0.5, scale=1)], expected
    if kind == "file":
        np.save(tmp_path / "x.npy", x)
        return tmp_path / "x.npy", [], expected
    return x, [HorizontalFlip()] if kind == "nan" else [], expected


KINDS = ["nan", "inf", "-inf", "transform", "too large", "one by one", "file"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"shuffle": True}, {"draw_weights": np.arange(40) > 9}, {"drop_last": True}])
def test_training_names_the_sample(kind, settings, backend, tmp_path):
    x, transforms, expected = with_bad_sample(kind, tmp_path)
    with using(backend, 2):
        model = net()
        loader = DataLoader(x, Y, 7, rng=3, transforms=transforms, **settings)
        steps = []
        with pytest.raises(InputError, match=rf"at step \d of epoch \d, {expected}.*: replace it"):
            steps.extend(train(model, loader, epochs=3))
        assert len(steps) < 18
        assert all(np.isfinite(tensor.data).all() for _, tensor in model.named_tensors())
        model.fit(X, Y, epochs=1, verbose_freq=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_names_the_sample(kind, backend, tmp_path):
    x, transforms, expected = with_bad_sample(kind, tmp_path)
    with using(backend, 2), pytest.raises(InputError, match=f"in evaluation, {expected}"):
        net().fit(X, Y, validation_data=DataLoader(x, Y, 7, transforms=transforms), epochs=1, verbose_freq=0)


def test_evaluation_of_the_training_data_names_the_sample():
    x = X.copy()
    x[17] = np.nan
    loader = DataLoader(x, Y, 8, draw_weights=np.arange(40) != 17)  # training never draws it
    with pytest.raises(InputError, match=r"in evaluation, x\[17\] of the DataLoader is NaN"):
        net().fit(loader, evaluate_train=True, epochs=1, verbose_freq=0)


class Unchecked(MSELoss):
    """A loss of a user's own, which does not check its targets."""

    def check_target(self, target, shape):
        return np.asarray(target)


@pytest.mark.parametrize("where", ["training", "validation"])
@pytest.mark.parametrize("loss", [Unchecked(), MSELoss(), BCEWithLogitsLoss()])
def test_a_target_is_named_too(loss, where):
    y = np.random.default_rng(0).random((40, 1))
    bad = y.copy()
    bad[23] = np.nan
    targets = (bad, y) if where == "training" else (y, bad)
    train_loader, validation = (DataLoader(X, part, 8, shuffle=False) for part in targets)
    with pytest.raises(InputError, match=r"y\[23\] of the DataLoader is NaN or infinite"):
        net(loss, 1).fit(train_loader, validation_data=validation, epochs=1, verbose_freq=0)


def test_a_sample_that_spoils_the_weights_is_named_in_the_next_step():
    x = X.copy()
    x[3] = np.nan

    class Careless(MSELoss):
        def forward(self, prediction, target):
            return float(np.nan_to_num(super().forward(prediction, target)))

    model = Sequential([Flatten(), Linear(36, 1)], loss_func=MSELoss(), optimizer=SGD(lr=0.1))
    model.loss_func = Careless()
    steps = train(model, DataLoader(x, np.zeros((40, 1), np.float32), 4, shuffle=False), epochs=1)
    next(steps)  # the loss is finite, the gradient is not
    model.loss_func = MSELoss()
    with pytest.raises(InputError, match=r"x\[3\] of the DataLoader is NaN"):
        next(steps)


def test_finite_samples_are_not_blamed():
    model = Sequential([Flatten(), Linear(36, 1)], loss_func=MSELoss(), optimizer=SGD(lr=1e30))
    loader = DataLoader(X, np.ones((40, 1), np.float32), 4, rng=0, transforms=[HorizontalFlip()], targets="unmoved")
    with pytest.raises(FloatingPointError, match="Try a smaller learning rate"):
        model.fit(loader, epochs=2, verbose_freq=0)
    model.layers[1].weight.data = np.full((1, 36), 1e30)
    assert model.evaluate(X, np.ones((40, 1)))[0] == np.inf


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble])
def test_samples_of_other_real_dtypes_are_cast_in_a_loader_as_in_fit(dtype):
    x = X.astype(dtype)
    results = []
    for data in ((x, Y), (DataLoader(x, Y, rng=0),), (DataLoader(OneByOne(x), Y, rng=0),)):
        model = net()
        settings = {"rng": 0} if len(data) == 2 else {}
        validation = (x, Y) if len(data) == 2 else DataLoader(x, Y, 256)
        history = model.fit(*data, validation_data=validation, epochs=2, verbose_freq=0, **settings)
        results.append((history.train_loss, history.val_loss, model.layers[5].weight.data.tolist()))
    assert results[0] == results[1] == results[2]


def test_transforms_of_float16_images():
    loader = DataLoader(X.astype(np.float16), Y, 8, rng=0, transforms=[HorizontalFlip(), Normalize(0.5, 0.5, scale=1)])
    model = net()
    model.fit(loader, epochs=1, verbose_freq=0)
    assert np.isfinite(model.history.train_loss).all()


@pytest.mark.parametrize("settings", [{"draw_weights": "balanced"}, {"drop_last": True}])
def test_training_resumes_with_the_same_bits(settings, tmp_path):
    from cnn.errors import CheckpointError
    from cnn.training import Checkpoint

    def loader(seed, **changed):
        return DataLoader(X, Y, 7, rng=seed, transforms=[HorizontalFlip()], **{**settings, **changed})

    whole, first, second = net(), net(), net()
    whole.fit(loader(1), epochs=3, verbose_freq=0)
    for step in train(first, loader(1), epochs=3, callbacks=[Checkpoint(tmp_path)]):
        if (step.epoch, step.step) == (2, 3):
            break
    other = {"draw_weights": np.ones(40)} if "draw_weights" in settings else {"drop_last": False}
    with pytest.raises(CheckpointError, match=r"draw_weights|drop_last"):
        net().fit(loader(1, **other), epochs=3, resume=tmp_path, verbose_freq=0)
    second.fit(loader(9), epochs=3, resume=tmp_path, verbose_freq=0)
    for (_, a), (_, b) in zip(whole.named_tensors(), second.named_tensors(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
