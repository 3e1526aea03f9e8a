"""Nets and samples for the tests of cnn.explore: layers in a row, branches, a graph, a user's own layers."""

import numpy as np

import cnn
from cnn import Add, Concat, Concatenate, Graph, Multiply, Product, Residual, Sequential, Sum
from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    Hardtanh,
    Identity,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ReLU,
    ReLU6,
    Sigmoid,
    Softmax,
    Tanh,
)
from cnn.loss import CrossEntropyLoss
from cnn.module import Module, Parameter

SHAPE = (3, 9, 8)


class Scale(Module):
    """A user's layer."""

    def __init__(self):
        self.weight = Parameter(np.full(1, 1.5, np.float32))

    def forward(self, x):
        self.save_for_backward(x)
        return x * self.weight.data

    def backward(self, grad):
        (x,) = self.saved()
        self.weight.accumulate_grad((grad * x).sum().reshape(1))
        return grad * self.weight.data


class Block(Module):
    """A user's module that runs layers and a container of the library."""

    def __init__(self):
        self.conv = Conv2d(4, 4, 1)
        self.rest = Sequential([ReLU(), Scale()])

    def forward(self, x):
        return x + self.rest(self.conv(x))

    def backward(self, grad):
        return grad + self.conv.backward(self.rest.backward(grad))


class Net(Sequential):
    """A user's subclass that adds nothing to how it runs."""


def row():
    """One of each common layer in a row, with uneven sizes, strides and padding."""
    convs = [
        Conv2d(3, 4, 3, padding=1, bias=False),
        BatchNorm2d(4),
        ReLU(),
        Conv2d(4, 6, (2, 3), stride=(1, 2), padding=((0, 1), (1, 0)), groups=2),
        LeakyReLU(0.1),
        MaxPool2d(3, stride=2, padding=1),
        Conv2d(6, 8, 2, dilation=2, padding="same"),
        Tanh(),
        AvgPool2d(2, stride=1, padding=1, count_include_pad=False),
        GroupNorm(2, 8),
    ]
    return Net(
        [
            *convs,
            Flatten(),
            Linear(8 * 6 * 3, 7, bias=False),
            BatchNorm1d(7),
            ReLU6(),
            Dropout(0.3),
            Linear(7, 5),
            Softmax(),
        ]
    )


def branches():
    """Branches in branches: residual, inception, dense, a gate."""
    gate = Sequential([AdaptiveAvgPool2d(1), Conv2d(6, 6, 1), Sigmoid()])
    inner = Residual(Sequential([Conv2d(3, 6, 3, padding=1, bias=False), BatchNorm2d(6), ReLU()]), Conv2d(3, 6, 1))
    dense = Concat([Identity(), Sequential([Conv2d(6, 3, 3, padding=1), Sum([ReLU(), Identity(), Tanh()])])])
    first = Concat([Identity(), Residual(Sequential([inner, Conv2d(6, 3, 1)]))])
    last = [AdaptiveMaxPool2d((2, 3)), Flatten(), Sequential([Linear(54, 5), Softmax()])]
    return Sequential([first, ReLU(), Product([Identity(), gate]), dense, *last])


def graph():
    """A graph that ends with its Softmax, as from an ONNX file."""
    gate = Sequential([AdaptiveAvgPool2d(1), Conv2d(4, 4, 1), Sigmoid()])
    nodes = [
        ("conv", Conv2d(3, 4, 3, padding=1), "input"),
        ("relu", ReLU(), "conv"),
        ("same", Identity(), "relu"),
        ("gate", gate, "relu"),
        ("product", Multiply(), ["same", "gate"]),
        ("right", Conv2d(4, 4, 1), "relu"),
        ("sum", Add(), ["product", "right", "relu"]),
        ("all", Concatenate(), ["sum", "input"]),
        ("flat", Flatten(), "all"),
        ("out", Linear(7 * 72, 5), "flat"),
        ("p", Softmax(), "out"),
    ]
    return Sequential([Graph(nodes, "p")])


def own_layers():
    """A user's layer, and a user's module with a container of the library in it."""
    return Sequential([Conv2d(3, 4, 3), Block(), Scale(), AvgPool2d(2), Flatten(), Linear(36, 5), LogSoftmax(dim=1)])


def logits():
    """A net that gives logits."""
    layers = [Flatten(), Linear(216, 9), ReLU(), Linear(9, 5)]
    return Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True))


def equal_terms():
    """A convolution that adds up 1,152 equal products."""
    layers = [Conv2d(3, 128, 1, bias=False), Hardtanh(0.0215, 1), Conv2d(128, 4, 3, padding=1, bias=False)]
    layers[0].weight.data, layers[2].weight.data = np.zeros((128, 3, 1, 1)), np.full((4, 128, 3, 3), 0.1)
    return Sequential([*layers, Flatten(), Linear(4 * 72, 5)])


NETS = [row, branches, graph, own_layers, logits]


def made(net, dtype="float32"):
    """Return the net with running statistics and norm weights as after training, and a sample."""
    cnn.manual_seed(0)
    model = net().to(dtype)
    rng = np.random.default_rng(1)
    for name, tensor in model.named_tensors():
        if tensor.data.ndim == 1:
            tensor.data = rng.uniform(0.3, 1.5, tensor.shape) * (
                1 if "var" in name else rng.choice([-1, 1], tensor.shape)
            )
    return model, rng.normal(size=(1, *SHAPE)).astype(dtype)
