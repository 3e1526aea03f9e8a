"""Facts: formulas are true, costs are those of summary, receptive fields are where gradients arrive."""

import math

import numpy as np
import pytest

import cnn
from cnn import Concat, Product, Residual, Sequential, Sum, zoo
from cnn.explore.facts import dead_share, facts
from cnn.explore.trace import trace
from cnn.explore.walk import Walk
from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    GroupNorm,
    Identity,
    Linear,
    MaxPool2d,
    PixelShuffle,
    ReflectionPad2d,
    ReLU,
    ReLU6,
    Softmax,
    Tanh,
    Upsample,
    ZeroPad2d,
)
from tests.explore.nets import NETS, Scale, branches, graph, made, own_layers, row


def found_for(layers, shape):
    cnn.manual_seed(0)
    model = Sequential(layers)
    walk = Walk(model, np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))
    return facts(walk.nodes)


@pytest.mark.parametrize(
    ("layer", "formulas"),
    [
        (Conv2d(2, 4, 3, padding=1), {"height": "(9 + 2*1 - 3)/1 + 1 = 9", "width": "(8 + 2*1 - 3)/1 + 1 = 8"}),
        (Conv2d(2, 4, (3, 2), stride=2), {"height": "(9 + 2*0 - 3)/2 + 1 = 4", "width": "(8 + 2*0 - 2)/2 + 1 = 4"}),
        (Conv2d(2, 1, 3, stride=2, padding="same"), {"height": "(9 + 2*1 - 3)/2 + 1 = 5", "width": "(8 + 0 + 1 - 3)/2 + 1 = 4"}),
        (Conv2d(2, 1, 3, dilation=2), {"height": "(9 + 2*0 - 2*(3 - 1) - 1)/1 + 1 = 5", "width": "(8 + 2*0 - 2*(3 - 1) - 1)/1 + 1 = 4"}),
        (MaxPool2d(2), {"height": "floor((9 + 2*0 - 2)/2) + 1 = 4", "width": "(8 + 2*0 - 2)/2 + 1 = 4"}),
        (MaxPool2d(2, ceil_mode=True), {"height": "ceil((9 + 2*0 - 2)/2) + 1 = 5", "width": "(8 + 2*0 - 2)/2 + 1 = 4"}),
        (AvgPool2d(2, stride=7, padding=1, ceil_mode=True), {"height": "ceil((9 + 2*1 - 2)/7) + 1 - 1 = 2", "width": "ceil((8 + 2*1 - 2)/7) + 1 - 1 = 2"}),
        (AvgPool2d(3, stride=5, ceil_mode=True), {"height": "ceil((9 + 2*0 - 3)/5) + 1 - 1 = 2", "width": "(8 + 2*0 - 3)/5 + 1 = 2"}),
        (AvgPool2d(2, stride=9, ceil_mode=True), {"height": "ceil((9 + 2*0 - 2)/9) + 1 - 1 = 1", "width": "ceil((8 + 2*0 - 2)/9) + 1 - 1 = 1"}),
        (ConvTranspose2d(2, 1, 2, stride=2), {"height": "(9 - 1)*2 + 2 - 2*0 = 18", "width": "(8 - 1)*2 + 2 - 2*0 = 16"}),
        (ConvTranspose2d(2, 1, 3, 3, ((1, 0), (2, 2)), 1, dilation=2), {"height": "(9 - 1)*3 + 2*(3 - 1) + 1 - 1 - 0 + 1 = 29", "width": "(8 - 1)*3 + 2*(3 - 1) + 1 - 2*2 + 1 = 23"}),
        (Flatten(), {"features": "2 * 9 * 8 = 144"}),
        (Concat([Identity(), Conv2d(2, 5, 1)]), {"channels": "2 + 5 = 7"}),
        (ZeroPad2d((1, 2, 0, 3)), {"height": "9 + 0 + 3 = 12", "width": "8 + 1 + 2 = 11"}),
        (ReflectionPad2d(1), {"height": "9 + 1 + 1 = 11", "width": "8 + 1 + 1 = 10"}),
        (Upsample(scale_factor=1.5), {"height": "floor(9 * 1.5) = 13", "width": "floor(8 * 1.5) = 12"}),
        (ReLU(), {}),
        (Residual(ReLU()), {}),
    ],
    ids=lambda value: repr(value)[:50] if isinstance(value, cnn.Module) else "",
)  # fmt: skip
def test_formulas_of_sizes(layer, formulas):
    found = list(found_for([layer], (2, 9, 8)).values())[-1]
    assert found.formulas == formulas
    sizes = dict(zip(("channels", "height", "width"), found.shape, strict=False))
    for axis, formula in formulas.items():
        left, right = formula.split(" = ")
        value = eval(left, {"floor": math.floor, "ceil": math.ceil})
        assert value == int(right) == sizes.get(axis, found.shape[0])


def test_formulas_of_a_pixel_shuffle():
    assert found_for([PixelShuffle(2)], (8, 3, 4))["0"].formulas == {
        "channels": "8/(2 * 2) = 2",
        "height": "3 * 2 = 6",
        "width": "4 * 2 = 8",
    }


@pytest.mark.parametrize("net", [row, branches, graph, zoo.resnet, zoo.efficientnet_lite0])
def test_costs_are_those_of_the_summary(net):
    model, shape = (made(net)[0], (3, 9, 8)) if net in NETS else (net(), (3, 32, 32))
    found = facts(trace(model, np.ones((1, *shape), np.float32)).nodes)
    summary = model.summary(shape)
    for each in summary.rows:
        assert found[each.name].parameters == each.parameters
        assert found[each.name].multiply_adds == each.multiply_adds
        assert found[each.name].shape == each.output
    assert sum(each.parameters for each in found.values()) == summary.parameters


def test_parameters_of_a_users_module_and_shared_ones():
    model, x = made(own_layers)
    assert facts(trace(model, x).nodes)["1"].parameters == 4 * 4 + 4 + 1
    first, second = Linear(3, 3), Linear(3, 3)
    second.weight = first.weight
    found = facts(trace(Sequential([first, Tanh(), second]), np.ones((1, 3), np.float32)).nodes)
    assert [found[name].parameters for name in ("0", "2")] == [12, 3]


def seen_from(layers, shape, i, j):
    """The rows and columns of the image where the gradient of output [i, j] of the last layer is not zero."""
    seen = np.zeros(shape[1:], bool)
    for seed in range(30):  # of a maximum only one pixel gets a gradient
        x = np.random.default_rng(seed).normal(size=(1, *shape))
        walk = Walk(Sequential(layers).to("float64"), x)
        start = np.zeros_like(walk.logits)
        start[(slice(None), slice(None), i, j)[: start.ndim]] = np.random.default_rng(seed).normal(
            size=walk.logits.shape[1]
        )[(None, slice(None), None, None)[: min(start.ndim, 2)]]
        walk.backward(start)
        seen |= (walk.nodes["input"].grad[0] != 0).any(axis=0)
    return np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))


CHAINS = {
    "conv": [Conv2d(2, 3, 3, padding=1, rng=0), Tanh(), Conv2d(3, 2, (2, 3), stride=(2, 1), padding=((0, 1), (2, 0)), rng=1)],
    "dilated": [Conv2d(2, 3, 3, stride=2, rng=0), Conv2d(3, 2, 2, dilation=(2, 1), padding="same", rng=1)],
    "pools": [MaxPool2d(2), BatchNorm2d(2), AvgPool2d(3, stride=2, padding=1), ChannelShuffle(2)],
    "adaptive": [Conv2d(2, 4, 3, rng=0), AdaptiveAvgPool2d((3, 5)), AdaptiveMaxPool2d((3, 1))],
    "pads": [ZeroPad2d((1, 0, 2, 0)), Conv2d(2, 2, 3, rng=0), MaxPool2d(2, ceil_mode=True)],
    "norm": [Conv2d(2, 2, 3, rng=0), GroupNorm(1, 2), Conv2d(2, 2, 3, rng=1)],
    "residual": [Residual(Sequential([Conv2d(2, 2, 3, padding=1, rng=0), Tanh(), Conv2d(2, 2, (3, 1), padding=(1, 0), rng=1)]))],
    "inception": [Concat([Conv2d(2, 1, 1, rng=0), Conv2d(2, 1, (5, 2), padding=((4, 0), (0, 1)), rng=1)]), Conv2d(2, 2, 2, stride=2, rng=0)],
    "gate": [Conv2d(2, 2, 3, rng=0), Product([Identity(), Sequential([AdaptiveAvgPool2d(1), Conv2d(2, 2, 1, rng=1)])])],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_receptive_fields_are_where_gradients_arrive(name):
    layers, shape = CHAINS[name], (2, 11, 12)
    found = list(found_for(layers, shape).values())[-1]
    _, height, width = found.shape
    for i, j in {(0, 0), (height // 2, width // 2), (height - 1, width - 1)}:
        for axis, seen in enumerate(seen_from(layers, shape, i, j)):
            first = found.field.offset[axis] + found.field.stride[axis] * (i, j)[axis]
            end = min(first + found.field.size[axis], shape[1 + axis])  # without the padding
            assert max(first, 0) <= seen.min() < seen.max() + 1 <= end
            if (i, j) == (height // 2, width // 2):  # elsewhere the padding inside the net hides some pixels
                assert (seen.min(), seen.max() + 1) == (max(first, 0), end)


def test_receptive_fields_of_features():
    found = found_for(
        [Conv2d(1, 2, 3), MaxPool2d(2), Flatten(), Tanh(), Linear(32, 4), Tanh(), Linear(4, 2)], (1, 10, 10)
    )
    assert found["3"].field == found["1"].field
    assert found["3"].field.size == (4, 4)
    assert found["4"].field == found["6"].field
    assert (found["4"].field.size, found["4"].field.stride, found["4"].field.offset) == ((10, 10), (0, 0), (0, 0))
    found = found_for([AdaptiveAvgPool2d(1), Flatten(), Linear(3, 4), Softmax()], (3, 10, 10))
    assert found["3"].field.size == (10, 10)


def test_unknown_receptive_fields():
    for layer in (
        Scale(),
        ConvTranspose2d(2, 2, 2),
        Upsample(scale_factor=2),
        AdaptiveAvgPool2d(4),
        ReflectionPad2d(1),
    ):
        found = found_for([layer, ReLU(), Residual(ReLU())], (2, 6, 6))
        assert [found[name].field for name in ("0", "1", "2")] == [None, None, None]
    # two branches that cover the image in different steps
    steps = [
        Sequential([ReLU(), AvgPool2d(2)]),
        Sequential([Conv2d(2, 2, 4, padding=1, stride=1), AdaptiveAvgPool2d(5)]),
    ]
    assert found_for([Sum(steps)], (2, 10, 10))["0"].field is None
    assert found_for([Linear(3, 2), Tanh()], (3,))["1"].field is None  # no image


def test_dead_units():
    model = Sequential([Linear(2, 4), ReLU(), Linear(4, 2), ReLU6(), Linear(2, 2)])
    model.layers[0].weight.data = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    model.layers[0].bias.data = [0, 0, 0, -9]
    nodes = [trace(model, np.array([[x, y]], np.float32)).nodes for x, y in ((1, 1), (2, -1), (-1, 3))]
    assert dead_share(nodes[0]["1"], [each["1"].output for each in nodes]) == 0.25
    assert dead_share(nodes[0]["1"], [each["1"].output for each in nodes[:1]]) == 0.5
    assert dead_share(nodes[0]["0"], [each["0"].output for each in nodes]) is None
    assert dead_share(nodes[0]["3"], [each["3"].output for each in nodes]) in (0.0, 0.5, 1.0)
