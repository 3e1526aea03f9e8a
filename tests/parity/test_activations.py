"""Every activation against PyTorch: random numbers, and those where it has a kink, saturates or is NaN."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cnn import layers
from tests.parity.oracle import DTYPES, TOLERANCE, Tally, compare_layers, give_weights, tensor

numbers = st.floats(0.05, 4)
signed = st.floats(-2, 2)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
ARGUMENTS = {  # name: its arguments; some have none
    "LeakyReLU": {"negative_slope": signed},
    "ELU": {"alpha": signed},
    "SELU": {},
    "CELU": {"alpha": numbers},
    "GELU": {"approximate": st.sampled_from(["none", "tanh"])},
    "SiLU": {},
    "Mish": {},
    "Hardswish": {},
    "Hardsigmoid": {},
    "Hardtanh": {"min_val": st.floats(-3, 0.4), "max_val": st.floats(0.6, 3)},
    "ReLU6": {},
    "Sigmoid": {},
    "Tanh": {},
    "Softplus": {"beta": numbers, "threshold": st.floats(0.5, 30)},
    "Softsign": {},
    "ReLU": {},
}
VARIANTS = [(name, {}) for name in ARGUMENTS] + [
    ("LeakyReLU", {"negative_slope": -0.5}),
    ("LeakyReLU", {"negative_slope": 3}),
    ("LeakyReLU", {"negative_slope": 0.0}),
    ("ELU", {"alpha": 1.7}),
    ("ELU", {"alpha": -2.0}),
    ("CELU", {"alpha": 0.3}),
    ("Hardtanh", {"min_val": -3.0, "max_val": 1.5}),
    ("Hardtanh", {"min_val": -float("inf"), "max_val": 3.0}),
    ("GELU", {"approximate": "tanh"}),
    ("Softplus", {"beta": 2.0, "threshold": 3.0}),
    ("Softplus", {"beta": 0.5, "threshold": 1.5}),
]


class Formula(nn.Module):
    """A formula differentiated by PyTorch's autograd."""

    def __init__(self, forward):
        super().__init__()
        self.forward = forward


def both(name, arguments, dtype=np.float32):
    """Return our layer and PyTorch's. Two of PyTorch's backward passes round 1/6 and 1/alpha to float32 for every dtype,
    so in float64 the formula replaces them.
    """
    theirs = getattr(nn, name)(**arguments)
    if dtype == np.float64 and name == "Hardsigmoid":
        theirs = Formula(lambda x: nn.functional.hardtanh(x, -3, 3) / 6 + 0.5)
    if dtype == np.float64 and name == "CELU":
        alpha = arguments.get("alpha", 1.0)
        theirs = Formula(lambda x: alpha * nn.functional.elu(x / alpha))
    return getattr(layers, name)(**arguments), theirs


def run_torch(layer, x, grad):
    x = tensor(x, needs_grad=True)
    y = layer(x)
    y.backward(tensor(grad))
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_random_numbers(name):
    tally = Tally()

    @settings(max_examples=40)
    @given(shapes, st.sampled_from([1e-3, 1.0, 5.0, 100.0]), st.fixed_dictionaries(ARGUMENTS[name]), st.integers(0, 99))
    def run(shape, scale, arguments, seed):
        for dtype in DTYPES:
            x = (scale * np.random.default_rng(seed).normal(size=shape)).astype(dtype)
            x.flat[0] = 0.5  # every slope is large here, in case all other elements saturate
            compare_layers(tally, *both(name, arguments, dtype), x)
        tally.seen.add((*shape, scale, *arguments.values(), seed))

    run()
    tally.report(at_least=35)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_a_grid(name, arguments, dtype):
    """Element-wise tolerances, so that small errors do not hide behind large values. The tails of PyTorch's formulas,
    1 + erf and 1 + tanh, are as inaccurate as ours.
    """
    x = np.linspace(-12, 12, 4801).astype(dtype)
    ours, theirs = both(name, arguments, dtype)
    theirs_y, theirs_grad = run_torch(theirs, x, np.ones_like(x))
    rtol, eps = TOLERANCE[x.dtype], float(np.finfo(dtype).eps)
    np.testing.assert_allclose(ours(x), theirs_y, rtol, atol=100 * eps if name == "GELU" else 0.1 * eps)
    np.testing.assert_allclose(ours.backward(np.ones_like(x)), theirs_grad, rtol, atol=100 * eps)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_near_kinks(name, arguments, dtype):
    """At 0, at the ends of the linear parts and at the thresholds, and directly next to them."""
    kinks = np.array([0, -0.0, -3, 3, 1, 1.5, 6, 20], dtype)
    x = np.concatenate([kinks, np.nextafter(kinks, dtype(-30)), np.nextafter(kinks, dtype(30))])
    grad = np.linspace(1, 2, len(x)).astype(dtype)
    ours, theirs = both(name, arguments, dtype)
    theirs_y, theirs_grad = run_torch(theirs, x, grad)
    ulp = {"rtol": 8 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    np.testing.assert_allclose(ours(x), theirs_y, **ulp)
    np.testing.assert_allclose(ours.backward(grad), theirs_grad, **ulp)


@pytest.mark.parametrize(
    ("name", "arguments", "at"),
    [
        ("ReLU", {}, [0, -0.0]),
        ("LeakyReLU", {}, [0, -0.0]),
        ("ELU", {"alpha": 1.7}, [0, -0.0]),
        ("SELU", {}, [0, -0.0]),
        ("CELU", {"alpha": 0.25}, [0, -0.0]),
        ("Hardswish", {}, [-3, 3, -4, 4, 0]),
        ("Hardsigmoid", {}, [-3, 3, -4, 4]),
        ("Hardtanh", {}, [-1, 1, 0, -0.0]),
        ("ReLU6", {}, [0, -0.0, 6, 3]),
        ("Softplus", {}, [0, 20.1, 100]),
        ("Softplus", {"beta": 2.0, "threshold": 3.0}, [1.6, 30]),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_at_the_kinks_to_the_last_bit(name, arguments, at, dtype):
    x = np.array(at, dtype)
    ours, theirs = both(name, arguments)
    ours(x)
    np.testing.assert_array_equal(
        ours.backward(np.ones_like(x)), run_torch(theirs, x, np.ones_like(x))[1].astype(dtype), strict=True
    )


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_numbers(name, arguments, dtype):
    """No intermediate result overflows, which would be a warning, and so an error here."""
    x = np.array([-1e4, -1e3, -100, 100, 1e3, 1e4] + [-1e300, -1e30, 1e30, 1e300] * (dtype == np.float64), dtype)
    ours, theirs = both(name, arguments)
    theirs_y, theirs_grad = run_torch(theirs, x, np.ones_like(x))
    np.testing.assert_allclose(ours(x), theirs_y, rtol=TOLERANCE[x.dtype], atol=1e-30)
    grad = ours.backward(np.ones_like(x))
    right = np.isfinite(theirs_grad)  # the cube in GELU overflows in PyTorch
    assert right.all() or arguments == {"approximate": "tanh"}
    np.testing.assert_allclose(grad[right], theirs_grad[right], rtol=TOLERANCE[x.dtype], atol=1e-9)
    np.testing.assert_array_equal(grad[~right], (x > 0)[~right])


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities(name, arguments, dtype):
    """The same limits as PyTorch, wherever PyTorch does not give NaN."""
    x = np.array([-np.inf, np.inf], dtype)
    ours, theirs = both(name, arguments)
    theirs_y, theirs_grad = run_torch(theirs, x, np.ones_like(x))
    with np.errstate(invalid="ignore"):  # inf * 0, where PyTorch gives NaN
        y = ours(x)
        grad = ours.backward(np.ones_like(x))
    for mine, right in ((y, theirs_y), (grad, theirs_grad)):
        there = ~np.isnan(right)
        np.testing.assert_allclose(mine[there], right[there], rtol=TOLERANCE[x.dtype])


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan(name, arguments, dtype):
    """NaN stays NaN in the output; the gradient is that of PyTorch's vectorised code."""
    x = np.full(32, np.nan, dtype)
    ours, theirs = both(name, arguments)
    theirs_y, theirs_grad = run_torch(theirs, x, np.ones_like(x))
    np.testing.assert_array_equal(ours(x), theirs_y)
    np.testing.assert_array_equal(ours.backward(np.ones_like(x)), theirs_grad)


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "Hardtanh", "Hardswish", "Hardsigmoid", "LeakyReLU"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_gradients(name, dtype):
    """Where the slope is 0 the gradient is 0, even for an infinite gradient."""
    x = np.array([-5, -3.5, -1, 1, 3.5, 5], dtype)
    for infinite in (np.inf, -np.inf):
        grad = np.full_like(x, infinite)
        ours, theirs = both(name, {})
        ours(x)
        np.testing.assert_array_equal(ours.backward(grad), run_torch(theirs, x, grad)[1])


def test_prelu():
    tally = Tally()

    @settings(max_examples=80)
    @given(st.integers(0, 4), st.integers(1, 5), st.lists(st.integers(1, 4), max_size=3), st.booleans(), signed)
    def run(n, channels, rest, shared, init):
        count = 1 if shared else channels
        for dtype in DTYPES:
            ours, theirs = layers.PReLU(count, init).to(dtype), nn.PReLU(count, init)
            assert {k: v.shape for k, v in ours.state_dict().items()} == {"weight": tuple(theirs.weight.shape)}
            np.testing.assert_array_equal(ours.weight.data, np.full(count, np.float32(init)))
            np.testing.assert_array_equal(theirs.weight.detach().numpy(), np.full(count, np.float32(init)))
            ours.weight.data = np.random.default_rng(2).normal(size=count)
            give_weights(ours, theirs)
            x = np.random.default_rng(n).normal(size=(n, channels, *rest)).astype(dtype)
            x[..., :1] = 0  # the kink
            compare_layers(tally, ours, theirs, x)
            again = layers.PReLU(count).to(dtype)
            again.load_state_dict(theirs.state_dict())
            np.testing.assert_array_equal(again(x), ours(x))
        tally.seen.add((n, channels, *rest, shared, init))

    run()
    tally.report(at_least=60)


@pytest.mark.parametrize("dtype", DTYPES)
def test_prelu_limits(dtype):
    x = np.array([-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf, np.nan], dtype)
    ours, theirs = layers.PReLU().to(dtype), nn.PReLU().to(tensor(x).dtype)
    theirs_y, theirs_grad = run_torch(theirs, x, np.ones_like(x))
    np.testing.assert_array_equal(ours(x), theirs_y)
    np.testing.assert_array_equal(ours.backward(np.ones_like(x)), theirs_grad)


@pytest.mark.parametrize("shape", [(4, 7), (3, 1), (0, 5), (2, 0, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 2, 3, 2)])
def test_log_softmax(shape):
    """For a confident prediction the gradient is almost zero, so it is compared on the scale of grad, about 1."""
    tally = Tally()
    for dim in range(-len(shape), len(shape)):
        for dtype in DTYPES:
            for scale in (1, 30, 1e4):
                x = (scale * np.random.default_rng(0).normal(size=shape)).astype(dtype)
                grad = np.random.default_rng(1).normal(size=shape).astype(dtype)
                theirs_y, theirs_grad = run_torch(nn.LogSoftmax(dim), x, grad)
                ours = layers.LogSoftmax(dim)
                tally.agree("output", ours(x), torch.tensor(theirs_y))
                assert np.abs(ours.backward(grad) - theirs_grad).max(initial=0) <= 10 * TOLERANCE[x.dtype]


def test_log_softmax_of_minus_infinity():
    """A class with probability 0 keeps it, and does not affect the others."""
    x, grad = np.array([[1.0, 2.0, -np.inf]]), np.array([[1.0, 2.0, 3.0]])
    theirs_y, theirs_grad = run_torch(nn.LogSoftmax(-1), x, grad)
    ours = layers.LogSoftmax()
    np.testing.assert_allclose(ours(x), theirs_y, rtol=1e-15)
    np.testing.assert_allclose(ours.backward(grad), theirs_grad, rtol=1e-14)
