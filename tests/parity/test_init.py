import numpy as np
import pytest
import torch

from cnn import init


@pytest.mark.parametrize("shape", [(2, 2, 3, 3), (4, 2, 3, 5), (2, 4, 1, 1), (3, 3, 2, 4)])
def test_dirac(shape):
    np.testing.assert_array_equal(init.dirac(shape), torch.nn.init.dirac_(torch.empty(shape)).numpy())


@pytest.mark.parametrize("name", ["kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal"])
@pytest.mark.parametrize("shape", [(400, 300), (64, 32, 5, 5)])
def test_random_weights_have_the_same_standard_deviation(name, shape):
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(shape)).numpy()
    ours = getattr(init, name)(shape, rng=0)
    assert abs(ours.std() / theirs.std() - 1) < 0.02
    if name.endswith("uniform"):
        assert abs(np.abs(ours).max() / np.abs(theirs).max() - 1) < 0.001
