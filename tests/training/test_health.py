"""Health: it names the right layer of broken nets, does not warn about healthy ones, and changes no bit of training."""

import copy
import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import cnn
from cnn import training, zoo
from cnn.core import rng
from cnn.errors import InputError
from cnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, ReLU6, Sigmoid, Softmax
from cnn.loss import CrossEntropyLoss, LossFunc, MSELoss, NLLLoss
from cnn.module import Module, Parameter
from cnn.optim import SGD, Adam
from cnn.sequential import Sequential
from cnn.training.divergence import first_non_finite
from cnn.training.examine import examine
from cnn.training.health import Health, TrainingWarning, dead_note, first_loss_note, gradient_norms, gradient_note


def images(shape=(1, 12, 12), classes=10, n=96):
    draw = np.random.default_rng(0)
    return draw.random((n, *shape), np.float32), draw.integers(0, classes, n)


def ready(model, optimizer=None, loss_func=None):
    model.loss_func = loss_func or CrossEntropyLoss()
    model.optimizer = optimizer or Adam()
    return model


def small_cnn(optimizer=None):
    cnn.manual_seed(0)
    return ready(zoo.small_cnn((1, 12, 12)), optimizer)


def trained(model, x, y, health, epochs=2, **settings):
    """Train, call the callback by hand, and return its notes; stop if training diverges."""
    settings = {"batch_size": 32, "rng": 0, "epochs": epochs} | settings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for step in training.train(model, x, y, **settings):
                health(SimpleNamespace(**{"loss": step.loss, **vars(step), "model": model}))
        except FloatingPointError:
            pass
    messages = [str(warning.message) for warning in caught if warning.category is TrainingWarning]
    assert messages == health.notes
    return health.notes


# Healthy nets

HEALTHY = {
    "small_cnn": (lambda: zoo.small_cnn((1, 12, 12)), (1, 12, 12), 10, Adam),
    "small_cnn, SGD": (lambda: zoo.small_cnn((1, 12, 12)), (1, 12, 12), 10, lambda: SGD(lr=0.05, momentum=0.9)),
    "mlp": (lambda: zoo.mlp((2,), 3), (2,), 3, Adam),
    "resnet": (lambda: zoo.resnet(32, (3, 8, 8)), (3, 8, 8), 10, lambda: SGD(lr=0.05, momentum=0.9)),
    "densenet": (lambda: zoo.densenet((3, 8, 8), blocks=(2, 2, 2)), (3, 8, 8), 10, Adam),
    "lenet5": (lambda: zoo.lenet5((1, 12, 12)), (1, 12, 12), 10, Adam),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_no_warning_for_a_healthy_net(name):
    make, shape, classes, make_optimizer = HEALTHY[name]
    x, y = images(shape, classes)
    cnn.manual_seed(0)
    assert trained(ready(make(), make_optimizer()), x, y, Health(x[:64], y[:64])) == []


def test_no_warning_for_a_net_that_has_learned_everything():
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    model = ready(zoo.mlp((2,), 2), SGD(lr=0.5))
    assert trained(model, x, y, Health(x, y), epochs=100) == []
    model.layers[-2].weight.data *= 1e6  # so confident that the loss and every gradient are 0
    found = examine(model, x[y == model.predict(x)], y[y == model.predict(x)])
    assert found.loss == 0
    assert gradient_note(model, found.gradients, found.loss) is None


def test_no_warning_for_weights_initialised_to_zero():
    x, y = images()
    model = small_cnn(SGD(lr=0.01))
    model.layers[-2].weight.data *= 0
    assert trained(model, x, y, Health(x[:64], y[:64])) == []


# Broken nets


def test_a_rate_that_is_far_too_large_for_adam():
    x, y = images()
    model, health = small_cnn(Adam(lr=100)), Health(x[:64], y[:64])
    step = next(training.train(model, x, y, epochs=1, batch_size=32, rng=0))
    with pytest.warns(TrainingWarning, match="times as large as its weights: try a smaller learning rate"):
        health(SimpleNamespace(**{"loss": step.loss, **vars(step), "model": model}))
    ratios = {name: g / w for name, (g, w) in gradient_norms(model, x[:64], y[:64]).items()}
    assert health.notes[0].startswith(f"the gradient of layer {max(ratios, key=lambda name: ratios[name])}, ")


def test_a_rate_that_is_far_too_large_for_sgd():
    x, y = images()
    notes = trained(small_cnn(SGD(lr=100)), x, y, Health(x[:64], y[:64]), epochs=1)
    assert "of the units of layer 1, ReLU()" in notes[-1]
    assert "try a smaller learning rate" in notes[-1]


def test_all_weights_times_30():
    x, y = images()
    model = small_cnn()
    for parameter in model.parameters():
        parameter.data *= 30
    notes = trained(model, x, y, Health(x[:64], y[:64]))
    assert len(notes) == 1
    assert "an untrained net with 10 classes should have 2.3: the weight of layer" in notes[0]
    assert "(and 3 more)" in notes[0]


def test_the_weights_of_one_layer_are_too_large():
    x, y = images()
    model = small_cnn(SGD(lr=1e-5))
    model.layers[3].weight.data *= 300
    notes = trained(model, x, y, Health(x[:64], y[:64]), epochs=1)
    assert "the weight of layer 3, Conv2d(" in notes[0]
    assert "more)" not in notes[0]


@pytest.mark.parametrize(("layer", "named"), [(0, "1, ReLU()"), (3, "4, ReLU()"), (7, "8, ReLU()")])
def test_biases_that_kill_a_layer(layer, named):
    x, y = images()
    model = small_cnn()
    model.layers[layer].bias.data = np.full(model.layers[layer].bias.shape, -10)
    notes = trained(model, x, y, Health(x[:64], y[:64]))
    assert len(notes) == 1
    assert notes[0].startswith(f"100 % of the units of layer {named}")


def test_unscaled_pixels():
    x, y = images()
    notes = trained(small_cnn(), 255 * x, y, Health(255 * x[:64], y[:64]), epochs=1)
    assert "the inputs range from 0.00" in notes[0]
    assert "to 255; scale them to 0 to 1" in notes[0]


def test_gradients_that_vanish():
    x, y = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32), np.arange(64) % 3
    layers = [layer for i in range(10) for layer in (Linear(16, 16, rng=i), Sigmoid())]
    model = Sequential([*layers, Linear(16, 3, rng=0), Softmax()], CrossEntropyLoss(), SGD(lr=0.1))
    notes = trained(model, x, y, Health(x, y))
    assert len(notes) == 1
    assert notes[0].startswith(
        "gradients vanish in the backward pass: relative to the weights, that of layer 0, Linear("
    )
    assert "times smaller than that of layer 20, Linear(" in notes[0]


def test_gradients_that_explode():
    layers = [Linear(16, 16, rng=0), ReLU(), Linear(16, 16, rng=1), ReLU(), Linear(16, 3, rng=2)]
    model = Sequential(layers, CrossEntropyLoss(from_logits=True))
    gradients = {"0": (80.0, 1.0), "2": (1.0, 4.0), "4": (1e-4, 1.0)}
    note = gradient_note(model, gradients, 1.0)
    assert note.startswith("gradients explode in the backward pass")
    assert "layer 4, Linear(" in note
    assert "than that of layer 0, Linear(" in note


def test_which_gradients_give_a_note():
    model = Sequential([Linear(4, 4, rng=0), BatchNorm1d(4), ReLU(), Linear(4, 2, rng=1)], MSELoss())

    def note(first, second, norm=(1.0, 2.0), loss=1.0):
        return gradient_note(model, {"0": (first, 1.0), "1": norm, "3": (second, 1.0)}, loss)

    assert note(1.0, 1.0) is note(1e-4, 9.0) is note(900.0, 900.0) is None
    assert "vanish" in note(1e-5, 2.0)
    assert "the gradient of layer 3, Linear(" in note(1.0, 2000.0)
    assert "is exactly 0" in note(0.0, 1.0)
    assert "layer 0, Linear" in note(0.0, 1.0)
    assert "(and 1 more) is exactly 0" in note(0.0, 0.0)
    assert note(0.0, 0.0, loss=0.0) is None
    assert "layer 3, Linear(4, 2" in note(math.nan, math.inf).replace("in_features=", "").replace("out_features=", "")
    assert "(and 1 more) is NaN or infinite" in note(math.nan, math.inf)
    assert note(1.0, 1.0, norm=(0.0, 2.0)) is None
    model.loss_func = MSELoss(reduction="sum")
    assert note(2000.0, 2000.0) is None


def test_a_backward_that_gives_nan_is_named():
    class Broken(Module):
        def forward(self, x):
            return x

        def backward(self, grad):
            return grad * np.nan

    layers = [Linear(4, 4, rng=0), ReLU(), Linear(4, 4, rng=1), Broken(), Linear(4, 2, rng=2)]
    model = Sequential(layers, MSELoss())
    found = examine(model, np.ones((4, 4)), np.ones((4, 2)))
    note = gradient_note(model, found.gradients, found.loss)
    assert note.startswith("the gradient of layer 2, Linear(")
    assert "(and 1 more) is NaN or infinite, although the loss is" in note


# The first loss


def test_the_first_loss_is_compared_with_that_of_a_uniform_prediction():
    x = np.ones((4, 2), np.float32)
    model = Linear(2, 10, rng=0)

    def note(loss, loss_func, classes=10):
        model.loss_func = loss_func
        return first_loss_note(model, x, loss, classes)

    plain = CrossEntropyLoss(from_logits=True)
    assert (
        note(2.31, plain) is note(4.5, plain) is note(2.6, plain, classes=2) is note(13.5, plain, classes=1000) is None
    )
    assert "the first loss is 4.7, but an untrained net with 10 classes should have 2.3" in note(4.7, plain)
    assert "check that the inputs are scaled" in note(4.7, plain)
    assert "2 classes should have 0.693" in note(2.7, plain, classes=2)
    assert note(14.0, plain, classes=1000)
    assert note(9.0, CrossEntropyLoss(from_logits=True, label_smoothing=0.1))
    assert note(9.0, NLLLoss())
    for loss_func in (MSELoss(), CrossEntropyLoss(weight=[1.0] * 10), NLLLoss(reduction="sum")):
        assert note(9.0, loss_func) is None
    x *= 50
    assert "the inputs range from 50 to 50" in note(9.0, plain)


def test_no_warning_for_a_high_loss_of_one_sample():
    x, y = images()
    health, model = Health(x[:64], y[:64]), small_cnn()
    health(SimpleNamespace(epoch=1, step=1, loss=9.0, metrics=None, model=model))
    assert health.notes == []


# Dead units


@pytest.mark.parametrize("relu", [ReLU(), ReLU6()], ids=repr)
def test_dead_units_are_counted_over_samples_and_positions(relu):
    conv = Conv2d(1, 4, 1, rng=0)
    conv.weight.data = np.ones((4, 1, 1, 1))
    conv.bias.data = [0.0, -2.0, -0.5, -9.0]
    model = Sequential([conv, relu, Flatten(), Linear(16, 2, rng=0)], CrossEntropyLoss(from_logits=True))
    x = np.zeros((40, 1, 2, 2), np.float32)
    x[7, 0, 1, 1] = 1  # with one pixel of one sample, channels 0 and 2 are not dead
    assert examine(model, x, np.zeros(40, int)).dead == {"1": 0.5}
    assert examine(model, x[:31], np.zeros(31, int)).dead == {}
    assert dead_note(model, {"1": 0.9}) is None
    assert dead_note(model, {"1": 0.95}).startswith(f"95 % of the units of layer 1, {relu} are 0")


def test_nested_layers_have_dotted_names():
    inner = Sequential([Linear(4, 4, rng=0), ReLU()])
    inner.layers[0].bias.data = np.full(4, -99)
    model = Sequential([Linear(4, 4, rng=1), ReLU(), inner, Linear(4, 2, rng=2)], CrossEntropyLoss(from_logits=True))
    found = examine(model, np.ones((32, 4)), np.zeros(32, int))
    assert "layer 2.1, ReLU()" in dead_note(model, found.dead)
    assert list(found.gradients) == ["0", "2.0", "3"]


# Nothing is changed


class Noisy(Module):
    """Uses the default generator in every forward pass."""

    def forward(self, x):
        return x + np.float32(rng.generator().random())

    def backward(self, grad):
        return grad


def normed():
    layers = [Conv2d(1, 4, 3, bias=False, rng=0), BatchNorm2d(4), ReLU(), Noisy(), Flatten(), Dropout(0.5, rng=1)]
    return ready(Sequential([*layers, Linear(400, 10, rng=2), Softmax()]))


@pytest.mark.parametrize("make", [small_cnn, normed], ids=["small_cnn", "norm, dropout, default generator"])
def test_training_has_the_same_bits_with_and_without_it(make):
    x, y = images()
    found = []
    for watched in (False, True):
        cnn.manual_seed(3)
        model, health = make(), Health(x[:64], y[:64])
        cnn.manual_seed(4)
        for step in training.train(model, x, y, epochs=3, batch_size=32, rng=0):
            if watched:
                health(SimpleNamespace(**{"loss": step.loss, **vars(step), "model": model}))
        assert health.notes == []
        found.append((model.state_dict(), step.loss, rng.generator().random()))
    (first, loss, number), (second, *others) = found
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert [loss, number] == others


def test_a_check_does_not_change_gradients_or_values_saved_by_forward():
    x, y = images()
    model = normed()
    model.loss_and_grad(x[:8], y[:8])
    before = [parameter.grad.copy() for parameter in model.parameters()]
    state, dropout = model.state_dict(), copy.deepcopy(model.layers[5].rng.bit_generator.state)
    gradient_norms(model, x[:32], y[:32])
    assert model.layers[5].rng.bit_generator.state == dropout
    assert all(np.array_equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))
    assert all(np.array_equal(state[name], array) for name, array in model.state_dict().items())
    assert model.optimizer is not None


def test_norms_are_those_of_one_step():
    x, y = images()
    model = ready(Sequential([Flatten(), Linear(144, 8, rng=0), ReLU(), Linear(8, 10, rng=1), Softmax()]))
    norms = gradient_norms(model, x, y)
    model.loss_and_grad(x, y)
    assert list(norms) == ["1", "3"]
    for name, layer in (("1", model.layers[1]), ("3", model.layers[3])):
        together = np.concatenate([layer.weight.grad.ravel(), layer.bias.grad])
        assert norms[name][0] == pytest.approx(np.linalg.norm(together), rel=1e-5)
        assert norms[name][1] == pytest.approx(np.linalg.norm(np.append(layer.weight.data, layer.bias.data)), rel=1e-5)


# The callback


def test_it_checks_only_after_first_steps_and_at_ends_of_epochs(monkeypatch):
    checks = []

    def spy(model, x, y):
        checks.append(at)
        return found

    x, y = images()
    model = small_cnn()
    health, found = Health(x, y), examine(model, x, y)
    monkeypatch.setattr("cnn.training.health.examine", spy)
    for epoch in (1, 2):
        for at in ((epoch, step) for step in range(1, 121)):
            metrics = {"train_loss": 1.0} if at[1] == 120 else None
            assert health(SimpleNamespace(epoch=epoch, step=at[1], loss=2.3, metrics=metrics, model=model)) is None
    assert checks == [(1, 1), (1, 10), (1, 100), (1, 120), (2, 120)]


def test_each_kind_is_reported_once_even_after_resuming():
    x, y = images()
    model = small_cnn()
    model.layers[0].bias.data = np.full(32, -10)
    health = Health(x[:64], y[:64])
    step = SimpleNamespace(epoch=1, step=1, loss=2.3, metrics=None, model=model)
    with pytest.warns(TrainingWarning, match="layer 1, ReLU"):
        health(step)
    later = SimpleNamespace(**{"loss": step.loss, **vars(step), "epoch": 3, "metrics": {}})
    health(later)  # a second warning would be an error here
    resumed = Health(x[:64], y[:64])
    resumed.load_state_dict(json.loads(json.dumps(health.state_dict(), sort_keys=True)))
    resumed(later)
    assert resumed.notes == health.notes
    assert len(health.notes) == 1
    assert "64 samples" in repr(health)
    with pytest.warns(TrainingWarning, match="layer 1, ReLU"):
        health(step)  # a new training run


def test_a_custom_module_is_checked():
    class Net(Module):
        def __init__(self):
            self.first, self.relu, self.second = Linear(2, 8, rng=0), ReLU(), Linear(8, 2, rng=1)
            self.scale = Parameter(np.ones(1, np.float32))
            self.loss_func = CrossEntropyLoss(from_logits=True)
            self.optimizer = Adam(self.parameters())

        def forward(self, x):
            return self.second(self.relu(self.first(x)))

        def backward(self, grad):
            return self.first.backward(self.relu.backward(self.second.backward(grad)))

    model = Net()
    model.first.bias.data = np.full(8, -50)
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    assert trained(model, x, y, Health(x, y))[0].startswith("100 % of the units of layer relu, ReLU()")


def test_wrong_samples_are_reported():
    x, y = images()
    with pytest.raises(InputError, match=r"at least 2 samples.*\(1, 1, 12, 12\)"):
        Health(x[:1], y[:1])
    step = SimpleNamespace(epoch=1, step=1, loss=2.3, metrics=None, model=small_cnn())
    with pytest.raises(InputError, match="64 samples need 64 labels, got 63"):
        Health(x[:64], y[:63])(step)
    with pytest.raises(InputError, match="uint8"):
        Health((255 * x[:64]).astype(np.uint8), y[:64])(step)
    with pytest.raises(InputError, match="a model with a loss"):
        gradient_norms(Linear(2, 2), x, y)


# NaN and infinity: the training loop names where they arose


def diverging(model, x, y):
    with pytest.raises(FloatingPointError, match="at step 1 of epoch 1") as caught:
        list(training.train(model, x, y, epochs=1, batch_size=32, rng=0))
    return str(caught.value)


def test_nan_in_a_weight():
    x, y = images()
    model = small_cnn()
    model.layers[3].bias.data[5] = np.nan
    assert "the bias of layer 3, Conv2d(" in diverging(model, x, y)
    assert first_non_finite(model, x).endswith("became NaN or infinite in the step before")


def test_infinity_in_an_output():
    x, y = images()
    model = small_cnn()
    for i in (3, 7):
        model.layers[i].weight.data = np.full(model.layers[i].weight.shape, 1e30)
    with np.errstate(over="ignore", invalid="ignore"):
        assert "the output of layer 7, Linear(" in diverging(model, x, y)
        assert first_non_finite(model, x).endswith("is NaN or infinite")


class Bad(LossFunc):
    def forward(self, prediction, target):
        self.save_for_backward(prediction)
        return math.nan

    def backward(self, grad=None):
        return np.zeros_like(*self.saved())


def test_nan_in_the_loss():
    x, y = images((4,))
    model = ready(zoo.mlp((4,), 10), loss_func=Bad())
    assert "every layer's output is finite, so it arose in the loss" in diverging(model, x, y)


def test_a_loss_that_becomes_nan_in_the_last_step_is_reported_with_its_layer():
    x, y = images()
    model = small_cnn()
    model.layers[7].weight.data[3, 3] = np.inf
    health = Health(x[:64], y[:64])
    with pytest.warns(TrainingWarning, match="the weight of layer 7, Linear"):
        health(SimpleNamespace(epoch=4, step=3, loss=2.3, metrics={}, model=model))
    assert health.notes[0].startswith("the loss of the samples of Health is nan: the weight")
