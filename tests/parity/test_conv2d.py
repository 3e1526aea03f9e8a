import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.layers import Conv2d
from tests.parity.oracle import DTYPES, Tally, compare_layers, give_weights


def one_or_two(low, high):
    number = st.integers(low, high)
    return number | st.tuples(number, number)


@st.composite
def configurations(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = st.integers(1, 3).map(lambda n: n * groups)
    stride = draw(one_or_two(1, 3))
    paddings = one_or_two(0, 3) | st.just("same")
    if stride not in (1, (1, 1)):
        paddings = one_or_two(0, 3)
    return {
        "in_channels": draw(channels),
        "out_channels": draw(channels),
        "kernel_size": draw(one_or_two(1, 4)),
        "stride": stride,
        "padding": draw(paddings),
        "dilation": draw(one_or_two(1, 3)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_random_configurations():
    """At least 200 different ones, outputs and all gradients; what PyTorch rejects, we reject too."""
    tally = Tally()

    @settings(max_examples=500)
    @given(configurations(), st.integers(0, 3), st.integers(1, 9), st.integers(1, 9))
    def run(arguments, n, height, width):
        key = (*arguments.items(), n, height, width)
        shape = (n, arguments["in_channels"], height, width)
        rng = np.random.default_rng(abs(hash(shape)))
        theirs = torch.nn.Conv2d(**arguments)
        ours = Conv2d(**arguments, rng=rng)
        x = rng.normal(size=shape)
        try:
            theirs.float()(torch.zeros(shape))
        except RuntimeError:
            tally.rejected.add(key)
            with pytest.raises(ValueError, match="window spans"):
                ours(x.astype(np.float32))
            return
        for dtype in DTYPES:
            ours.zero_grad()
            ours.to(dtype)
            theirs = torch.nn.Conv2d(**arguments)
            give_weights(ours, theirs)
            compare_layers(tally, ours, theirs, x.astype(dtype))
        tally.seen.add(key)

    run()
    tally.report(at_least=200)
    assert tally.rejected


@pytest.mark.parametrize(
    "arguments",
    [
        {"groups": 2},
        {"groups": 4},
        {"groups": 0},
        {"stride": 0},
        {"padding": -1},
        {"padding": "full"},
    ],
    ids=str,
)
def test_both_raise_an_error(arguments):
    """In the constructor or, for some in PyTorch, at the first input."""
    with pytest.raises((ValueError, RuntimeError)):
        torch.nn.Conv2d(4, 3, 3, **arguments)(torch.zeros(1, 4, 6, 6))
    with pytest.raises(ValueError, match=r"padding|groups|stride"):
        Conv2d(4, 3, 3, **arguments)


@pytest.mark.parametrize("memory", ["channels_first", "channels_last"])
def test_larger_images(memory):
    """Sizes as in a real net, in both memory formats."""
    rng, tally = np.random.default_rng(0), Tally()
    for dtype in DTYPES:
        ours = Conv2d(32, 64, 3, padding=1, rng=rng).to(dtype)
        theirs = torch.nn.Conv2d(32, 64, 3, padding=1)
        give_weights(ours, theirs)
        x = rng.normal(size=(4, 32, 14, 14)).astype(dtype)
        if memory == "channels_last":
            x = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        compare_layers(tally, ours, theirs, x)
