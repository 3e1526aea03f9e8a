"""Frozen parameters get no gradient, a frozen front no backward; what is trained gets the same gradients as ever."""

import copy
import pickle

import numpy as np
import pytest
import torch

import cnn
from cnn import kernels
from cnn.containers.branches import Concat, Product, Residual
from cnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Identity, Linear, MaxPool2d, ReLU, Sigmoid
from cnn.loss import CrossEntropyLoss
from cnn.module import Module, Parameter
from cnn.optim import SGD
from cnn.sequential import Sequential

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 3, 8, 8), np.float32), RNG.integers(0, 4, 6)
BACKENDS = ("reference", "array", "jit")


@pytest.fixture(params=BACKENDS)
def backend(request):
    before = kernels.active()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)


def net(fuse=True):
    cnn.manual_seed(0)
    front = Sequential([Conv2d(3, 8, 3, padding=1, bias=False), BatchNorm2d(8), ReLU()])
    branches = [Conv2d(8, 4, 1), Sequential([Conv2d(8, 4, 3, padding=1), ReLU()])]
    layers = [
        front,
        *(Conv2d(8, 8, 3, padding=1, bias=False), BatchNorm2d(8), ReLU()),
        *(Residual(Conv2d(8, 8, 3, padding=1)), ReLU()),
        *(Concat(branches), MaxPool2d(2), Flatten(), Linear(128, 4)),
    ]
    return Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.1), fuse=fuse)


def part(model, name):
    return dict(model.named_modules())[name]


FROZEN = [
    ["0"],
    ["0.0"],  # not the norm that runs with it as one step
    ["0", "1"],
    ["0", "1", "2"],
    ["0", "1", "2", "4"],
    ["0", "1", "2", "4", "6.0"],
    ["0", "1", "2", "4", "6"],
    ["4"],  # in the middle
    ["9"],  # at the end
    ["6.1"],
    ["0", "9"],
]


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "not fused"])
@pytest.mark.parametrize("names", FROZEN, ids=" ".join)
def test_gradients(backend, names, fuse):
    model, free = net(fuse), net(fuse)
    for name in names:
        part(model, name).requires_grad_(False)
    loss, _ = model.loss_and_grad(X, Y)
    expected, _ = free.loss_and_grad(X, Y)
    assert loss == pytest.approx(expected, rel=1e-6)
    theirs = dict(free.named_parameters())
    for name, parameter in model.named_parameters():
        if any(name.startswith(f"{start}.") for start in names):
            assert parameter.grad is None, name
        else:
            np.testing.assert_allclose(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-6, err_msg=name)
    assert all(module._saved is None for module in model.modules())
    for name, buffer in model.named_tensors():
        np.testing.assert_allclose(buffer.data, dict(free.named_tensors())[name].data, rtol=1e-5, err_msg=name)


def test_backward_stops_at_the_first_layer_that_trains(backend):
    class Spy(Module):
        calls = 0

        def forward(self, x):
            self.save_for_backward(x)
            return x

        def backward(self, grad):
            self.saved()
            self.calls += 1
            return grad

    spies = [Spy() for _ in range(4)]
    nested = Sequential([spies[1], Conv2d(3, 3, 1), ReLU()])
    layers = [spies[0], nested, spies[2], Flatten(), Linear(192, 16), spies[3], Linear(16, 4)]
    model = Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.1))
    model.loss_and_grad(X, Y)
    assert [spy.calls for spy in spies] == [1, 1, 1, 1]
    nested.requires_grad_(False)
    model.loss_and_grad(X, Y)
    assert [spy.calls for spy in spies] == [1, 1, 1, 2]
    assert all(spy._saved is None for spy in spies)
    model[4].requires_grad_(False)
    model.loss_and_grad(X, Y)
    assert [spy.calls for spy in spies] == [1, 1, 1, 2]
    nested.requires_grad_()
    model.loss_and_grad(X, Y)
    assert [spy.calls for spy in spies] == [2, 2, 2, 3]
    model.optimizer = None  # then the gradient of the data is asked for
    nested.requires_grad_(False)
    model.loss_and_grad(X, Y)
    assert [spy.calls for spy in spies] == [3, 3, 3, 4]


def test_a_pass_in_evaluation_between_forward_and_backward(backend):
    model = net()
    part(model, "0").requires_grad_(False)
    expected, _ = copy.deepcopy(model).loss_and_grad(X, Y)
    outputs = model(X)
    model.predict(X)
    loss = model.loss_func(outputs, Y)
    assert model.backward(model.loss_func.backward()) is None
    assert loss == pytest.approx(expected, rel=1e-6)
    assert model[9].weight.grad is not None


def test_as_in_pytorch(backend):
    """Ten steps of SGD with momentum and decay, frozen, then not: the norm's statistics move in both."""
    ours = Sequential(
        [Conv2d(3, 4, 3, rng=0, bias=False), BatchNorm2d(4), ReLU(), Flatten(), Linear(144, 4, rng=1)],
        CrossEntropyLoss(from_logits=True),
        SGD(lr=0.05, momentum=0.9, weight_decay=0.1),
    )
    layers = torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()
    theirs = torch.nn.Sequential(*layers, torch.nn.Linear(144, 4))
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    for step in range(10):
        if step in (2, 7):
            for layers in (ours.layers, theirs):
                layers[0].requires_grad_(step == 7)
                layers[1].requires_grad_(step == 7)
        ours.train_step(X, Y)
        torch.nn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(Y)).backward()
        optimizer.step()
        optimizer.zero_grad()
        for name, array in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], array.numpy(), rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("route", ["fit", "train_step"])
def test_freeze_keeps_every_bit(backend, route):
    model = Sequential(
        [
            Conv2d(3, 4, 3, bias=False, rng=0),
            BatchNorm2d(4),
            ReLU(),
            Dropout(0.5, rng=0),
            Flatten(),
            Linear(144, 4, rng=1),
        ],
        CrossEntropyLoss(from_logits=True),
        SGD(lr=0.1, weight_decay=0.1),
    )
    model.fit(X, Y, epochs=2, batch_size=3, verbose_freq=0, rng=0)
    for layer in model.layers[:4]:
        assert layer.freeze() is layer
    before = model.state_dict()
    if route == "fit":
        model.fit(X, Y, epochs=2, batch_size=3, verbose_freq=0, rng=0)
    else:
        model.train()
        model.train_step(X, Y)
    assert not any(layer.training for layer in model.layers[:4])
    assert model[5].training
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name]) == (not name.startswith("5.")), name
    model.layers[1].unfreeze()
    model.fit(X, Y, epochs=1, batch_size=3, verbose_freq=0, rng=0)
    assert model[1].training
    assert not np.array_equal(model[1].running_mean.data, before["1.running_mean"])
    assert not np.array_equal(model[1].weight.data, before["1.weight"])
    np.testing.assert_array_equal(model[0].weight.data, before["0.weight"])


def test_everything_frozen_is_an_error():
    model = net().requires_grad_(False)
    before = model.state_dict()
    with pytest.raises(RuntimeError, match=r"all its parameters are frozen: call requires_grad_\(\)"):
        model.train_step(X, Y)
    with pytest.raises(RuntimeError, match="frozen"):
        model.fit(X, Y, epochs=1, verbose_freq=0)
    for name in ("9.weight", "4.body.weight"):
        np.testing.assert_array_equal(model.state_dict()[name], before[name])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_frozen_too(copied):
    model = copied(Sequential([Linear(2, 2), Identity()]).freeze())
    assert not model[0].weight.requires_grad
    assert not model.train().training


def test_words_of_others():
    layer = Conv2d(3, 4, 3)
    for name in ("requires_grad", "trainable"):
        with pytest.raises(AttributeError, match=rf"Conv2d has no setting '{name}': call requires_grad_\(False\)"):
            setattr(layer, name, False)
    with pytest.raises(AttributeError, match=r"call requires_grad_\(False\)"):
        layer.frozen = True
    with pytest.raises(AttributeError, match=r"has no trainable: write parameter\.requires_grad = False"):
        layer.weight.trainable = False
    with pytest.raises(ValueError, match="requires_grad must be True or False, got 'no'"):
        layer.weight.requires_grad = "no"

    class Own(Module):
        def __init__(self, trainable):
            self.trainable = trainable  # a setting of its own

    assert Own(True).trainable is True


def test_a_frozen_parameter_keeps_its_gradient_of_before():
    weight = Parameter([1.0])
    weight.accumulate_grad(np.ones(1))
    weight.requires_grad = False
    weight.accumulate_grad(np.ones(1))
    assert weight.grad == [1.0]


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_product_with_a_frozen_factor(backend, frozen):
    """The other factor gets the gradient that it always gets, and the frozen one is not run back."""
    found = []
    for freeze in (False, True):
        branches = [Conv2d(3, 4, 1, rng=0), Sequential([Conv2d(3, 4, 1, rng=1), Sigmoid()])]
        model = Sequential(
            [Product(branches), Flatten(), Linear(256, 4, rng=2)], CrossEntropyLoss(from_logits=True), SGD()
        )
        if freeze:
            branches[frozen].requires_grad_(False)
        model.loss_and_grad(X, Y)
        found.append([p.grad for p in branches[1 - frozen].parameters()])
        assert all((p.grad is None) == freeze for p in branches[frozen].parameters())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
