"""A metric that is never measured is refused before the first step, whoever watches it."""

import numpy as np
import pytest

from cnn.data import DataLoader
from cnn.layers import Linear
from cnn.loss import CrossEntropyLoss, L1Loss, MSELoss
from cnn.optim import SGD, ReduceLROnPlateau
from cnn.sequential import Sequential
from cnn.training import Checkpoint, train
from cnn.training.callbacks import EarlyStopping, Scheduled, StopAt

X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
LABELS = np.arange(8) % 2
WATCHERS = {
    "Checkpoint": lambda model, name, folder: Checkpoint(folder, best=name),
    "EarlyStopping": lambda model, name, folder: EarlyStopping(monitor=name),
    "StopAt": lambda model, name, folder: StopAt(**{name: 0.5}),
    "ReduceLROnPlateau": lambda model, name, folder: Scheduled(
        ReduceLROnPlateau(model.optimizer, mode="max" if name.endswith("accuracy") else "min"), monitor=name
    ),
}
ROUTES = {
    "arrays": lambda x, y: ((x, y), (x, y)),
    "loader": lambda x, y: ((DataLoader(x, y, 4, rng=0),), DataLoader(x, y, 4, rng=0)),
}


def net(loss_func=None):
    loss_func = MSELoss() if loss_func is None else loss_func
    return Sequential([Linear(3, 2, rng=0)], loss_func=loss_func, optimizer=SGD(lr=0.01))


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("loss_func", [MSELoss(), L1Loss()], ids=repr)
@pytest.mark.parametrize("name", ["train_accuracy", "val_accuracy"])
@pytest.mark.parametrize("watcher", WATCHERS)
def test_accuracy_of_a_loss_without_one(tmp_path, watcher, name, loss_func, route):
    model = net(loss_func)
    before = model.state_dict()
    data, validation = route(X, X[:, :2])
    with pytest.raises(
        ValueError, match=rf"{watcher} watches {name}, .*{type(loss_func).__name__}.* train_loss and val_loss"
    ):
        train(model, *data, validation_data=validation, callbacks=[WATCHERS[watcher](model, name, tmp_path)])
    np.testing.assert_equal(model.state_dict(), before)


@pytest.mark.parametrize("name", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("watcher", WATCHERS)
def test_no_validation_data(tmp_path, watcher, name):
    model = net(CrossEntropyLoss(from_logits=True))
    with pytest.raises(ValueError, match=rf"{watcher} needs validation data, because it watches {name}: .* train_"):
        train(model, X, LABELS, callbacks=[WATCHERS[watcher](model, name, tmp_path)])


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("name", ["train_loss", "train_accuracy", "val_loss", "val_accuracy"])
@pytest.mark.parametrize("watcher", WATCHERS)
def test_metrics_that_are_measured(tmp_path, watcher, name, route):
    model = net(CrossEntropyLoss(from_logits=True))
    data, validation = route(X, LABELS)
    settings = {"epochs": 1, "verbose_freq": 0, "validation_data": validation}
    model.fit(*data, callbacks=[WATCHERS[watcher](model, name, tmp_path)], **settings)
    assert len(model.history) == 1


def test_targets_that_are_all_ignored_at_first(tmp_path):
    model = net(CrossEntropyLoss(from_logits=True, ignore_index=-1))
    labels = np.array([-1] * 2 + [0, 1] * 3)
    model.fit(X, labels, epochs=1, verbose_freq=0, callbacks=[Checkpoint(tmp_path, best="train_accuracy")])
    assert (tmp_path / "best.safetensors").exists()


def test_the_look_at_the_data_changes_no_number(tmp_path):
    histories = []
    for callbacks in ([], [EarlyStopping(monitor="train_accuracy", patience=9)]):
        model = net(CrossEntropyLoss(from_logits=True))
        loader = DataLoader(
            X, LABELS, 4, rng=1, transforms=[lambda x, y, rng: (x + rng.uniform()[:, None].astype(x.dtype), y)]
        )
        history = model.fit(loader, epochs=2, verbose_freq=0, callbacks=callbacks)
        histories.append((history.train_loss, history.train_accuracy))
    assert histories[0] == histories[1]
