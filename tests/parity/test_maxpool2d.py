import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.layers import MaxPool2d
from tests.parity.oracle import DTYPES, Tally, compare_layers, tensor


def one_or_two(low, high):
    number = st.integers(low, high)
    return number | st.tuples(number, number)


configurations = st.fixed_dictionaries(
    {
        "kernel_size": one_or_two(1, 4),
        "stride": st.none() | one_or_two(1, 4),
        "padding": st.just(0) | one_or_two(0, 2),
        "dilation": st.just(1) | one_or_two(1, 3),
        "ceil_mode": st.booleans(),
    }
)


def values(kind, shape, rng):
    """Draw images: ordinary ones, ones with ties, and negative ones, for which zero padding would win."""
    if kind == "ties":
        return rng.integers(-2, 3, shape).astype(float)
    x = rng.normal(size=shape)
    return -1 - np.abs(x) if kind == "negative" else x


def test_random_configurations():
    """At least 200 different ones, outputs and gradients; what PyTorch rejects, we reject too."""
    tally = Tally()

    @settings(max_examples=900)
    @given(
        configurations,
        st.sampled_from(["ordinary", "ties", "negative"]),
        st.integers(0, 2),
        st.integers(1, 9),
        st.integers(1, 9),
    )
    def run(arguments, kind, n, height, width):
        key = (*arguments.items(), kind, n, height, width)
        shape = (n, 2, height, width)
        x = values(kind, shape, np.random.default_rng(abs(hash(shape))))
        theirs = torch.nn.MaxPool2d(**arguments)
        try:
            y = theirs(torch.tensor(x))
        except RuntimeError:
            tally.rejected.add(key)
            with pytest.raises(ValueError, match=r"window spans|half of kernel_size"):
                MaxPool2d(**arguments)(x)
            return
        if torch.isinf(y).any():  # a dilated window without any pixel: PyTorch's gradient is wrong
            np.testing.assert_array_equal(MaxPool2d(**arguments)(x), y.numpy())
            return
        for dtype in DTYPES:
            compare_layers(tally, MaxPool2d(**arguments), theirs, x.astype(dtype))
        tally.seen.add(key)

    run()
    tally.report(at_least=200)
    assert tally.rejected


@settings(max_examples=100)
@given(configurations, st.integers(0, 1000))
def test_nan_wins(arguments, seed):
    """In the output and, if a window contains one NaN, in which pixel gets the gradient."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2, 9, 9))
    x[rng.random(x.shape) < 0.05] = np.nan
    theirs_x = tensor(x, needs_grad=True)
    try:
        theirs_y = torch.nn.MaxPool2d(**arguments)(theirs_x)
    except RuntimeError:
        return
    ours = MaxPool2d(**arguments)
    y = ours(x)
    np.testing.assert_array_equal(y, theirs_y.detach().numpy())
    grad = rng.integers(1, 5, y.shape).astype(float)
    theirs_y.backward(tensor(grad))
    np.testing.assert_array_equal(ours.backward(grad), theirs_x.grad.numpy())
