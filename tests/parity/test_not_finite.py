"""Infinity and NaN, among the inputs or the gradients: every backend passes them on as PyTorch does, and no further."""

import numpy as np
import pytest
import torch

from cnn import Sequential, layers
from tests.kernels.backends import needs_numba, using
from tests.parity.oracle import give_weights, tensor

BACKENDS = ["reference", "array", pytest.param("jit", marks=needs_numba)]
SHAPE = (64, 16, 6, 6)
CASES = {  # name of the layer and its arguments
    "BatchNorm2d": (16,),
    "BatchNorm1d": (16,),
    "InstanceNorm2d": (16, 1e-5, 0.1, True, True),
    "ReLU": (),
    "ReLU6": (),
    "Hardtanh": (-0.5, 1.5),
    "LeakyReLU": (),
    "LocalResponseNorm": (3, 0.5),
    "ELU": (),
    "SiLU": (),
    "Sigmoid": (),
    "Tanh": (),
    "Softplus": (),
    "PReLU": (16,),
    "MaxPool2d": (3, 2, 1),
    "AdaptiveMaxPool2d": (2,),
    "AvgPool2d": (3, 2, 1),
    "AdaptiveAvgPool2d": (2,),
}


def compare(ours, theirs, x, place, value, other):
    """Compare outputs and all gradients with ``value`` in the input, in the gradient or in both."""
    x = x.copy()
    x.reshape(len(x), -1)[1, 90] = 0.5 if place == "gradient" else value
    theirs_x = tensor(x, needs_grad=True)
    theirs_y, y = theirs(theirs_x), ours(x)
    np.testing.assert_allclose(y, theirs_y.detach().numpy(), rtol=1e-4, atol=1e-5)
    grad = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    if place != "input":
        grad.reshape(len(x), -1)[[1, 2], [-3, 33]] = other
    theirs_y.backward(tensor(grad))
    x_grad, found = theirs_x.grad.numpy(), ours.backward(grad)
    assert np.isfinite(x_grad).any()
    np.testing.assert_allclose(found, x_grad, rtol=1e-4, atol=1e-5)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("place", ["input", "gradient", "both"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CASES)
def test_layers(name, value, place, backend):
    """Norms in evaluation, whose statistics are constants; activations; pools."""
    ours, theirs = getattr(layers, name)(*CASES[name]).eval(), getattr(torch.nn, name)(*CASES[name]).eval()
    if "running_mean" in ours.state_dict():
        rng = np.random.default_rng(2)
        for tensor_ in (ours.weight, ours.bias, ours.running_mean, ours.running_var):
            tensor_.data = rng.uniform(0.5, 1.5, 16)
    give_weights(ours, theirs)
    x = np.random.default_rng(0).normal(size=SHAPE[:3] if name == "BatchNorm1d" else SHAPE).astype(np.float32)
    with using(backend), np.errstate(all="ignore"):
        compare(ours, theirs, x, place, value, value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "names", ["BatchNorm2d ReLU", "BatchNorm2d ReLU MaxPool2d", "ReLU MaxPool2d", "MaxPool2d ReLU"]
)
def test_layers_in_a_row(names, value, backend):
    """As fused steps, where the backend has them."""
    arguments = {"BatchNorm2d": (16,), "ReLU": (), "MaxPool2d": (3, 2, 1)}
    ours = Sequential([getattr(layers, name)(*arguments[name]) for name in names.split()]).eval()
    theirs = torch.nn.Sequential(*(getattr(torch.nn, name)(*arguments[name]) for name in names.split())).eval()
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    with using(backend), np.errstate(all="ignore"):
        compare(ours, theirs, x, "both", value, value)
