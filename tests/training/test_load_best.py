"""`Checkpoint.load_best`, and what is said about a checkpoint's file where a model or weights are expected."""

import sys
import textwrap

import numpy as np
import pytest

from cnn.core.files import locked
from cnn.core.text import printable_lines
from cnn.errors import CheckpointWarning, InputError
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


def test_weights_of_a_model_with_another_head(tmp_path):
    """The advice to load some of a state is only given where there is a way to get that state."""
    trained(tmp_path)
    body = Sequential([Linear(3, 1, rng=5), Linear(1, 2, rng=5)])
    with pytest.raises(ValueError, match="of another model") as caught:
        Checkpoint(tmp_path).load_best(body)
    assert "2 of 4 fit: 0.weight, 0.bias" in str(caught.value)
    assert "state.items()" not in str(caught.value)
    other = Sequential([Linear(3, 1, rng=1), Linear(1, 3, rng=1)])
    other.save_weights(tmp_path / "other")
    with pytest.raises(ValueError, match="2 of 4 fit") as caught:
        body.load_weights(tmp_path / "other")
    _, _, advice = str(caught.value).partition("keep the rest of the model as it is:\n")
    exec(textwrap.dedent(advice), {"model": body})  # it runs as it stands
    np.testing.assert_array_equal(body[0].weight.data, other[0].weight.data)


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


@pytest.mark.parametrize("load", [Sequential.load, lambda path: net().load_weights(path)], ids=["load", "load_weights"])
def test_without_a_best_epoch_only_resume_is_named(tmp_path, load):
    trained(tmp_path)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(ValueError, match=r"build the model, then model\.fit\(\.\.\., resume=") as caught:
        load(tmp_path / "step-00000004.safetensors")
    assert "load_best" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_folder_with_control_characters_is_escaped_in_messages(tmp_path):
    folder = tmp_path / "ck\x1b[31mX"
    settings = {"epochs": 1, "batch_size": 8, "verbose_freq": 0, "rng": 0}
    messages = []

    def refused(x, outputs=1, **arguments):
        with pytest.raises((ValueError, OSError)) as caught:
            net(outputs).fit(x, X[:, :outputs], **settings, **arguments)
        messages.append(str(caught.value))

    refused(X, resume=folder)  # there is no such folder
    folder.mkdir()
    with pytest.warns(CheckpointWarning, match="has no checkpoint yet") as caught:
        net().fit(X, X[:, :1], **settings, resume=folder)
    messages.append(str(caught[0].message))
    trained(folder)
    refused(X, callbacks=[Checkpoint(folder)])
    refused(X + 1, callbacks=[Checkpoint(folder)], resume=folder)
    refused(X, 2, callbacks=[Checkpoint(folder)], resume=folder)
    with locked(folder):
        refused(X, callbacks=[Checkpoint(folder)])
    with pytest.raises(FileNotFoundError) as missing:
        net().save(folder / "missing" / "m")
    messages.append(str(missing.value))
    for message in messages:
        assert r"ck\x1b[31mX" in message
        assert printable_lines(message) == message
