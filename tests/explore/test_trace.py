"""Traces: activations and gradients are the layers' own and right, and the model stays as it was."""

import copy

import numpy as np
import pytest

import cnn
from cnn import Graph, Sequential, kernels, zoo
from cnn.core import modes, rng
from cnn.errors import InputError, ShapeError
from cnn.explore.trace import trace
from cnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, Sigmoid, Softmax
from cnn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from cnn.module import Module, evaluating, forward_hook
from cnn.optim import Adam
from tests.explore.nets import NETS, branches, graph, made, own_layers, row


def naive_loss(model, x, y):
    """Cross-entropy of class y, computed from the outputs in float64."""
    with evaluating(), forward_hook(lambda module, y: None):
        outputs = model(x)[0].astype(np.float64)
    last = repr(list(model.modules())[-1])
    if last.startswith("LogSoftmax"):
        return -outputs[y]
    if last.startswith("Softmax"):
        return -np.log(outputs[y])
    return np.log(np.exp(outputs).sum()) - outputs[y]


def slope(model, x, name, direction, loss):
    """The derivative of the loss along a direction, added to the output of a layer or to the sample."""
    values = []
    for step in (1e-5, -1e-5):
        moved = copy.deepcopy(model)
        layer = dict(moved.named_modules()).get(name)
        if name == "input":
            values.append(loss(moved, x + step * direction))
            continue
        forward = layer.forward
        layer.__dict__["forward"] = lambda x, forward=forward, step=step: forward(x) + step * direction
        values.append(loss(moved, x))
    return (values[0] - values[1]) / 2e-5


@pytest.mark.parametrize("net", NETS)
def test_every_gradient_is_that_of_finite_differences(net):
    model, x = made(net, "float64")
    found, y = trace(model, x, 2), 2
    assert found.loss == pytest.approx(naive_loss(model, x, y), rel=1e-12)
    generator = np.random.default_rng(3)
    for name, node in found.nodes.items():
        direction = generator.normal(size=node.output.shape)
        expected = slope(model, x, name, direction, lambda model, x: naive_loss(model, x, y))
        scale = np.linalg.norm(node.grad) * np.linalg.norm(direction)
        assert np.sum(node.grad * direction) == pytest.approx(expected, abs=1e-6 * scale), name
        assert scale > 0, name
    for name, parameter in model.named_parameters():
        direction, values, before = generator.normal(size=parameter.shape), [], parameter.data.copy()
        for step in (1e-5, -1e-5):
            parameter.data = before + step * direction
            values.append(naive_loss(model, x, y))
        parameter.data = before
        scale = np.linalg.norm(found.grads[name]) * np.linalg.norm(direction) + 1e-3
        assert np.sum(found.grads[name] * direction) == pytest.approx(
            (values[0] - values[1]) / 2e-5, abs=1e-6 * scale
        ), name


@pytest.mark.parametrize("backend", ["reference", "array", "jit"])
@pytest.mark.parametrize("net", NETS)
def test_the_numbers_are_those_of_the_layers_bit_for_bit(net, backend):
    before = kernels.active()
    kernels.use(backend)
    try:
        model, x = made(net)
        found, outputs = trace(model, x, 1), model.activations(x)
        for name, node in found.nodes.items():
            np.testing.assert_array_equal(node.output, x if name == "input" else outputs[name], strict=True)
            assert node.grad.dtype == np.float32
            assert node.grad.shape == node.output.shape
        unfused = copy.deepcopy(model).eval()
        unfused.loss_func = (
            CrossEntropyLoss(from_logits=model.loss_func is not None) if net in (row, branches) else None
        )
        if unfused.loss_func is not None:
            with forward_hook(lambda module, y: None):
                loss, _ = unfused.loss_and_grad(x, np.array([1]))
            assert found.loss == loss
            for name, parameter in unfused.named_parameters():
                np.testing.assert_array_equal(found.grads[name], parameter.grad, strict=True)
    finally:
        kernels.use(before)


def test_which_nodes_a_layer_reads():
    model, x = made(branches)
    reads = {name: node.reads for name, node in trace(model, x, 0).nodes.items()}
    assert list(reads)[:5] == ["input", "0.0", "0.1.body.0.body.0", "0.1.body.0.body.1", "0.1.body.0.body.2"]
    assert reads["0.0"] == reads["0.1.body.0.body.0"] == reads["0.1.body.0.shortcut"] == ("input",)
    assert reads["0.1.body.0"] == ("0.1.body.0.body.2", "0.1.body.0.shortcut")
    assert reads["0.1.body.1"] == ("0.1.body.0",)
    assert reads["0.1"] == ("0.1.body.1", "0.1.shortcut")
    assert reads["0"] == ("0.0", "0.1")
    assert reads["2"] == ("2.0", "2.1.2")
    assert reads["3.1.1"] == ("3.1.1.0", "3.1.1.1", "3.1.1.2")
    assert reads["3"] == ("3.0", "3.1.1")
    assert reads["6.1"] == ("6.0",)

    model, x = made(graph)
    reads = {name: node.reads for name, node in trace(model, x, 0).nodes.items()}
    assert reads["0.product"] == ("0.same", "0.gate.2")
    assert reads["0.sum"] == ("0.product", "0.right", "0.relu")
    assert reads["0.all"] == ("0.sum", "input")
    assert list(reads)[-1] == "0.p"

    model, x = made(own_layers)
    assert list(trace(model, x, 0).nodes) == [
        "input",
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
    ]  # the user's block is one node


def test_a_class_that_is_not_given_is_the_predicted_one():
    model, x = made(row)
    found = trace(model, x)
    assert found.target == model.predict(x) == found.probabilities.argmax()
    np.testing.assert_allclose(found.probabilities, model.predict_proba(x), rtol=1e-5)


@pytest.mark.parametrize("mode", [cnn.no_grad, evaluating])
def test_a_trace_inside_a_mode(mode):
    model, x = made(branches)
    expected = trace(model, x, 1)
    with mode():
        found = trace(model, x, 1)
        assert not modes.state.saving
    for name, node in found.nodes.items():
        np.testing.assert_array_equal(node.grad, expected.nodes[name].grad)


def test_the_gradient_of_the_logits_is_p_minus_y():
    model, x = made(row)
    found = trace(model, x, 4)
    np.testing.assert_allclose(found.nodes["15"].grad, found.probabilities - np.eye(5)[[4]], rtol=1e-5, atol=1e-7)


def state(model):
    """All that a run could change."""
    found = [model.state_dict(), rng.state_dict(), modes.state.active, modes.state.forward_hook, modes.state.clock]
    for module in model.modules():
        values = dict(vars(module))
        found.append({name: value for name, value in values.items() if isinstance(value, (bool, int, float, str))})
        found.append(id(values.get("_saved")))
        found += [value.bit_generator.state for value in values.values() if isinstance(value, np.random.Generator)]
    found += [(id(p), p.requires_grad, None if p.grad is None else p.grad.copy()) for p in model.parameters()]
    return found


class Fails(Module):
    """Raises an error in forward or in backward."""

    def __init__(self, where, error):
        self.where, self.error = where, error

    def run(self, where, x):
        if self.where == where:
            raise self.error
        return x + 0

    def forward(self, x):
        return self.run("forward", x)

    def backward(self, grad):
        return self.run("backward", grad)


@pytest.mark.parametrize("error", [None, ValueError("a mistake"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_the_model_stays_as_it_was(where, error):
    cnn.manual_seed(0)
    last = Fails(where if error else None, error)
    layers = [
        Conv2d(1, 4, 3, bias=False),
        BatchNorm2d(4),
        ReLU(),
        Dropout(0.5),
        last,
        Flatten(),
        Linear(144, 3),
        Softmax(),
    ]
    model = Sequential(layers, CrossEntropyLoss(), Adam(lr=0.1))
    x, y = np.random.default_rng(0).random((4, 1, 8, 8), np.float32), np.array([0, 1, 2, 0])
    last.where = None
    model.fit(x, y, epochs=1, verbose_freq=0, rng=0)
    layers[0].weight.requires_grad = False
    model.loss_and_grad(x, y)
    model(x)  # in training mode: every layer holds what its backward needs
    last.where = where if error else None
    before = state(model)
    if error is None:
        found = trace(model, x[:1], 1)
        assert np.abs(found.grads["0.weight"]).max() > 0  # the frozen one, too
        assert np.abs(found.nodes["input"].grad).max() > 0
    else:
        with pytest.raises(type(error)):
            trace(model, x[:1], 1)
    np.testing.assert_equal(state(model), before)
    last.where = None
    model.backward(np.ones((4, 3), np.float32))  # what the earlier forward has saved is still there


def test_models_without_classes():
    x = np.random.default_rng(0).normal(size=(1, 6))
    for loss_func, last, y, has_probabilities in (
        (MSELoss(), [], [0.5, 2.0], False),
        (BCEWithLogitsLoss(), [], [0, 1], True),
        (BCELoss(), [Sigmoid()], 1, True),
    ):
        model = Sequential([Linear(6, 2, rng=0), *last], loss_func=loss_func).to("float64")
        found = trace(model, x, y)
        target = np.broadcast_to(np.array(y, np.float64), (1, 2))
        assert found.loss == model.loss_and_prediction(x, target)[0]
        assert (found.probabilities is not None) == has_probabilities
        direction = np.random.default_rng(1).normal(size=x.shape)
        expected = slope(model, x, "input", direction, lambda model, x: model.loss_and_prediction(x, target)[0])  # noqa: B023
        assert np.sum(found.nodes["input"].grad * direction) == pytest.approx(expected, rel=1e-6)
        with pytest.raises(InputError, match="y is needed, because the model has no classes"):
            trace(model, x)


def test_a_class_for_every_pixel():
    cnn.manual_seed(0)
    model = zoo.unet((1, 8, 8), classes=2, width=4, depth=1).to("float64")
    x = np.random.default_rng(0).random((1, 1, 8, 8))
    found = trace(model, x, 1)
    assert found.probabilities.shape == (1, 2, 8, 8)
    assert found.loss == pytest.approx(-np.log(found.probabilities[0, 1]).mean())
    labels = np.random.default_rng(1).integers(0, 2, (1, 8, 8))
    assert trace(model, x, labels).loss == trace(model, x, labels[0]).loss != found.loss
    for y, problem in (
        (labels[0, :3], r"0 to 1, or one for each position, \(8, 8\), got an array of shape \(3, 8\)"),
        (labels + 1, "y must be a class id, 0 to 1, got int64, 1 to 2"),
    ):
        with pytest.raises(InputError, match=problem):
            trace(model, x, y)


def test_a_module_that_is_no_sequential():
    found = trace(Linear(3, 2, rng=0), np.ones((1, 3), np.float32), 0)
    assert {name: node.reads for name, node in found.nodes.items()} == {"input": (), "": ("input",)}
    assert found.nodes[""].grad.shape == (1, 2)


def test_a_graph_alone():
    model, x = made(graph)
    found, alone = trace(model, x, 1), trace(model.layers[0], x, 1)
    assert list(found.nodes) == ["input", *(f"0.{name}" for name in list(alone.nodes)[1:])]
    np.testing.assert_array_equal(alone.nodes["relu"].grad, found.nodes["0.relu"].grad)


def test_what_is_refused():
    two = Graph([("a", Linear(3, 2), "input"), ("b", Linear(3, 2), "input")], ["a", "b"])
    with pytest.raises(InputError, match="one output is needed, but the model returns tuple"):
        trace(two, np.ones((1, 3), np.float32), 0)
    model, x = made(row)
    for arguments, problem in (
        ((x[0], 0), r"expected \(N, 3, H, W\)"),
        ((x.repeat(2, axis=0), 0), r"a trace is of one sample, got 2: pass x\[:1\]"),
        ((x, 5), "y must be a class id, 0 to 4, got 5"),
        ((x, -1), "y must be a class id, 0 to 4, got -1"),
        ((x, 0.5), "y must be a class id, 0 to 4, got 0.5"),
        ((x, np.int64(5)), "y must be a class id, 0 to 4, got 5$"),
        ((x, [1, 2]), r"y must be a class id, 0 to 4, got an array of shape \(2,\)"),
        (((255 * x).astype(np.uint8), 0), "x is uint8"),
        ((x * np.nan, 0), "NaN"),
    ):
        with pytest.raises((InputError, ShapeError), match=problem):
            trace(model, *arguments)
    model.layers[3].weight.data[0] = np.nan
    with pytest.raises(InputError, match=r"layer 3, Conv2d\(.*gives NaN or infinity .*: its weights hold NaN"):
        trace(model, x, 0)
    model, x = made(row)
    model.layers[3].weight.data *= 1e30
    model.layers[6].weight.data *= 1e30
    with pytest.raises(InputError, match=r"layer 6, Conv2d\(.*the numbers became too large"):
        trace(model, x, 0)
