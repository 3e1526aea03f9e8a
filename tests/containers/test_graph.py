"""Graphs against PyTorch, against the same net as a Sequential, and what is wrong in their description."""

import copy

import numpy as np
import pytest
import torch

import cnn
from cnn import Add, Concatenate, Graph, Multiply, Product, Sequential, kernels, layers
from cnn.containers.branches import Concat, Residual
from cnn.containers.joins import Join
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sigmoid
from cnn.loss import CrossEntropyLoss
from cnn.module import Module
from cnn.optim import SGD
from cnn.utils.gradcheck import gradcheck

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((5, 3, 8, 8), np.float32), RNG.integers(0, 4, 5)


@pytest.fixture(params=["reference", "array", "jit"])
def backend(request):
    before = kernels.active()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)


def nodes():
    """A value that three nodes read, a join that reads the input, and a join of two that were joined before."""
    cnn.manual_seed(0)
    return [
        ("conv", Conv2d(3, 4, 3, padding=1, bias=False), "input"),
        ("norm", BatchNorm2d(4), "conv"),
        ("relu", ReLU(), "norm"),
        ("left", Conv2d(4, 4, 1), "relu"),
        ("right", Conv2d(4, 4, 3, padding=1), "relu"),
        ("right_relu", ReLU(), "right"),
        ("sum", Add(), ["left", "right_relu", "relu"]),
        ("all", Concatenate(), ["sum", "left", "input"]),
        ("pool", MaxPool2d(2), "all"),
        ("flat", Flatten(), "pool"),
        ("out", Linear(11 * 16, 4), "flat"),
    ]


def test_a_profile_counts_all_inputs_of_a_join():
    rows = {row["name"]: row for row in Sequential([Graph(nodes(), "out")]).profile(X).rows}
    joined = rows["0.all"]["bytes"]
    assert joined == 4 * 5 * 8 * 8 * (4 + 4 + 3 + 11)  # the channels of three inputs, and of the output


def test_a_gate():
    """Squeeze and excitation, with the joins and with Product."""
    gate = [layers.AdaptiveAvgPool2d(1), Conv2d(3, 3, 1, rng=0), Sigmoid()]
    graph = Graph([("gate", Sequential(gate), "input"), ("out", Multiply(), ["input", "gate"])], "out")
    product = Product([layers.Identity(), Sequential([layers.AdaptiveAvgPool2d(1), Conv2d(3, 3, 1, rng=0), Sigmoid()])])
    np.testing.assert_array_equal(graph(X), product(X))
    grad = np.ones_like(X)
    np.testing.assert_allclose(graph.backward(grad), product.backward(grad), rtol=1e-5, atol=1e-6)
    gradcheck(
        Graph([("gate", Sequential(gate), "input"), ("out", Multiply(), ["input", "gate", "gate"])], "out"), X[:2]
    )


class Torch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4)
        self.left, self.right = torch.nn.Conv2d(4, 4, 1), torch.nn.Conv2d(4, 4, 3, padding=1)
        self.out = torch.nn.Linear(11 * 16, 4)

    def forward(self, x):
        relu = self.norm(self.conv(x)).relu()
        left = self.left(relu)
        joined = torch.cat([left + self.right(relu).relu() + relu, left, x], dim=1)
        return self.out(torch.nn.functional.max_pool2d(joined, 2).flatten(1))


def counterpart(graph):
    theirs = Torch()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in graph.state_dict().items()})
    return theirs


def test_as_in_pytorch(backend):
    graph = Graph(nodes(), "out")
    theirs = counterpart(graph)
    grad = RNG.standard_normal((5, 4), np.float32)
    for _ in range(2):
        x = torch.tensor(X, requires_grad=True)
        y = theirs(x)
        y.backward(torch.tensor(grad))
        np.testing.assert_allclose(graph(X), y.detach().numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(graph.backward(grad), x.grad.numpy(), rtol=1e-3, atol=1e-5)
        for name, parameter in theirs.named_parameters():
            found = dict(graph.named_parameters())[name].grad
            np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(graph.children()["norm"].running_var.data, theirs.norm.running_var.numpy(), rtol=1e-4)
    assert all(module._saved is None for module in graph.modules())


def test_numeric_gradients():
    gradcheck(Graph(nodes(), "out"), X[:2])


def test_a_row_is_a_sequential_bit_for_bit(backend):
    """A graph that is a row runs the same fused steps as a Sequential."""
    layers = [layer for name, layer, _ in nodes() if name in ("conv", "norm", "relu", "right")]
    names = ["input", "a", "b", "c", "d"]
    graph = Graph(list(zip(names[1:], copy.deepcopy(layers), names[:-1], strict=True)), "d")
    row = Sequential(layers)
    np.testing.assert_array_equal(graph(X), row(X))
    grad = RNG.standard_normal((5, 4, 8, 8), np.float32)
    np.testing.assert_array_equal(graph.backward(grad), row.backward(grad))
    for ours, theirs in zip(graph.parameters(), row.parameters(), strict=True):
        np.testing.assert_array_equal(ours.grad, theirs.grad)


def test_it_trains_in_a_sequential_and_holds_others(backend, tmp_path):
    inner = [("a", Sequential([Conv2d(3, 4, 3, padding=1), ReLU()]), "input"), ("b", Residual(Conv2d(4, 4, 1)), "a")]
    inner += [("c", Graph([("x", Sigmoid(), "input"), ("y", Add(), ["x", "input"])], "y"), "b")]
    layers = [Graph([*inner, ("d", Concatenate(), ["c", "a"])], "d"), MaxPool2d(2), Flatten(), Linear(128, 4)]
    model = Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.1))
    first = model.train_step(X, Y)
    model.fit(X, Y, epochs=20, batch_size=5, verbose_freq=0, rng=0)
    assert model.evaluate(X, Y)[0] < first / 2
    assert "0.c.y" in repr(model.summary())
    assert {row["name"] for row in model.profile(X).rows} >= {"0.c.y", "0.d"}
    assert model.build((3, 8, 8))["0.c.y"] == (4, 8, 8)
    model.save(tmp_path / "graph.safetensors")
    loaded = Sequential.load(tmp_path / "graph.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert eval(repr(loaded), {**vars(cnn), **vars(cnn.layers), **vars(cnn.loss)})(X).shape == (5, 4)
    again = copy.deepcopy(model)
    again.train_step(X, Y)
    assert not np.array_equal(again[3].weight.data, model[3].weight.data)


def test_several_outputs():
    graph = Graph(
        [("a", Linear(3, 2, rng=0), "input"), ("b", ReLU(), "a"), ("c", Linear(2, 1, rng=0), "b")], ["b", "c"]
    )
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    b, c = graph(x)
    assert b.shape == (4, 2)
    theirs = torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)
    for part, name in zip(theirs, "ac", strict=True):
        part.load_state_dict({k: torch.tensor(v) for k, v in graph.children()[name].state_dict().items()})
    z = torch.tensor(x, requires_grad=True)
    theirs_b = theirs[0](z).relu()
    (theirs_b.sum() * 2 + theirs[1](theirs_b).sum()).backward()
    np.testing.assert_allclose(graph.backward([2 * np.ones_like(b), np.ones_like(c)]), z.grad.numpy(), rtol=1e-5)
    graph.zero_grad()
    graph(x)
    graph.backward([2 * np.ones_like(b), None])
    assert graph.children()["c"].weight.grad is None
    graph(x)
    with pytest.raises(ValueError, match="backward needs 2 gradients, one for each output, got 1"):
        graph.backward([b])
    with pytest.raises(ValueError, match="forward must return an array, but returned tuple"):
        Sequential([graph, ReLU()])(x)


@pytest.mark.parametrize("frozen", [["conv", "norm"], ["conv", "norm", "left", "right"], ["left"], ["out"], ["conv"]])
def test_frozen_parts(backend, frozen):
    """What is trained gets the gradients of before; before the first trained parameter nothing is saved."""

    class Spy(Module):
        count = 0

        def forward(self, x):
            return x

        def backward(self, grad):
            self.count += 1
            return grad

    spy = Spy()
    parts = [*nodes()[:3], ("spy", spy, "relu"), *nodes()[3:]]
    parts[4:6] = [("left", parts[4][1], "spy"), ("right", parts[5][1], "spy")]
    model = Sequential([Graph(parts, "out")], CrossEntropyLoss(from_logits=True), SGD(lr=0.1))
    free = copy.deepcopy(model)
    for name in frozen:
        model[0].children()[name].requires_grad_(False)
    assert model.loss_and_grad(X, Y)[0] == pytest.approx(free.loss_and_grad(X, Y)[0], rel=1e-6)
    for (name, ours), theirs in zip(model.named_parameters(), free.parameters(), strict=True):
        if name.split(".")[1] in frozen:
            assert ours.grad is None
        else:
            np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, err_msg=name)
    assert spy.count == (not {"conv", "norm"} <= set(frozen))
    assert all(module._saved is None for module in model.modules())


def test_errors_name_the_node():
    graph = Graph(nodes(), "out")
    with pytest.raises(ValueError, match=r"^layer conv, Conv2d\(in_channels=3"):
        graph(X[:, :2])
    with pytest.raises(ValueError, match=r"^layer 0.out, Linear"):
        Sequential([graph])(RNG.standard_normal((5, 3, 16, 16), np.float32))
    with pytest.raises(ValueError, match=r"^layer sum, Add\(\): the inputs to be added must have the same shape"):
        Graph([("a", Linear(3, 2), "input"), ("sum", Add(), ["a", "input"])], "sum")(np.ones((1, 3), np.float32))
    two = Graph([("a", Flatten(), "input"), ("both", Concatenate(), ["a", "input"])], "both")
    with pytest.raises(ValueError, match=r"^layer both, Concatenate\(\): the inputs to be concatenated"):
        two(X)


relu = ReLU()
WRONG = {
    "reads 'b', which comes later: put it before": ([("a", ReLU(), "b"), ("b", ReLU(), "input")], "a"),
    "reads 'x', which is neither 'input' nor a node": ([("a", ReLU(), "x")], "a"),
    "each node needs a name of its own, without dots and not 'input', got 'a.b'": ([("a.b", ReLU(), "input")], "a.b"),
    "of its own, without dots and not 'input', got 'input'": ([("input", ReLU(), "input")], "input"),
    "of its own, without dots and not 'input', got 'a'": ([("a", ReLU(), "input"), ("a", ReLU(), "a")], "a"),
    "nothing reads b: leave it out": ([("a", ReLU(), "input"), ("b", ReLU(), "input")], "a"),
    "output 'c' is not the name of a node": ([("a", ReLU(), "input")], ["a", "c"]),
    "outputs must name nodes, each once": ([("a", ReLU(), "input")], ["a", "a"]),
    r"node b, ReLU\(\), reads 2 values, but takes one: join them": (
        [("a", ReLU(), "input"), ("b", ReLU(), ["a", "input"])],
        "b",
    ),
    "layers a and b are the same ReLU instance": ([("a", relu, "input"), ("b", relu, "a")], "b"),
    "needs at least one layer": ([], []),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_descriptions(message):
    with pytest.raises(ValueError, match=message):
        Graph(*WRONG[message])


def test_two_forward_passes_and_two_backward_passes():
    graph = Graph(nodes(), "out")
    graph(X)
    y = graph(X)
    graph.backward(np.ones_like(y))
    with pytest.raises(RuntimeError, match="nothing saved"):
        graph.backward(np.ones_like(y))
    with cnn.no_grad():
        graph(X)
    assert graph._saved is None
    with pytest.raises(NotImplementedError, match="needs a method forward"):
        Join()([X])


def test_the_same_as_branches(backend):
    """Concat and Residual say the same with less."""
    left, right = Conv2d(3, 3, 1, rng=0), Conv2d(3, 2, 1, rng=1)
    branches = Concat([Residual(left), right])
    graph = Graph(
        [
            ("left", copy.deepcopy(left), "input"),
            ("sum", Add(), ["left", "input"]),
            ("right", copy.deepcopy(right), "input"),
            ("all", Concatenate(), ["sum", "right"]),
        ],
        "all",
    )
    y = branches(X)
    np.testing.assert_array_equal(graph(X), y)
    np.testing.assert_allclose(graph.backward(y), branches.backward(y), rtol=1e-6, atol=1e-6)
