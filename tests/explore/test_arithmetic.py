"""Arithmetic: the terms add up to the number that the layer gave, and so does the code that is shown."""

import contextlib
import io

import numpy as np
import pytest

import cnn
from cnn import Graph, Residual, Sequential, Sum, zoo
from cnn.errors import InputError
from cnn.explore.arithmetic import arithmetic, loss_arithmetic
from cnn.explore.trace import trace
from cnn.explore.weight_gradients import weight_arithmetic
from cnn.layers import (
    Affine,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from cnn.loss import MSELoss
from cnn.zoo.trained import load
from tests.explore.nets import NETS, Block, Scale, equal_terms, made, own_layers, row

WITHOUT = (GroupNorm, Scale, Block)


def printed(code, model, x, y):
    """What the code prints; it has three lines at most."""
    assert 1 <= len(code.splitlines()) <= 3
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {"np": np, "cnn": cnn, "model": model, "x": x, "y": y})
    return float(output.getvalue())


def tolerance(terms):
    """The share of the sum of their sizes by which a sum in float32 may be wrong: web/src/check.tsx says why."""
    return max(1e-5, len(terms) * 2**-24)


def check(found, model, x, number, y=None):
    """The terms, and the code, give the number that the layer gave."""
    allowed = tolerance(found.terms) * np.abs(found.terms).sum()
    assert found.value == number
    assert found.terms.ndim == 1
    assert abs(found.terms.sum() - found.value) <= allowed
    assert abs(printed(found.code, model, x, y) - found.value) <= allowed


def check_every_node(model, x, rng, count=6):
    """Check some numbers of each layer; return the layers without arithmetic."""
    found, without = trace(model, x), []
    for name, node in found.nodes.items():
        shape = node.output.shape[1:]
        corners = [tuple(0 for _ in shape), tuple(n - 1 for n in shape)]
        for index in corners + [tuple(int(rng.integers(n)) for n in shape) for _ in range(count)]:
            explained = arithmetic(found, name, index)
            if explained is None:
                without.append(node.layer)
                break
            check(explained, model, x, node.output[0][index])
    return without


@pytest.mark.parametrize("net", NETS)
def test_every_layer_of_a_net(net):
    model, x = made(net)
    without = check_every_node(model, x, np.random.default_rng(0))
    expected = [None, *(layer for layer in model.layers if isinstance(layer, WITHOUT))]
    assert [type(layer) for layer in without[: len(expected)]] == [type(layer) for layer in expected]
    assert all(type(layer).__name__ in ("LogSoftmax", "GroupNorm", "Scale", "Block", "NoneType") for layer in without)


def test_the_trained_net():
    x = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8)
    model = load("fashion")
    x = model.preprocess(x)
    assert check_every_node(model, x, np.random.default_rng(0), 20) == [None]  # the sample itself
    check(loss_arithmetic(trace(model, x, 6)), model, x, trace(model, x, 6).loss)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(4, 6, (2, 3), stride=2, padding=((0, 2), (3, 1)), dilation=(1, 2), groups=2, rng=0),
        Conv2d(4, 4, 3, padding="same", groups=4, bias=False, rng=0),
        Conv2d(4, 2, 3, stride=2, padding="same", rng=0),
        MaxPool2d(3, stride=2, padding=1, dilation=2, ceil_mode=True),
        MaxPool2d((3, 2), stride=1, padding=((0, 2), (1, 0))),
        AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
        AvgPool2d(3, stride=2, padding="same", count_include_pad=False),
        BatchNorm2d(4, affine=False),
        Dropout2d(0.5),
        Residual(Sequential([Dropout(0.2), Tanh()])),
        Softmax(dim=1),
        Softmax(dim=-1),
        Sigmoid(),
        SiLU(),
        Hardtanh(-0.5, 0.7),
        Hardsigmoid(),
        Hardsigmoid(0.2, 0.4),
        Hardswish(),
        LeakyReLU(0.3),
        Affine(4),
    ],
    ids=lambda layer: repr(layer)[:60].replace("\n", ""),
)
def test_every_number_of_a_layer(layer):
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    model = Sequential([Identity(), layer, Identity()])
    found = trace(model, x, 0)
    for index in np.ndindex(found.nodes["1"].output.shape[1:]):
        check(arithmetic(found, "1", index), model, x, found.nodes["1"].output[0][index])


def test_names_with_quotes():
    nodes = [
        ('a"b\\', Conv2d(4, 2, 3, rng=0), "input"),
        ("ü'\n", Sum([ReLU(), Tanh()]), 'a"b\\'),
        ("🙂", Linear(4, 2), "ü'\n"),
    ]
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    model = Sequential([Graph(nodes, "🙂"), Flatten(), Linear(12, 3)])
    assert [type(layer).__name__ for layer in check_every_node(model, x, np.random.default_rng(0))] == [
        "NoneType",
        "Linear",
    ]
    found = trace(model, x, 1)
    check(weight_arithmetic(found, '0.a"b\\', (0, 0, 0, 0)), model, x, found.grads['0.a"b\\.weight'][0, 0, 0, 0], 1)


def test_the_values_of_a_convolution():
    model, x = made(row)
    found = trace(model, x, 0)
    explained = arithmetic(found, "3", (4, 7, 2))  # groups=2, stride=(1, 2), padding=((0, 1), (1, 0))
    a, w = found.nodes["2"].output[0], model.layers[3].weight.data[4]
    np.testing.assert_array_equal(explained.values["window"], a[2:4, 7:9, 3:6])
    np.testing.assert_array_equal(explained.values["kernel"], w)
    expected = [float((a[2 + c, 7:9, 3:6].astype(np.float64) * w[c]).sum()) for c in range(2)]
    np.testing.assert_allclose(explained.values["sums"], expected)
    assert explained.values["bias"] == model.layers[3].bias.data[4]
    border = arithmetic(found, "3", (0, 8, 0))  # the last row of the window is padding, and its first column
    assert (border.values["window"][:, 1] == 0).all()
    assert (border.values["window"][:, :, 0] == 0).all()
    assert len(border.terms) == 2 * 2 * 3 + 1


def test_a_long_sum_of_equal_terms():
    """All its sums in float32 are rounded to the same side, so that it is farther off than other sums."""
    model, x = made(equal_terms)
    found = trace(model, x, 0)
    explained = arithmetic(found, "2", (1, 4, 4))
    terms = np.abs(explained.terms)
    assert (len(terms), np.ptp(terms)) == (128 * 9, 0)
    one_by_one = np.cumsum(terms, dtype=np.float32)[-1]
    assert 1e-5 < abs(one_by_one - terms.sum()) / terms.sum() < tolerance(terms)
    for index in np.ndindex(4, 9, 8):
        check(arithmetic(found, "2", index), model, x, found.nodes["2"].output[0][index])


def test_which_pixel_won():
    x = np.array([[[[1, 7, 7, 0], [3, 4, 8, 9], [9, 2, 9, 1]]]], np.float32)
    found = trace(Sequential([MaxPool2d(2, stride=1)]), x, np.zeros((1, 2, 3), int))
    won = {index: list(arithmetic(found, "0", (0, *index)).values["largest at"]) for index in np.ndindex(2, 3)}
    assert won == {(0, 0): [0, 1], (0, 1): [1, 2], (0, 2): [1, 3], (1, 0): [2, 0], (1, 1): [2, 2], (1, 2): [1, 3]}


def test_the_largest_contributions_of_a_linear_layer():
    model = Sequential([Linear(4, 2)])
    model.layers[0].weight.data = [[1, -8, 2, 0], [0, 0, 0, 0]]
    found = arithmetic(trace(model, np.array([[1.0, 1.0, 3.0, 5.0]], np.float32), 0), "0", (0,))
    assert list(found.values["largest first"]) == [1, 2, 0, 3]
    assert list(found.values["products"]) == [1, -8, 6, 0]


def test_the_loss():
    for net in NETS:
        model, x = made(net)
        found = trace(model, x, 3)
        check(loss_arithmetic(found), model, x, found.loss)
    model = Sequential([Linear(2, 2, rng=0)], loss_func=MSELoss())
    assert loss_arithmetic(trace(model, np.ones((1, 2), np.float32), [0.0, 1.0])) is None
    model = zoo.unet((1, 8, 8), classes=2, width=4, depth=1)
    assert loss_arithmetic(trace(model, np.ones((1, 1, 8, 8), np.float32), 1)) is None


def test_a_class_that_is_nearly_impossible():
    model = Sequential([Linear(1, 2), Softmax()])
    model.layers[0].weight.data, model.layers[0].bias.data = [[500.0], [-500.0]], [0, 0]
    x = np.ones((1, 1), np.float32)
    check(loss_arithmetic(trace(model, x, 1)), model, x, 1000.0)


@pytest.mark.parametrize("net", NETS)
def test_the_gradient_of_a_weight(net):
    model, x = made(net)
    found, rng, without = trace(model, x, 3), np.random.default_rng(0), []
    for name, node in found.nodes.items():
        weight = getattr(node.layer, "weight", None)
        shape = () if weight is None else weight.shape
        corners = [tuple(0 for _ in shape), tuple(n - 1 for n in shape)]
        for index in corners + [tuple(int(rng.integers(n)) for n in shape) for _ in range(6)]:
            explained = weight_arithmetic(found, name, index)
            if explained is None:
                without.append(type(node.layer).__name__)
                break
            check(explained, model, x, found.grads[f"{name}.weight"][index], 3)
    assert "Conv2d" not in without
    assert "Linear" not in without


@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(4, 6, (2, 3), stride=2, padding=((0, 2), (3, 1)), dilation=(1, 2), groups=2, rng=0),
        Conv2d(4, 2, 3, stride=2, padding="same", bias=False, rng=0),
    ],
    ids=["groups", "same"],
)
def test_the_gradient_of_every_weight(layer):
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    model = Sequential([layer, Tanh()])
    found = trace(model, x, 1)
    for index in np.ndindex(layer.weight.shape):
        check(weight_arithmetic(found, "0", index), model, x, found.grads["0.weight"][index], 1)


def test_a_gradient_that_is_refused():
    model, x = made(row)
    found = trace(model, x, 0)
    assert weight_arithmetic(found, "1", (0,)) is None
    assert weight_arithmetic(found, "input", ()) is None
    with pytest.raises(InputError, match=r"index must be one of a number in a weight of shape \(4, 3, 3, 3\)"):
        weight_arithmetic(found, "0", (4, 0, 0, 0))
    with pytest.raises(InputError, match="there is no node '20'"):
        weight_arithmetic(found, "20", (0,))


def test_layers_without_arithmetic():
    model, x = made(own_layers)
    found = trace(model, x)
    assert arithmetic(found, "1", (0, 0, 0)) is None
    assert arithmetic(found, "2", (0, 0, 0)) is None
    assert arithmetic(found, "input", (0, 0, 0)) is None

    class Bent(ReLU):
        """A user's subclass computes something else."""

        def forward(self, x):
            return super().forward(x) + 1

    found = trace(Sequential([Bent(), Linear(2, 2)]), np.ones((1, 2), np.float32), 0)
    assert arithmetic(found, "0", (0,)) is None
    statistics = BatchNorm2d(2, track_running_stats=False)
    found = trace(Sequential([statistics]), np.random.default_rng(0).random((1, 2, 3, 3), np.float32), 0)
    assert arithmetic(found, "0", (0, 0, 0)) is None


def test_what_is_refused():
    model, x = made(row)
    found = trace(model, x, 0)
    with pytest.raises(InputError, match="there is no node '20'; there is input, 0, 1"):
        arithmetic(found, "20", (0,))
    for index in ((0, 0), (4, 0, 0), (0, -1, 0), (0, 0, 8)):
        with pytest.raises(InputError, match=r"index must be one of a number in an output of shape \(4, 9, 8\)"):
            arithmetic(found, "0", index)
