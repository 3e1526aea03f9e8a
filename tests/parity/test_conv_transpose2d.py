import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.layers import ConvTranspose2d
from tests.parity.oracle import DTYPES, Tally, compare_layers, give_weights


def one_or_two(low, high):
    number = st.integers(low, high)
    return number | st.tuples(number, number)


@st.composite
def configurations(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    # at least two: the sum for a single gradient may cancel, leaving too few digits to compare in float32
    channels = st.integers(1 if groups > 1 else 2, 3).map(lambda n: n * groups)
    return {
        "in_channels": draw(channels),
        "out_channels": draw(channels),
        "kernel_size": draw(one_or_two(1, 4)),
        "stride": draw(one_or_two(1, 4)),
        "padding": draw(one_or_two(0, 2)),
        "output_padding": draw(st.just(0) | one_or_two(0, 3)),
        "groups": groups,
        "bias": draw(st.booleans()),
        "dilation": draw(one_or_two(1, 4)),
    }


def test_random_configurations():
    """At least 200 different ones, outputs and all gradients; what PyTorch rejects, we reject too."""
    tally = Tally()

    @settings(max_examples=450)
    @given(configurations(), st.integers(0, 3), st.integers(1, 6), st.integers(1, 6))
    def run(arguments, n, height, width):
        key = (*arguments.items(), n, height, width)
        shape = (n, arguments["in_channels"], height, width)
        x = np.random.default_rng(abs(hash(shape))).normal(size=shape)
        try:
            # in float32, or of an empty batch, PyTorch checks less
            torch.nn.ConvTranspose2d(**arguments).double()(torch.zeros(1, *shape[1:], dtype=torch.float64))
        except RuntimeError:
            tally.rejected.add(key)
            with pytest.raises(ValueError, match=r"output_padding|would become"):
                ConvTranspose2d(**arguments)(x.astype(np.float32))
            return
        ours = ConvTranspose2d(**arguments, rng=0)
        for dtype in DTYPES:
            ours.to(dtype).zero_grad()
            theirs = torch.nn.ConvTranspose2d(**arguments)
            give_weights(ours, theirs)
            assert list(ours.state_dict()) == list(theirs.state_dict())
            ours.load_state_dict(theirs.state_dict())
            compare_layers(tally, ours, theirs, x.astype(dtype))
        tally.seen.add(key)

    run()
    tally.report(at_least=200)
    assert tally.rejected


def test_positional_arguments_are_in_the_same_order():
    arguments = (4, 6, 3, 2, 1, 1, 2, False, 3)
    ours, theirs = ConvTranspose2d(*arguments), torch.nn.ConvTranspose2d(*arguments)
    give_weights(ours, theirs)
    compare_layers(Tally(), ours, theirs, np.random.default_rng(0).normal(size=(2, 4, 3, 4)).astype(np.float32))


@pytest.mark.parametrize("memory", ["channels_first", "channels_last"])
def test_larger_images(memory):
    """Sizes as in a real net, in both memory formats."""
    rng, tally = np.random.default_rng(0), Tally()
    for dtype in DTYPES:
        ours = ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1, rng=rng).to(dtype)
        theirs = torch.nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1)
        give_weights(ours, theirs)
        x = rng.normal(size=(4, 64, 14, 14)).astype(dtype)
        if memory == "channels_last":
            x = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        compare_layers(tally, ours, theirs, x)


def test_initial_weights_have_the_same_range():
    torch.manual_seed(0)
    arguments = {"in_channels": 32, "out_channels": 48, "kernel_size": (2, 3), "groups": 2}
    ours = ConvTranspose2d(**arguments, rng=0).state_dict()
    theirs = {name: p.detach().numpy() for name, p in torch.nn.ConvTranspose2d(**arguments).named_parameters()}
    for name, array in ours.items():
        assert abs(np.abs(array).max() / np.abs(theirs[name]).max() - 1) < 0.1
    assert abs(ours["weight"].std() / theirs["weight"].std() - 1) < 0.05
