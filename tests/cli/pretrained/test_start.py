"""The layers of a net to start from."""

import numpy as np
import pytest

from cnn import zoo
from cnn.cli import pretrained
from cnn.errors import InputError
from cnn.layers import (
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Softmax,
)
from cnn.sequential import Sequential
from cnn.zoo.efficientnet import efficientnet_lite0
from tests.cli.pretrained.small import small_net


@pytest.mark.parametrize(
    ("layers", "shape", "problem"),
    [
        ([Flatten(), Linear(48, 3), ReLU()], (3, 4, 4), "ends with ReLU, expected a net whose last layer is Linear"),
        ([Dropout(0.5), Linear(48, 3)], (3, 4, 4), r"gives \(3, 4, 4\) values before its last Linear layer"),
        ([Softmax()], (3, 4, 4), "ends with nothing, expected a net whose last layer is Linear"),
        ([Linear(4, 3)], (3, 4, 4), "ends with Linear, expected a net whose last layer is Linear"),
        ([ReLU(), Linear(4, 3)], (4,), r"must take images, \(1 or 3, height, width\), but it takes inputs of \(4,\)"),
        ([Flatten(), Linear(32, 3)], (2, 4, 4), r"but it takes inputs of \(2, 4, 4\)"),
        ([ReLU(), Linear(48, 3)], None, "but it does not say"),
        ([ReLU(), Linear(4, 3)], (3, 4, 4), r"gives \(3, 4, 4\) values before its last Linear layer, expected a row"),
    ],
)
def test_nets_that_cannot_be_started_from(layers, shape, problem):
    net = Sequential(layers)
    net.input_shape = shape
    with pytest.raises(InputError, match=problem):
        pretrained.Start("net", net)


def test_the_upper_layers_of_efficientnet():
    """The last five blocks and the last convolution; the front ends where a block begins, with few channels."""
    net = efficientnet_lite0()
    start = pretrained.Start("net", net)
    assert (start.features, len(start.dropout)) == (1280, 1)
    assert start.outer == list(net)[:24]
    assert start.layers[start.first_upper] is net[14][0]
    shapes = pretrained.shapes_after("net", start.layers, (3, 224, 224))
    assert shapes[start.first_upper - 1] == (112, 14, 14)


def test_the_depths_of_efficientnet():
    """Before the same layers as above: what the five blocks and the last convolution are given, and the last layer."""
    net = efficientnet_lite0()
    start = pretrained.Start("net", net, depths=True)
    assert start.outer[:14] == list(net)[:14]
    graph = start.layers[start.first_upper]
    assert start.outer[14:] == [graph]
    assert [name for name, _, _ in graph.nodes if name.startswith("depth")] == [f"depth{i}" for i in range(14, 20)]
    assert start.features == 112 + 4 * 192 + 320 + 1280
    again = Sequential([*start.outer, Linear(start.features, 3)])  # a run, given to --from
    again.input_shape = (3, 224, 224)
    restarted = pretrained.Start("again", again)
    assert (restarted.features, restarted.layers[restarted.first_upper]) == (start.features, graph)


def test_what_the_depths_give():
    """The normalized means over the image of what a block is given, halved; then the output as it was."""
    net = small_net().eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    given = net[:3](x).mean((2, 3))
    mean, std = given.mean(1, keepdims=True), np.sqrt(given.var(1, keepdims=True) + 1e-5)
    start = pretrained.Start("net", net, depths=True)
    found = Sequential(start.layers).eval()(x)
    np.testing.assert_allclose(found[:, :8], 0.5 * (given - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[:, 8:], net[:6](x))


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "densenet", "inception"])
def test_the_upper_layers_of_other_nets(name):
    """They are the layers on the smallest images."""
    net = getattr(zoo, name)()
    net.input_shape = (3, 32, 32)
    start = pretrained.Start(name, net)
    upper = Sequential(start.layers[start.first_upper :])
    assert any(parameter.size for parameter in upper.parameters())
    shapes = pretrained.shapes_after(name, start.layers, (3, 32, 32))
    assert {shape[1:] for shape in shapes[start.first_upper :]} <= {(8, 8), (16, 16), (1, 1), ()}
