"""An update that ruins the weights is noticed although no further batch shows it, and is never saved."""

import numpy as np
import pytest

from cnn.data import DataLoader
from cnn.layers import BatchNorm1d, Linear, ReLU
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.module import Module
from cnn.optim import SGD
from cnn.sequential import Sequential
from cnn.training import Checkpoint, checkpoint_file, train

X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
STEPS = 2


class Explodes(SGD):
    """From a given step on, it multiplies the weights by a factor."""

    def __init__(self, at, factor):
        super().__init__(lr=0.01)
        self.at, self.factor, self.steps = at, factor, 0

    def step(self):
        super().step()
        self.steps += 1
        if self.steps == self.at:
            for parameter in self.params:
                parameter.data = parameter.data * np.float32(self.factor)


class Plain(Module):
    """A module without the methods of a Sequential."""

    def __init__(self):
        self.layer, self.loss_func = Linear(3, 1, rng=0), MSELoss()

    def forward(self, x):
        return self.layer(x)

    def backward(self, grad):
        return self.layer.backward(grad)


def net(optimizer):
    layers = [Linear(3, 4, bias=False, rng=0), BatchNorm1d(4), ReLU(), Linear(4, 1, rng=1)]
    return Sequential(layers, loss_func=MSELoss(), optimizer=optimizer)


def plain(optimizer):
    model = Plain()
    optimizer.set_params(model.parameters())
    model.optimizer = optimizer
    return model


def by_arrays(model, **settings):
    return list(train(model, X, X[:, :1], batch_size=4, rng=0, **settings))


def by_loader(model, **settings):
    return list(train(model, DataLoader(X, X[:, :1], 4, rng=0), **settings))


def stopped(model, **settings):
    """A callback ends the training after the step, in the middle of an epoch or at its end."""
    steps = settings.pop("epochs") * STEPS
    seen = []

    def stop(step):
        seen.append(step)
        return len(seen) == steps

    return list(
        train(model, X, X[:, :1], batch_size=2, epochs=9, rng=0, callbacks=[stop, *settings.pop("callbacks", ())])
    )


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e30], ids=str)
@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("run", [by_arrays, by_loader, stopped])
@pytest.mark.parametrize("make", [net, plain])
def test_the_last_step_of_a_training(tmp_path, make, run, epochs, factor):
    last = epochs * STEPS
    good = []
    model = make(Explodes(last, factor))
    watch = SGD.step

    def remember(self):
        good.append(model.state_dict())
        watch(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SGD, "step", remember)
        with pytest.raises(
            FloatingPointError, match=r"the loss became (nan|inf) after step \d of epoch \d: .*put back"
        ):
            run(model, epochs=epochs, callbacks=[Checkpoint(tmp_path, steps=1, keep=9)])
    assert len(good) == last
    np.testing.assert_equal({name: model.state_dict()[name] for name in model.state_dict()}, good[-1])
    for path in tmp_path.glob("*.safetensors"):
        arrays, _ = checkpoint_file.read(path)
        assert all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("model.")), path
    assert (tmp_path / "step-00000000.safetensors").exists()


@pytest.mark.parametrize("at", range(1, 2 * STEPS + 1))
def test_no_checkpoint_of_ruined_weights_at_any_step(tmp_path, at):
    model = net(Explodes(at, np.nan))
    with pytest.raises(FloatingPointError, match="put back"):
        by_arrays(model, epochs=2, callbacks=[Checkpoint(tmp_path, steps=1, keep=9, best="train_loss")])
    written = sorted(path.name for path in tmp_path.glob("step-*.safetensors"))
    assert written == [f"step-{n:08}.safetensors" for n in range(at)]
    assert (tmp_path / "best.safetensors").exists() == (at > STEPS)


def test_the_caller_leaves_the_loop_after_a_ruined_step(tmp_path):
    model = net(Explodes(1, np.nan))
    for _ in train(model, X, X[:, :1], batch_size=4, rng=0, callbacks=[Checkpoint(tmp_path)]):
        break
    assert [path.name for path in tmp_path.glob("step-*.safetensors")] == ["step-00000000.safetensors"]


def test_a_right_training_is_not_disturbed():
    """The last forward runs in evaluation mode: it changes neither statistics nor the state of a generator."""
    model = Sequential(
        [Linear(3, 4, bias=False, rng=0), BatchNorm1d(4), ReLU(), Linear(4, 2, rng=1)],
        loss_func=CrossEntropyLoss(from_logits=True),
        optimizer=SGD(lr=0.1),
    )
    model.fit(X, np.arange(8) % 2, epochs=2, batch_size=4, verbose_freq=0, rng=0)
    assert int(model[1].num_batches_tracked.data) == 4
    assert model.training


class FiniteLoss(MSELoss):
    """Its value hides weights that are not finite, up to a given call; its gradient spoils them at once."""

    calls = 0

    def __init__(self, nan_at):
        super().__init__()
        self.nan_at = nan_at

    def forward(self, prediction, target):
        self.shape = prediction.shape
        self.calls += 1
        return np.nan if self.calls == self.nan_at else 1.0

    def backward(self, grad=None):
        return np.full(self.shape, np.inf, np.float32)


@pytest.mark.parametrize(
    ("batch_size", "nan_at", "is_good"), [(8, 0, True), (4, 2, True), (4, 0, False), (2, 3, False)]
)
def test_bad_weights_are_not_called_good(batch_size, nan_at, is_good):
    """A finite loss says little about the weights, so the copy of them may be as bad."""
    model = Sequential([Linear(3, 1, rng=0)], loss_func=FiniteLoss(nan_at), optimizer=SGD(lr=0.1))
    with pytest.raises(FloatingPointError) as caught:
        list(train(model, X, X[:, :1], batch_size=batch_size, rng=0, epochs=9))
    assert all(np.isfinite(values).all() for values in model.state_dict().values()) == is_good
    assert ("were put back" in str(caught.value)) == is_good
    assert ("hold NaN or infinity, too, so the model is not usable" in str(caught.value)) == (not is_good)
