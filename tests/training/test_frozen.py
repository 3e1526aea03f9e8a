"""What is frozen belongs to the state of a training run: a resumed one has it as it was at the checkpoint."""

import numpy as np
import pytest

from cnn.errors import CheckpointError
from cnn.layers import BatchNorm1d, Linear, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from cnn.sequential import Sequential
from cnn.training import Checkpoint, train
from cnn.training.checkpoint_file import read_state

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 5)).astype(np.float32), RNG.integers(0, 3, 40)


def net():
    layers = [Linear(5, 8, bias=False, rng=0), BatchNorm1d(8), ReLU(), Linear(8, 3, rng=1)]
    model = Sequential(layers, CrossEntropyLoss(from_logits=True), Adam(lr=0.01))
    for layer in layers[:2]:
        layer.freeze()
    return model


class UnfreezeAt:
    def __init__(self, epoch):
        self.epoch = epoch

    def __call__(self, step):
        if step.metrics is not None and step.epoch == self.epoch:
            step.model.unfreeze()


@pytest.mark.parametrize("stop", [3, 12, 13, 20])  # unfrozen after 16 steps
def test_resumed_with_the_same_bits(tmp_path, stop):
    whole = net()
    whole.fit(X, Y, epochs=6, batch_size=5, verbose_freq=0, rng=0, callbacks=[UnfreezeAt(2)])
    first = net()
    callbacks = [UnfreezeAt(2), Checkpoint(tmp_path, steps=1)]
    for number, _ in enumerate(train(first, X, Y, epochs=6, batch_size=5, rng=0, callbacks=callbacks), start=1):
        if number == stop:
            break
    second = net()
    second.fit(X, Y, epochs=6, batch_size=5, verbose_freq=0, rng=0, callbacks=callbacks, resume=tmp_path)
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], array, err_msg=name)
    assert second[0].weight.requires_grad
    assert second[1].training


def test_a_checkpoint_that_froze_something_else(tmp_path):
    net().fit(X, Y, epochs=1, batch_size=5, verbose_freq=0, rng=0, callbacks=[Checkpoint(tmp_path, epochs=1)])
    path = max(tmp_path.glob("step-*"))
    assert read_state(path)[1]["frozen"] == {"parameters": ["0.weight", "1.weight", "1.bias"], "modules": ["0", "1"]}
    model = net().unfreeze()
    model.fit(X, Y, epochs=2, batch_size=5, verbose_freq=0, rng=0, resume=tmp_path)
    assert not model[0].weight.requires_grad
    with pytest.raises(CheckpointError):
        Sequential([Linear(5, 3)], CrossEntropyLoss(from_logits=True), Adam()).fit(X, Y, resume=tmp_path)


def test_a_damaged_list(tmp_path):
    from cnn.training import state

    model = net()
    with pytest.raises(ValueError, match=r"frozen\.parameters has '9.weight', which the model has not"):
        state.set_frozen(model, {"parameters": ["9.weight"], "modules": []})
    assert not model[0].weight.requires_grad
