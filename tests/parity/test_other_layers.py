import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import Product, Sequential
from cnn.layers import AdaptiveAvgPool2d, Affine, Conv2d, Dropout, Flatten, Identity, Linear, ReLU, Softmax
from cnn.utils.gradcheck import difference
from tests.parity.oracle import DTYPES, TOLERANCE, Tally, compare_layers, give_weights, tensor

sizes = st.integers(1, 6)


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_linear():
    """2-d and 3-d inputs, including an empty batch."""
    tally = Tally()

    @settings(max_examples=150)
    @given(st.integers(0, 5), st.lists(sizes, max_size=2), sizes, sizes, st.booleans())
    def run(n, between, features, units, bias):
        for dtype in DTYPES:
            ours = Linear(features, units, bias=bias, rng=0).to(dtype)
            theirs = torch.nn.Linear(features, units, bias=bias)
            give_weights(ours, theirs)
            compare_layers(tally, ours, theirs, draw((n, *between, features)).astype(dtype))
        tally.seen.add((n, *between, features, units, bias))

    run()
    tally.report(at_least=100)


class AffineInPyTorch(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(channels)), torch.nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        shape = (-1, *(1,) * (x.ndim - 2))
        return x * self.weight.reshape(shape) + self.bias.reshape(shape)


def test_affine():
    tally = Tally()

    @settings(max_examples=80)
    @given(st.integers(0, 4), sizes, st.lists(sizes, max_size=3), st.integers(0, 9))
    def run(n, channels, rest, seed):
        for dtype in DTYPES:
            ours, theirs = Affine(channels).to(dtype), AffineInPyTorch(channels)
            assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
                k: v.tolist() for k, v in theirs.state_dict().items()
            }
            ours.weight.data, ours.bias.data = draw(channels, seed), draw(channels, seed + 1)
            give_weights(ours, theirs)
            compare_layers(tally, ours, theirs, draw((n, channels, *rest), 7).astype(dtype))
        tally.seen.add((n, channels, *rest, seed))

    run()
    tally.report(at_least=60)


class ProductInPyTorch(torch.nn.ModuleList):
    def forward(self, x):
        y = self[0](x)
        for branch in self[1:]:
            y = y * branch(x)
        return y


def test_product_of_factors_of_different_sizes():
    """Each factor has all pixels, one row, one column or one pixel, and all channels or one."""
    tally = Tally()
    factors = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=4)

    @settings(max_examples=120)
    @given(st.integers(1, 3), st.integers(1, 3), sizes, sizes, factors, st.booleans())
    def run(n, channels, height, width, factors, with_zeros):
        for dtype in DTYPES:
            ours, theirs = [], []
            for i, (all_channels, all_rows, all_columns) in enumerate(factors):
                k, size = channels if all_channels else 1, (height if all_rows else 1, width if all_columns else 1)
                ours.append(Sequential([Conv2d(channels, k, 1, bias=False, rng=i), AdaptiveAvgPool2d(size)]))
                pool = torch.nn.AdaptiveAvgPool2d(size)
                theirs.append(torch.nn.Sequential(torch.nn.Conv2d(channels, k, 1, bias=False), pool))
                if with_zeros and i < 2:
                    ours[-1][0].weight.data[0] = 0
            ours, theirs = Product(ours).to(dtype), ProductInPyTorch(theirs)
            give_weights(ours, theirs)
            compare_layers(tally, ours, theirs, draw((n, channels, height, width)).astype(dtype))
        tally.seen.add((n, channels, height, width, *factors, with_zeros))

    run()
    tally.report(at_least=90)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu(dtype):
    """Negative, zero, minus zero, infinite and NaN."""
    x = np.concatenate([draw(50), [0.0, -0.0, np.inf, -np.inf]]).reshape(2, 27).astype(dtype)
    compare = Tally()
    theirs_x = tensor(x, needs_grad=True)
    theirs_y = torch.nn.ReLU()(theirs_x)
    ours = ReLU()
    np.testing.assert_array_equal(ours(x), theirs_y.detach().numpy())
    grad = draw(x.shape, 1).astype(dtype)
    theirs_y.backward(tensor(grad))
    compare.agree("gradient", ours.backward(grad), theirs_x.grad)
    assert np.isnan(ReLU()(np.array([[np.nan]], dtype))).all()


@pytest.mark.parametrize("shape", [(4, 7), (3, 1), (0, 5), (2, 0, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 2, 3, 2)])
def test_softmax(shape):
    """For a confident prediction the gradient is almost zero, so it is compared on the scale of grad, about 1."""
    for dim in range(-len(shape), len(shape)):
        for dtype in DTYPES:
            for scale in (1, 30, 1e4):
                x, grad = (scale * draw(shape)).astype(dtype), draw(shape, 1).astype(dtype)
                theirs_x = tensor(x, needs_grad=True)
                theirs_y = torch.nn.Softmax(dim)(theirs_x)
                theirs_y.backward(tensor(grad))
                ours = Softmax(dim)
                assert difference(ours(x), theirs_y.detach().numpy()) <= TOLERANCE[x.dtype]
                error = np.abs(ours.backward(grad) - theirs_x.grad.numpy())
                assert error.max(initial=0) <= TOLERANCE[x.dtype]


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 5), (1, 2, 1, 1), (0, 3, 2, 2)])
def test_flatten_and_identity(shape):
    tally = Tally()
    for dtype in DTYPES:
        compare_layers(tally, Flatten(), torch.nn.Flatten(), draw(shape).astype(dtype))
        compare_layers(tally, Identity(), torch.nn.Identity(), draw(shape).astype(dtype))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout(p, dtype):
    """The random streams differ, so each output is compared with the formula for its own mask, with one scale."""
    tally = Tally()
    x, grad = np.abs(draw((40, 30))).astype(dtype) + 1, draw((40, 30), 1).astype(dtype)
    ours, theirs = Dropout(p, rng=0), torch.nn.Dropout(p)
    y = ours(x)
    grad_x = ours.backward(grad)
    theirs_x = tensor(x, needs_grad=True)
    theirs_y = theirs(theirs_x)
    theirs_y.backward(tensor(grad))
    scale = float((theirs_y / theirs_x).detach().max())  # the factor that PyTorch uses
    mask = tensor(y) != 0
    tally.agree("output", y, tensor(x) * mask * scale)
    tally.agree("gradient", grad_x, tensor(grad) * mask * scale)
    compare_layers(tally, ours.eval(), theirs.eval(), x)
