"""The training loop: its metrics, the order of the samples, and its state when it stops."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest

import cnn
from cnn import training
from cnn.data import DataLoader
from cnn.layers import BatchNorm1d, Identity, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.module import Module
from cnn.optim import SGD, Adam
from cnn.sequential import Sequential
from cnn.training import train
from cnn.training.history import History


class Net(Module):
    """A custom Module, not a Sequential."""

    def __init__(self):
        self.first, self.relu, self.second = Linear(2, 8, rng=0), ReLU(), Linear(8, 2, rng=1)
        self.loss_func = CrossEntropyLoss(from_logits=True)
        self.optimizer = Adam(self.parameters(), lr=0.01)

    def forward(self, x):
        return self.second(self.relu(self.first(x)))

    def backward(self, grad):
        return self.first.backward(self.relu.backward(self.second.backward(grad)))


def data(n=50):
    x = np.random.default_rng(0).normal(size=(n, 2))
    return x, (x[:, 0] > 0).astype(int)


def test_any_module_with_a_loss_and_an_optimizer_trains():
    model = Net()
    x, y = data()
    history = training.fit(model, x, y, 0, validation_data=(x, y), epochs=40, batch_size=10, rng=0)
    assert history is model.history
    assert history.val_accuracy[-1] > 0.95
    assert training.predict(model, x).shape == (50, 2)
    assert training.evaluate(model, x, y) == (history.val_loss[-1], history.val_accuracy[-1])


def test_a_smaller_last_batch_is_weighted_by_its_number_of_samples():
    """With a learning rate of 0 the weights do not change, so the mean over the epoch equals the loss of the whole set."""
    x, y = data(50)
    model = Net()
    model.optimizer.lr = 0.0
    steps = list(training.train(model, x, y, epochs=1, batch_size=16, rng=0))
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert {step.steps for step in steps} == {4}
    loss, accuracy = training.evaluate(model, x, y)
    assert steps[-1].metrics["train_loss"] == pytest.approx(loss, rel=1e-6)
    assert steps[-1].metrics["train_accuracy"] == pytest.approx(accuracy)
    assert [step.metrics is None for step in steps] == [True, True, True, False]
    assert math.isnan(steps[-1].metrics["val_loss"])


def test_every_sample_comes_once_per_epoch_in_a_new_order():
    seen = []

    class Spy(Net):
        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].copy())
            return super().forward(x)

    x = np.stack([np.arange(10.0), np.zeros(10)], axis=1)
    list(training.train(Spy(), x, np.zeros(10, int), epochs=2, batch_size=4, rng=0))
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert [len(part) for part in seen] == [4, 4, 2] * 2
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_validation_metrics_are_measured_in_evaluation_mode_after_the_epoch():
    modes = []

    class Spy(Net):
        def forward(self, x):
            modes.append((len(x), self.training))
            return super().forward(x)

    x, y = data(8)
    list(training.train(Spy(), x, y, validation_data=(x[:5], y[:5]), epochs=1, batch_size=8))
    assert modes[-1] == (5, False)
    assert (8, True) in modes


def test_the_caller_may_leave_the_loop():
    x, y = data()
    model = Net()
    for step in training.train(model, x, y, epochs=100, batch_size=10):
        if step.loss < 0.6:
            break
    assert step.epoch < 100
    assert model.training


def test_fit_prints_a_line_every_verbose_freq_epochs(capsys):
    x, y = data()
    training.fit(Net(), x, y, 2, validation_data=(x, y), epochs=5)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 2/5", "epoch 4/5"]
    assert "val accuracy 0." in lines[0]
    training.fit(Net(), x, y, 0, epochs=2)
    assert capsys.readouterr().out == ""


def test_history_while_it_runs_and_as_a_table(capsys):
    x, y = data()
    model = Net()

    def interrupt():
        raise KeyboardInterrupt

    history = training.fit(model, x, y, 0, epochs=2)
    assert len(history) == 2
    assert history.epoch(-1)["train_loss"] == history.train_loss[1]
    assert str(history).splitlines()[0].split() == ["epoch", "train", "loss", "train", "accuracy", "val", "loss", "val",
                                                    "accuracy", "seconds"]  # fmt: skip
    model.optimizer.step = interrupt
    with pytest.raises(KeyboardInterrupt):
        training.fit(model, x, y, 0, epochs=2)
    assert len(model.history) == 0


def test_history_plots():
    history = History()
    history.append(train_loss=1.0, train_accuracy=0.5, val_loss=1.1, val_accuracy=0.4, seconds=1.0)
    figure = history.plot()
    assert [axes.get_ylabel() for axes in figure.axes]


def test_overflow_in_training_is_one_error_without_warnings():
    """Warnings are errors in these tests, so a RuntimeWarning would fail here."""
    model = Sequential([Linear(1, 1, rng=0)], loss_func=MSELoss(), optimizer=Adam(lr=1e25))
    x = np.ones((8, 1))
    with pytest.raises(FloatingPointError, match="step"):
        model.fit(x, x, epochs=9, batch_size=2, verbose_freq=0)


def test_a_layer_that_overflows_is_named():
    class Explode(Module):
        def forward(self, x):
            self.save_for_backward(x)
            return x * np.float32(np.inf if self.training else 1)

        def backward(self, grad):
            return grad

    layers = [Linear(2, 4, rng=0), Explode(), Linear(4, 2, rng=0), Softmax()]
    model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam())
    with pytest.raises(FloatingPointError, match=r"output of layer 1, Explode\(\), is NaN or infinite"):
        model.fit(*data(), verbose_freq=0)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    x, y = data()
    losses = []
    for seed in (0, 0, 1):
        cnn.manual_seed(seed)
        losses.append(training.fit(Net(), x, y, 0, epochs=2).train_loss)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_an_optimizer_without_parameters_gets_those_of_the_module():
    x, y = data()
    model = Net()
    model.optimizer = Adam(lr=0.05)
    history = training.fit(model, x, y, 0, epochs=20)
    assert history.train_loss[-1] < history.train_loss[0] / 2


def test_modules_in_lists_and_dicts_train_too():
    class Listed(Module):
        def __init__(self):
            self.listed, self.named = [Linear(2, 4, rng=0), ReLU()], {"head": Linear(4, 2, rng=1)}
            self.loss_func, self.optimizer = CrossEntropyLoss(from_logits=True), Adam(lr=0.05)

        def forward(self, x):
            return self.named["head"](self.listed[1](self.listed[0](x)))

        def backward(self, grad):
            return self.listed[0].backward(self.listed[1].backward(self.named["head"].backward(grad)))

    model = Listed()
    assert list(model.state_dict()) == ["listed.0.weight", "listed.0.bias", "named.head.weight", "named.head.bias"]
    assert training.fit(model, *data(), 0, epochs=20).train_accuracy[-1] > 0.9


def test_bad_arguments_raise_at_once_and_keep_the_history():
    model = Net()
    training.fit(model, *data(), 0, epochs=2)
    with pytest.raises(ValueError, match="epochs"):
        training.train(model, *data(), epochs=0)
    with pytest.raises(ValueError, match="epochs"):
        training.fit(model, *data(), epochs=0)
    assert len(model.history) == 2


@pytest.mark.parametrize(
    ("samples", "batch_size", "fix"),
    [(33, 32, "use batch_size=33"), (5, 1, "use batch_size=3"), (1, 4, "more samples")],
)
def test_a_batch_of_one_sample_with_batchnorm_raises_before_training_starts(samples, batch_size, fix):
    model = Sequential(
        [Linear(2, 3, bias=False), BatchNorm1d(3), ReLU(), Linear(3, 2), Softmax()], CrossEntropyLoss(), Adam()
    )
    before = model.state_dict()
    with pytest.raises(
        ValueError,
        match=rf"(leave a batch of one|each batch is one sample|1 sample is a batch of one), on which layer 1, BatchNorm1d.*{fix}",
    ):
        model.fit(np.ones((samples, 2)), np.zeros(samples, int), batch_size=batch_size, verbose_freq=0)
    assert all(np.array_equal(values, before[name]) for name, values in model.state_dict().items())


def trained_steps(**settings):
    x, y = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
    cnn.manual_seed(0)
    model = Sequential([Linear(4, 3), Softmax()], CrossEntropyLoss(**settings), SGD(lr=0.1))
    return model, train(model, x, y, epochs=1, batch_size=10, rng=0)


class Buffered(Identity):
    """Returns the same array every time, with other numbers."""

    def forward(self, x):
        super().forward(x)
        if not hasattr(self, "buffer") or len(self.buffer) != len(x):
            self.buffer = np.empty_like(x)
        self.buffer[...] = x
        return self.buffer


def test_layers_and_transforms_may_reuse_their_arrays():
    x, y = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), np.arange(60) % 3
    labels = np.empty(10, int)

    def into_labels(x, y, rng):
        labels[...] = y
        return x, labels

    def result(layers, transforms):
        model = Sequential([Linear(3, 3, rng=0), *layers], CrossEntropyLoss(from_logits=True), SGD(lr=0.1))
        loader = DataLoader(x, y, batch_size=10, rng=0, transforms=transforms, prefetch=0)
        history = model.fit(loader, epochs=2, verbose_freq=0)
        return history.train_loss, history.train_accuracy, model.evaluate(x, y, batch_size=10)

    assert result([Buffered()], []) == result([], [])
    assert result([], [into_labels])[:2] == result([], [lambda x, y, rng: (x, y)])[:2]


def test_a_loss_may_weigh_batches_in_its_own_way():
    class FirstClassOnly(CrossEntropyLoss):
        def count(self, prediction, target):
            return 1.0 + int(np.count_nonzero(target == 0))

    def result(loss_func):
        cnn.manual_seed(0)
        x, y = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
        model = Sequential([Linear(4, 3), Softmax()], loss_func, SGD(lr=0.0))
        return [step.loss for step in train(model, x, y, epochs=1, batch_size=10, rng=0)]

    means = result(CrossEntropyLoss())
    batches = np.diff(np.arange(1, 7) * means, prepend=0)  # the mean of each batch of 10
    order = np.random.default_rng(0).permutation(60)
    weights = 1 + np.count_nonzero((order % 3).reshape(6, 10) == 0, axis=1)
    np.testing.assert_allclose(result(FirstClassOnly()), np.cumsum(10 * batches) / np.cumsum(weights), rtol=1e-6)


@pytest.mark.parametrize(
    "change", [{"weight": (1.0, 50.0, 1.0)}, {"ignore_index": 1}, {"reduction": "sum"}], ids=lambda change: str(change)
)
def test_a_loss_that_changes_between_steps_does_not_change_the_steps_before(change):
    model, running = trained_steps()
    steps = []
    for step in running:
        steps.append((step.loss, step.accuracy))
        if step.step == 3:
            vars(model.loss_func).update(change)
    expected = [(step.loss, step.accuracy) for step in trained_steps()[1]]
    assert steps[:3] == expected[:3]
    assert steps[3] != expected[3]


def test_steps_that_are_kept_do_not_change_with_the_model():
    expected = [step.loss for step in trained_steps()[1]]
    model, running = trained_steps()
    steps = list(running)
    model.loss_func = CrossEntropyLoss(reduction="sum")
    copies = [copy.deepcopy(steps[0]), pickle.loads(pickle.dumps(steps[1])), dataclasses.replace(steps[2], epoch=7)]
    assert [step.loss for step in copies] == expected[:3]
    assert [step.loss for step in steps] == expected


def test_a_loss_that_is_replaced_in_the_middle_of_an_epoch():
    model, running = trained_steps()
    losses = []
    for step in running:
        losses.append(step.loss)
        if step.step == 3:
            model.loss_func = CrossEntropyLoss(weight=[1.0, 1.0, 1.0])
    assert losses == pytest.approx([step.loss for step in trained_steps()[1]], rel=1e-6)


def test_the_dtype_may_change_between_steps():
    model, running = trained_steps()
    for step in running:
        if step.step == 3:
            model.to(np.float64)
    assert model.layers[0].weight.dtype == np.float64
    assert np.isfinite(step.loss)
