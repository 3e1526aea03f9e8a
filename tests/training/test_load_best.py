"""`Checkpoint.load_best`, and what is said about a checkpoint's file where a model or weights are expected."""

from types import SimpleNamespace

import numpy as np
import pytest

from cnn.errors import InputError
from cnn.layers import Linear
from cnn.loss import MSELoss
from cnn.optim import SGD
from cnn.sequential import Sequential
from cnn.training import Checkpoint

X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)


def net(outputs=1):
    return Sequential([Linear(3, outputs, rng=0)], loss_func=MSELoss(), optimizer=SGD(lr=0.3))


def trained(folder, epochs=4):
    """Train; from the third epoch on the learning rate is so large that the loss rises."""
    model, checkpoint, weights = net(), Checkpoint(folder, best="val_loss"), []

    def worse(step):
        weights.append(step.model.state_dict())
        step.model.optimizer.lr = 2.0 if step.epoch >= 2 else 0.3

    settings = {"epochs": epochs, "batch_size": 8, "verbose_freq": 0, "rng": 0, "validation_data": (X, X[:, :1])}
    model.fit(X, X[:, :1], callbacks=[worse, checkpoint], **settings)
    return model, checkpoint, weights


def test_the_weights_of_the_best_epoch(tmp_path):
    model, checkpoint, weights = trained(tmp_path)
    best = int(np.argmin(model.history.val_loss))
    assert best < 3
    other = net()
    assert checkpoint.load_best(model) == best + 1
    assert Checkpoint(tmp_path).load_best(other) == best + 1  # in another process, for example
    for one in (model, other):
        np.testing.assert_equal(one.state_dict(), weights[best])
    assert model.evaluate(X, X[:, :1])[0] == pytest.approx(min(model.history.val_loss))


def test_there_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of a best epoch: train with Checkpoint\(folder, best="):
        Checkpoint(tmp_path).load_best(net())


@pytest.mark.parametrize("damage", ["cut", "other model"])
def test_it_does_not_fit(tmp_path, damage):
    trained(tmp_path)
    path = tmp_path / "best.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    model = net(2 if damage == "other model" else 1)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"best\.safetensors is (cut short|of another model)"):
        Checkpoint(tmp_path).load_best(model)
    np.testing.assert_equal(model.state_dict(), before)


@pytest.mark.parametrize("name", ["best.safetensors", "step-00000004.safetensors"])
@pytest.mark.parametrize("load", [Sequential.load, lambda path: net().load_weights(path)], ids=["load", "load_weights"])
def test_a_checkpoint_where_a_model_is_expected(tmp_path, name, load):
    trained(tmp_path)
    with pytest.raises(ValueError, match=r"is a checkpoint of a training, not a model") as caught:
        load(tmp_path / name)
    assert f"cnn.training.Checkpoint({str(tmp_path)!r}).load_best(model)" in str(caught.value)
    assert f"model.fit(..., resume={str(tmp_path)!r})" in str(caught.value)
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("best", ["val_loss", "val_accuracy"])
def test_only_a_finite_metric_can_be_the_best(tmp_path, best):
    checkpoint = Checkpoint(tmp_path, best=best)
    for values, expected in (
        ([np.inf], False),
        ([np.nan], False),
        ([-np.inf], False),
        ([np.inf, 0.5], True),
        ([-np.inf, 0.5], True),
        ([np.nan, 0.5], True),
        ([0.5, np.inf], False),
        ([0.5, 0.5], False),
    ):
        assert checkpoint._is_best(SimpleNamespace(**{best: values})) == expected, values
