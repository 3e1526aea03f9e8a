"""The zoo: every net runs on its input and has the parameters that its docstring says."""

import numpy as np
import pytest

from cnn import zoo


@pytest.mark.parametrize(
    ("net", "shape", "classes", "parameters"),
    [
        (zoo.small_cnn, (1, 28, 28), 10, 421_642),
        (zoo.small_cnn, (3, 33, 20), 5, 32 * 28 + 64 * 289 + (64 * 8 * 5 + 1) * 128 + 129 * 5),
        (zoo.mlp, (2,), 3, 675),
        (zoo.mlp, (1, 4, 4), 7, 17 * 32 + 33 * 16 + 17 * 7),
    ],
)
def test_shape_and_parameters(net, shape, classes, parameters):
    model = net(shape, classes)
    p = model.predict_proba(np.zeros((2, *shape)))
    assert p.shape == (2, classes)
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-6
    assert sum(parameter.size for parameter in model.parameters()) == parameters
