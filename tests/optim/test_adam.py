import numpy as np
import pytest

from cnn import Parameter
from cnn.optim import Adam


def test_the_first_step_is_lr_in_the_direction_of_the_gradient():
    """For any gradient size, the bias-corrected m / sqrt(v) is plus or minus one."""
    for size in (1e-3, 1, 1e3):
        parameter = Parameter([1.0, 1.0])
        parameter.accumulate_grad(np.array([size, -size]))
        Adam([parameter], lr=0.1).step()
        np.testing.assert_allclose(parameter.data, [0.9, 1.1], rtol=1e-5)


def test_the_formula_of_the_paper():
    """Algorithm 1 as printed in the paper, with the L2 penalty."""
    lr, (b1, b2), eps, decay = 0.01, (0.8, 0.95), 1e-3, 0.1
    rng = np.random.default_rng(0)
    parameter = Parameter(rng.normal(size=4))
    w, m, v = parameter.data.copy(), 0, 0
    adam = Adam([parameter], lr, (b1, b2), eps, decay)
    for t in range(1, 30):
        grad = rng.normal(size=4)
        parameter.grad = grad.copy()
        adam.step()
        g = grad + decay * w
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        w = w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        np.testing.assert_allclose(parameter.data, w, rtol=1e-12)


def test_float32_stays_float32_and_in_place():
    """NumPy scalars as settings must not promote the dtype, and the array must stay the same object."""
    parameter = Parameter(np.ones(3, np.float32))
    array = parameter.data
    adam = Adam([parameter], np.float64(0.1), (np.float64(0.9), np.float64(0.99)), np.float64(1e-8), np.float64(0.1))
    for _ in range(3):
        parameter.accumulate_grad(np.ones(3, np.float32))
        adam.step()
    assert parameter.data is array
    assert array.dtype == np.float32
    assert {state.dtype for state in adam._state[0].values() if hasattr(state, "dtype")} == {np.dtype(np.float32)}


def test_the_gradient_is_not_modified():
    parameter = Parameter([1.0])
    parameter.grad = np.array([2.0])
    parameter.grad.flags.writeable = False
    Adam([parameter], weight_decay=0.5).step()
    np.testing.assert_array_equal(parameter.grad, [2])


@pytest.mark.parametrize(
    "wrong", [{"betas": (0.9,)}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1}, {"weight_decay": -1}]
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Adam(**wrong)
