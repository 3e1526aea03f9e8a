import numpy as np
import pytest

from cnn import Sequential, layers
from cnn.errors import ShapeError
from cnn.functional.elementwise import BLOCK
from cnn.layers import (
    CELU,
    ELU,
    GELU,
    Hardsigmoid,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU6,
    Sigmoid,
    Softplus,
    Tanh,
)

ALL = [cls for cls in vars(layers).values() if hasattr(cls, "gradient")]
assert len(ALL) >= 13


@pytest.mark.parametrize("layer", [cls() for cls in ALL], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layout_and_blocks(layer, dtype):
    """Channels-last memory is kept, and an array of several blocks gives the same numbers as its parts."""
    x = np.random.default_rng(0).normal(size=(3, 40, 40, 16)).astype(dtype).transpose(0, 3, 1, 2)
    assert x.size > 2 * BLOCK
    grad = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    y = layer(x)
    grad_x = layer.backward(grad)
    assert y.strides == x.strides
    for i in range(3):
        np.testing.assert_allclose(layer(x[i].copy()), y[i], rtol=1e-5)
        np.testing.assert_allclose(layer.backward(grad[i]), grad_x[i], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [*(cls() for cls in ALL), PReLU()], ids=repr)
def test_an_array_without_axes(layer):
    y = layer(np.array(-1.0, np.float32))
    assert isinstance(y, np.ndarray)
    assert (y.shape, y.dtype) == ((), np.float32)
    grad = layer.backward(np.array(1.0, np.float32))
    assert isinstance(grad, np.ndarray)
    assert (grad.shape, grad.dtype) == ((), np.float32)


@pytest.mark.parametrize(("cls", "kept"), [(Sigmoid, "y"), (Tanh, "y"), (LeakyReLU, "a mask"), (GELU, "x")])
def test_only_what_backward_needs_is_saved(cls, kept):
    layer, x = cls(), np.ones((2, 3), np.float32)
    y = layer(x)
    saved = layer.saved()[0]
    assert saved.dtype == bool if kept == "a mask" else saved is {"x": x, "y": y}[kept]


def test_celu_has_no_kink():
    layer, x = CELU(alpha=0.2), np.array([-1e-9, 1e-9])
    layer(x)
    np.testing.assert_allclose(layer.backward(np.ones(2)), 1, rtol=1e-8)


def test_prelu_sums_per_channel():
    layer = PReLU(2).to(np.float64)
    x = np.array([[[1.0, -2.0], [-3.0, -4.0]], [[-5.0, 6.0], [0.0, 8.0]]])
    layer(x)
    layer.backward(np.full_like(x, 2.0))
    np.testing.assert_array_equal(layer.weight.grad, [2 * (-2 - 5), 2 * (-3 - 4)])


def test_prelu_as_first_layer_computes_no_input_gradient():
    layer = PReLU()
    layer.needs_input_grad = False
    layer(-np.ones((1, 2), np.float32))
    assert layer.backward(np.ones((1, 2), np.float32)) is None
    np.testing.assert_array_equal(layer.weight.grad, [-2])


@pytest.mark.parametrize(
    ("shape", "fix"),
    [((2, 4), "set num_parameters=4, or 1"), ((3,), "add the channel axis"), ((), "add the channel axis")],
)
def test_prelu_names_the_channels(shape, fix):
    with pytest.raises(ShapeError, match=rf"expected \(N, 3, ...\), got .*: {fix}"):
        PReLU(3)(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyReLU(True), "negative_slope must be a finite number, got True"),
        (lambda: LeakyReLU(np.nan), "negative_slope must be a finite number, got nan"),
        (lambda: ELU("1"), "alpha must be a finite number, got '1'"),
        (lambda: ELU(np.inf), "alpha must be a finite number, got inf"),
        (lambda: CELU(0), "alpha must be a finite number larger than 0, got 0"),
        (lambda: Softplus(beta=0), "beta must be a finite number larger than 0, got 0"),
        (lambda: Softplus(threshold=-1), "threshold must be a finite number larger than 0, got -1"),
        (lambda: PReLU(0), "num_parameters must be an integer of at least 1, got 0"),
        (lambda: PReLU(init=None), "init must be a finite number, got None"),
        (lambda: GELU("fast"), 'approximate must be "none" or "tanh", got \'fast\''),
        (lambda: LogSoftmax(1.0), "dim must be the number of an axis, such as 1 or -1, got 1.0"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_log_softmax_names_the_axis():
    with pytest.raises(ShapeError, match="dim=2 needs at least 3 axes, got \\(2, 3\\): change dim"):
        LogSoftmax(2)(np.ones((2, 3)))


def test_log_softmax_is_exact_where_a_probability_underflows():
    """Warnings are errors in these tests, so the logarithm of a Softmax output of 0 would fail."""
    np.testing.assert_array_equal(LogSoftmax()(np.array([[1e4, 0.0]], np.float32)), [[0, -1e4]])


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.5), (1 / 6, 0.5), (1.0, 0.0), (0.5, -0.25), (0.1, 1.5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hardsigmoid_with_another_slope(alpha, beta, dtype):
    """ONNX's formula; the kinks are where alpha x + beta is 0 and 1."""
    layer, x = Hardsigmoid(alpha, beta), np.linspace(-20, 20, 1001, dtype=dtype) + dtype(0.001)
    line = alpha * x.astype(np.float64) + beta
    np.testing.assert_allclose(layer(x), np.clip(line, 0, 1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(layer.backward(np.ones_like(x)), alpha * ((line > 0) & (line < 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hardtanh(1, 1), r"min_val=1 must be less than max_val=1"),
        (lambda: Hardtanh(2), "min_val=2 must be less than max_val=1.0"),
        (lambda: Hardtanh(np.nan), "min_val must be a number, or infinity for no bound, got nan"),
        (lambda: Hardtanh(0, "6"), "max_val must be a number"),
        (lambda: Hardtanh(True), "min_val must be a number"),
        (lambda: Hardsigmoid(0), "alpha must be a finite number larger than 0"),
        (lambda: Hardsigmoid(-0.2), "alpha must be a finite number larger than 0"),
        (lambda: Hardsigmoid(1e-320), "alpha=1e-320 is too small"),
        (lambda: Hardsigmoid(beta=np.inf), "beta must be a finite number"),
    ],
)
def test_wrong_bounds_and_slopes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_bound_may_be_missing_also_in_a_file(tmp_path):
    x = np.array([[-1e30, -1.0, 2.0, 7.0, 1e30]], np.float32)
    model = Sequential([Hardtanh(-np.inf, 5), Hardtanh(0, np.inf), ReLU6()])
    np.testing.assert_array_equal(model(x), [[0, 0, 2, 5, 5]])
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again(x), model(x))
