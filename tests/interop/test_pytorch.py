"""to_torch and from_torch: every layer that both have, both ways, and what one of them does not have."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import cnn
from cnn import Add, Concat, Concatenate, Graph, Multiply, Product, Residual, Sequential, Sum, layers, zoo
from cnn.interop.pytorch import from_torch, to_torch
from cnn.module import Module
from cnn.verify.case_types import OURS
from cnn.verify.cases import LAYERS

CASES = [(f"{case.name} {i}", case) for i, case in enumerate(LAYERS)]


def in_torch(layer):
    """Whether torch.nn has the settings of a layer, or of the layers in it."""
    padding = getattr(layer, "padding", 0)
    uneven = isinstance(padding, tuple) and any(isinstance(side, tuple) for side in padding) and len(padding) == 2
    strided = isinstance(padding, str) and (not isinstance(layer, layers.Conv2d) or layer.stride != (1, 1))
    own = getattr(layer, "asymmetric", False) or (isinstance(layer, layers.Hardsigmoid) and layer.alpha != 1 / 6)
    return not (uneven or strided or own) and all(in_torch(child) for child in layer.children().values())


def outputs(ours, theirs, x):
    dtype = next((p.dtype for p in theirs.parameters()), torch.float32)
    x = x.astype(str(dtype).removeprefix("torch."))
    with torch.no_grad():
        return ours(x), theirs(torch.tensor(x)).numpy()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's own
@pytest.mark.parametrize(("name", "case"), CASES, ids=[name for name, _ in CASES])
def test_every_layer_both_ways(name, case):
    ours = case.build(OURS).eval()
    if not in_torch(ours):
        with pytest.raises(ValueError, match="PyTorch has no counterpart of"):
            to_torch(ours)
        return
    x = np.random.default_rng(0).standard_normal(case.shape).astype(np.float32)
    theirs = to_torch(ours)
    assert {name: tuple(t.shape) for name, t in theirs.state_dict().items()} == {
        name: a.shape for name, a in ours.state_dict().items()
    }
    back = from_torch(theirs)
    assert repr(back) == repr(ours)
    for key, array in ours.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[key], array)
    a, b = outputs(ours, theirs, x)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(back(x), a)


def test_every_layer_that_both_have_is_in_the_cases():
    both = {name for name in layers.__all__ if hasattr(nn, name)}
    assert both <= {case.name for _, case in CASES}


NETS = [(zoo.small_cnn, (1, 12, 8)), (zoo.inception, (3, 8, 8)), (zoo.densenet, (3, 8, 8)), (zoo.resnet, (3, 8, 8))]


@pytest.mark.parametrize(("net", "shape"), NETS, ids=[net.__name__ for net, _ in NETS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nets(net, shape, dtype):
    ours = net(input_shape=shape).to(dtype).eval()
    theirs = to_torch(ours)
    x = np.random.default_rng(0).standard_normal((3, *shape)).astype(dtype)
    a, b = outputs(ours, theirs, x)
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    back = from_torch(theirs)
    np.testing.assert_array_equal(back(x), a)


def test_what_only_this_library_has():
    ours = Sequential([layers.Affine(4), Product([layers.ReLU(), layers.Sigmoid()]), layers.ChannelSlice(1, 3)])
    ours[0].weight.data = [1, 2, 3, 4]
    theirs = to_torch(ours)
    a, b = outputs(ours, theirs, np.random.default_rng(0).standard_normal((2, 4, 3, 3)).astype(np.float32))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert repr(from_torch(theirs)) == repr(ours)


def test_a_graph_both_ways():
    nodes = [("a", layers.Conv2d(3, 4, 1), "input"), ("b", layers.ReLU(), "a"), ("c", Add(), ["a", "b"])]
    nodes.append(("gate", Multiply(), ["c", "b"]))
    ours = Graph([*nodes, ("d", Concatenate(), ["gate", "input"])], ["d", "c"])
    theirs = to_torch(ours)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    for a, b, c in zip(ours(x), theirs(torch.tensor(x)), from_torch(theirs)(x), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(c, a)


def test_modes_and_frozen_parameters():
    ours = Sequential([layers.Linear(3, 3), Residual(layers.Linear(3, 3)), Sum([layers.ReLU(), layers.Linear(3, 3)])])
    ours[1].freeze()
    theirs = to_torch(ours)
    assert [p.requires_grad for p in theirs.parameters()] == [True, True, False, False, True, True]
    assert [theirs[i].training for i in range(3)] == [True, False, True]
    assert [p.requires_grad for p in from_torch(theirs).parameters()] == [True, True, False, False, True, True]
    theirs[0].weight.data += 1  # a copy
    assert not np.allclose(theirs[0].weight.detach().numpy(), ours[0].weight.data)


def test_what_pytorch_does_not_have():
    class Own(Module):
        def forward(self, x):
            return x

    with pytest.raises(ValueError, match=r"PyTorch has no counterpart of\n  0, Own\(\)\n  1.1, Own\(\)"):
        to_torch(Sequential([Own(), Concat([layers.ReLU(), Own()])]))


def test_what_this_library_does_not_have():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2)

    theirs = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv3d(3, 4, 3),
        nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(2, return_indices=True)),
        Net(),
    )
    with pytest.raises(ValueError, match="this library has no counterpart of") as caught:
        from_torch(theirs)
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  0, Conv2d(3, 4")
    assert lines[1].endswith("padding_mode='circular' is not supported")
    assert lines[2] == "  1, of the class Conv3d"
    assert lines[3].endswith("return_indices=True is not supported")
    assert lines[4] == "  3, of the class Net, whose forward is code"
    assert lines[5].startswith("write the net as cnn.Sequential")
    with pytest.raises(TypeError, match="read_weights reads files"):
        from_torch({"weight": torch.ones(2)})
    named = nn.Sequential()
    named.add_module("first", nn.ReLU())
    with pytest.raises(ValueError, match="a Sequential with the names first"):
        from_torch(named)


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        to_torch(cnn.Sequential([layers.ReLU()]))
