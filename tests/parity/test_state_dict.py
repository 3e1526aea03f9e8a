"""PyTorch's weights load here, and ours load there, without renaming."""

import numpy as np
import pytest
import torch
from torch import nn

from cnn import Sequential
from cnn.layers import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Softmax
from cnn.utils.gradcheck import difference
from cnn.zoo import small_cnn
from tests.parity.oracle import tensor


def pairs():
    ours = Sequential(
        [
            Conv2d(4, 6, (2, 3), padding=1, groups=2, bias=False),
            ReLU(),
            MaxPool2d(2),
            Sequential([Conv2d(6, 3, 1), ReLU()]),
            Flatten(),
            Linear(18, 5),
            Dropout(0.5),
            Softmax(),
        ]
    )
    theirs = nn.Sequential(
        nn.Conv2d(4, 6, (2, 3), padding=1, groups=2, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(6, 3, 1), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(18, 5),
        nn.Dropout(0.5),
        nn.Softmax(dim=-1),
    )
    return ours.eval(), theirs.eval()


def test_keys_shapes_and_dtypes_are_the_same():
    ours, theirs = pairs()
    assert {name: (a.shape, str(a.dtype)) for name, a in ours.state_dict().items()} == {
        name: (tuple(a.shape), str(a.dtype).removeprefix("torch.")) for name, a in theirs.state_dict().items()
    }
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("direction", ["ours to theirs", "theirs to ours"])
def test_weights_load(direction):
    ours, theirs = pairs()
    if direction == "ours to theirs":
        theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
    else:
        ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 5)).astype(np.float32)
    assert difference(ours(x), theirs(tensor(x)).detach().numpy()) <= 3e-5


def test_initial_weights_have_the_same_range():
    """The parameters of the reference net, ours and PyTorch's, agree in bound and standard deviation."""
    torch.manual_seed(0)
    ours = small_cnn().state_dict()
    theirs = {
        **{f"0.{k}": v for k, v in nn.Conv2d(1, 32, 3).state_dict().items()},
        **{f"3.{k}": v for k, v in nn.Conv2d(32, 64, 3).state_dict().items()},
        **{f"7.{k}": v for k, v in nn.Linear(3136, 128).state_dict().items()},
        **{f"10.{k}": v for k, v in nn.Linear(128, 10).state_dict().items()},
    }
    assert ours.keys() == theirs.keys()
    for name in ("0.weight", "3.weight", "7.weight", "10.weight"):
        assert abs(ours[name].std() / theirs[name].numpy().std() - 1) < 0.15
        assert abs(np.abs(ours[name]).max() / theirs[name].abs().max().item() - 1) < 0.05
