"""Checks that every layer must pass. For a new layer, add a line to CASES; it must pass all CHECKS."""

import math
import re

import numpy as np

import cnn
import cnn.layers
from cnn import InputError, Product, Residual, Sequential, Sum, no_grad
from cnn.layers import (
    CELU,
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    Affine,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    ChannelShuffle,
    ChannelSlice,
    ConstantPad2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Dropout2d,
    Flatten,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Identity,
    InstanceNorm2d,
    LayerNorm,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool2d,
    Mish,
    Permute,
    PixelShuffle,
    PReLU,
    ReflectionPad2d,
    ReLU,
    ReLU6,
    ReplicationPad2d,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    Unflatten,
    Upsample,
    ZeroPad2d,
)
from cnn.module import Module
from cnn.utils.gradcheck import difference, gradcheck
from tests.containers.steps import fused_steps

CASES = [  # a function that creates a layer, and the shape of an input
    (lambda: Conv2d(3, 4, 3, rng=0), (2, 3, 5, 6)),
    (lambda: Conv2d(1, 2, (2, 3), stride=2, padding=1, rng=0), (3, 1, 6, 5)),
    (lambda: Conv2d(4, 6, 2, padding="same", groups=2, bias=False, rng=0), (2, 4, 3, 4)),
    (lambda: Conv2d(3, 3, 3, dilation=(1, 2), padding=(0, 2), groups=3, rng=0), (2, 3, 4, 5)),
    (lambda: Conv2d(2, 3, 3, stride=2, padding="same", rng=0), (2, 2, 6, 5)),
    (lambda: Conv2d(2, 2, (2, 3), stride=(1, 2), padding=((0, 2), (3, 1)), rng=0), (2, 2, 4, 4)),
    (lambda: ConvTranspose2d(3, 2, 3, rng=0), (2, 3, 3, 4)),
    (lambda: ConvTranspose2d(4, 6, (2, 3), 2, 1, (1, 0), groups=2, bias=False, rng=0), (3, 4, 3, 2)),
    (lambda: ConvTranspose2d(2, 2, 2, dilation=(3, 1), output_padding=(2, 0), groups=2, rng=0), (2, 2, 2, 3)),
    (lambda: ConvTranspose2d(2, 3, 3, stride=2, padding=((0, 1), (2, 0)), output_padding=1, rng=0), (2, 2, 3, 2)),
    (lambda: MaxPool2d(2), (2, 3, 4, 6)),
    (lambda: MaxPool2d(3, stride=2, padding=1), (2, 2, 7, 6)),
    (lambda: MaxPool2d((2, 3), stride=(2, 1), dilation=(2, 1), ceil_mode=True), (2, 2, 6, 5)),
    (lambda: MaxPool2d(3, stride=2, padding="same"), (2, 2, 6, 5)),
    (lambda: MaxPool2d((3, 2), stride=1, padding=((0, 2), (1, 0))), (2, 2, 3, 4)),
    (lambda: AvgPool2d(2), (2, 3, 4, 6)),
    (lambda: AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True), (2, 2, 6, 5)),
    (lambda: AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (2, 2, 5, 6)),
    (lambda: AvgPool2d((3, 2), padding="same", count_include_pad=False), (2, 2, 4, 5)),
    (lambda: AvgPool2d(3, stride=2, padding=((0, 1), (0, 1))), (2, 2, 5, 6)),
    (lambda: AdaptiveAvgPool2d(1), (2, 3, 4, 5)),
    (lambda: AdaptiveAvgPool2d((3, None)), (2, 2, 5, 4)),
    (lambda: AdaptiveMaxPool2d((2, 3)), (2, 3, 5, 4)),
    (lambda: AdaptiveMaxPool2d((None, 5)), (2, 2, 3, 3)),
    (lambda: ZeroPad2d((1, 0, 2, -1)), (2, 3, 4, 3)),
    (lambda: ConstantPad2d(1, 0.5), (2, 2, 3, 4)),
    (lambda: ReflectionPad2d((1, 2, 2, 0)), (2, 2, 3, 4)),
    (lambda: ReplicationPad2d((3, 1, 0, -1)), (2, 2, 3, 2)),
    (lambda: Upsample(scale_factor=2), (2, 3, 3, 4)),
    (lambda: Upsample(size=(5, 2)), (2, 2, 3, 4)),
    (lambda: Upsample(scale_factor=(1.5, 2.5), mode="bilinear"), (2, 2, 3, 4)),
    (lambda: Upsample(size=(4, 7), mode="bilinear", align_corners=True), (2, 2, 3, 3)),
    (lambda: Upsample(size=(5, 3), mode="nearest-exact"), (2, 2, 3, 4)),
    (lambda: Upsample(scale_factor=(1.5, 2), mode="bilinear", asymmetric=True), (2, 2, 3, 4)),
    (lambda: PixelShuffle(2), (2, 8, 2, 3)),
    (lambda: Permute((0, 2, 3, 1)), (2, 3, 4, 5)),
    (lambda: Unflatten(1, (2, -1, 3)), (3, 12)),
    (lambda: Linear(5, 4, rng=0), (3, 5)),
    (lambda: Linear(4, 4, bias=False, rng=0), (2, 3, 4)),
    (lambda: ReLU(), (3, 4)),
    (lambda: ReLU(), (2, 3, 4, 5)),
    (lambda: LeakyReLU(0.2), (2, 3, 4)),
    (lambda: PReLU(), (3, 4)),
    (lambda: PReLU(3, init=-0.5), (2, 3, 4, 5)),
    (lambda: ELU(alpha=1.5), (3, 4)),
    (lambda: SELU(), (3, 4)),
    (lambda: CELU(alpha=0.5), (3, 4)),
    (lambda: GELU(), (2, 3, 4)),
    (lambda: GELU(approximate="tanh"), (2, 3, 4)),
    (lambda: SiLU(), (3, 4)),
    (lambda: Mish(), (3, 4)),
    (lambda: Hardswish(), (3, 4)),
    (lambda: Hardsigmoid(), (3, 4)),
    (lambda: Hardsigmoid(alpha=0.2, beta=0.4), (3, 4)),
    (lambda: Hardtanh(), (3, 4)),
    (lambda: Hardtanh(-0.5, 2), (2, 3, 4)),
    (lambda: ReLU6(), (3, 4)),
    (lambda: Sigmoid(), (3, 4)),
    (lambda: Tanh(), (3, 4)),
    (lambda: Softplus(beta=2.0, threshold=3.0), (3, 4)),
    (lambda: Softsign(), (3, 4)),
    (lambda: LogSoftmax(), (3, 5)),
    (lambda: LogSoftmax(dim=1), (2, 3, 2, 4)),
    (lambda: Softmax(), (3, 5)),
    (lambda: Softmax(dim=1), (2, 3, 2, 4)),
    (lambda: Softmax(dim=-2), (2, 3, 2, 4)),
    (lambda: Flatten(), (2, 3, 2, 4)),
    (lambda: Dropout(0.25, rng=0), (2, 3, 4, 3)),
    (lambda: Dropout(0, rng=0), (3, 4)),
    (lambda: Dropout2d(0.4, rng=0), (3, 4, 2, 3)),
    (lambda: BatchNorm1d(3), (4, 3)),
    (lambda: BatchNorm1d(3).eval(), (4, 3)),
    (lambda: BatchNorm1d(2, momentum=None), (3, 2, 4)),
    (lambda: BatchNorm2d(3), (2, 3, 3, 4)),
    (lambda: BatchNorm2d(3, momentum=0.3, affine=False).eval(), (2, 3, 4, 2)),
    (lambda: BatchNorm2d(2, track_running_stats=False), (3, 2, 2, 3)),
    (lambda: LayerNorm(5), (3, 5)),
    (lambda: LayerNorm((3, 4), bias=False), (2, 2, 3, 4)),
    (lambda: LayerNorm((2, 3), elementwise_affine=False), (3, 2, 3)),
    (lambda: GroupNorm(2, 4), (2, 4, 3, 2)),
    (lambda: GroupNorm(3, 3, affine=False), (2, 3, 5)),
    (lambda: ChannelShuffle(3), (2, 6, 2, 3)),
    (lambda: ChannelSlice(1, 3), (2, 4, 2, 3)),
    (lambda: ChannelSlice(0, 2), (3, 4)),
    (lambda: Affine(3), (2, 3, 2, 4)),
    (lambda: Affine(4), (3, 4)),
    (lambda: InstanceNorm2d(3), (2, 3, 3, 4)),
    (lambda: InstanceNorm2d(2, affine=True), (3, 2, 2, 4)),
    (lambda: InstanceNorm2d(3, momentum=0.3, track_running_stats=True), (2, 3, 3, 2)),
    (lambda: LocalResponseNorm(3, alpha=0.5), (2, 5, 2, 3)),
    (lambda: LocalResponseNorm(4, alpha=2.0, beta=0.5, k=0.7), (2, 3, 4)),
    (lambda: Identity(), (2, 3, 2, 2)),
    (lambda: Sum([Identity(), Conv2d(2, 2, 1, rng=0)]), (2, 2, 3, 4)),
    (lambda: Product([Identity(), Conv2d(2, 2, 1, rng=0), Sigmoid()]), (2, 2, 3, 4)),
    (lambda: Product([Conv2d(2, 1, 1, rng=0), AdaptiveAvgPool2d(1), Identity()]), (2, 2, 3, 4)),
    (lambda: Residual(Sequential([Conv2d(2, 2, 3, padding=1, rng=0), ReLU()])), (2, 2, 4, 3)),
    (lambda: Sequential([Linear(4, 5, rng=0), ReLU(), Linear(5, 4, rng=1)]), (3, 4)),
]


class Mix(Module):
    """A fixed linear map of all numbers of a sample, which puts a layer under test in the middle of a net."""

    def __init__(self, shape, seed):
        size = math.prod(shape[1:])
        self.matrix = np.random.default_rng(seed).normal(size=(size, size)) / math.sqrt(size)

    def forward(self, x):
        return (x.reshape(len(x), -1) @ self.matrix).reshape(x.shape)

    def backward(self, grad):
        return (grad.reshape(len(grad), -1) @ self.matrix.T).reshape(grad.shape)


def draw(shape, dtype=np.float32, seed=0):
    """Draw random numbers for an input or a gradient."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def draw_like(y, seed=0):
    """Draw a gradient for an output, different from the numbers of the input, which could hide a mistake."""
    return draw(y.shape, y.dtype, 1000 + seed)


def frozen(array):
    """Return a read-only copy."""
    array = array.copy(order="K")
    array.flags.writeable = False
    return array


def error_of(function, *args):
    """Call a function that must raise an error, and return the error."""
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError(f"{function} accepted {args}")


def arrow(method):
    """Read input and output shape from a docstring such as "(N, C, H, W) -> (N, C*H*W)"."""
    found = re.match(r"\((.+?)\) -> \((.+?)\)", method.__doc__ or "")
    assert found, f"the docstring of {method.__qualname__} must begin with shapes: (N, ...) -> (N, ...)"
    return found.groups()


def bind(pattern, shape, sizes):
    """Compare a shape with a pattern of letters; their sizes are collected in ``sizes``."""
    letters = pattern.split(", ")
    if "..." in letters:
        i = letters.index("...")
        rest = len(shape) - len(letters) + 1
        assert sizes.setdefault("...", shape[i : i + rest]) == shape[i : i + rest]
        letters, shape = letters[:i] + letters[i + 1 :], shape[:i] + shape[i + rest :]
    assert len(letters) == len(shape), f"({pattern}) is not {shape}"
    for letter, size in zip(letters, shape, strict=True):
        product = "*" in letter
        known = math.prod(sizes[part] for part in letter.split("*")) if product else sizes.setdefault(letter, size)
        assert known == size, f"{letter} of ({pattern}) is {known}, not {size}"


def shape_arrow(make, shape):
    """The docstring of forward gives the right shapes, and that of backward the reverse."""
    layer, sizes = make(), {}
    y = layer(draw(shape))
    before, after = arrow(layer.forward)
    bind(before, shape, sizes)
    bind(after, y.shape, sizes)
    assert layer.backward(draw_like(y)).shape == shape
    assert arrow(layer.backward) == (after, before)


def dtype_kept(make, shape):
    """No dtype promotion: float32 stays float32 and float64 stays float64 in outputs, gradients and parameters."""
    for dtype in (np.float32, np.float64):
        layer = make().to(dtype)
        for mode in (True, False):
            y = layer.train(mode)(draw(shape, dtype))
            assert y.dtype == dtype
            assert layer.backward(draw_like(y)).dtype == dtype
        assert all(p.dtype == dtype and p.grad.dtype == dtype for p in layer.parameters())


def float16_is_widened(make, shape):
    """float16 is converted to the layer's dtype, and the rest, the gradient included, is as for that dtype."""
    half = draw(shape).astype(np.float16)
    for dtype in (np.float32, np.float64):
        for mode in (True, False):
            layer, other = make().to(dtype).train(mode), make().to(dtype).train(mode)
            wide = dtype if any(tensor.dtype == dtype for _, tensor in layer.named_tensors()) else np.float32
            y, expected = layer(half), other(half.astype(wide))
            assert y.dtype == wide
            np.testing.assert_array_equal(y, expected)
            grad = draw_like(y)
            grad_x, expected = layer.backward(grad), other.backward(grad)
            assert grad_x.dtype == wide
            np.testing.assert_array_equal(grad_x, expected)
            for p, q in zip(layer.parameters(), other.parameters(), strict=True):
                np.testing.assert_array_equal(p.grad, q.grad)


def numeric_gradients(make, shape):
    """Gradients of input and parameters agree with central differences, in the middle of a net, in both modes."""
    for mode in (True, False):
        layer = make()
        inner = layer(draw(shape)).shape
        gradcheck(Sequential([Mix(shape, 1), layer, Mix(inner, 2)]).train(mode), draw(shape, np.float64))


def gradients_accumulate(make, shape):
    """A second backward adds to the gradients of the parameters."""
    layer, x = make().eval(), draw(shape)
    layer.backward(draw_like(layer(x)))
    once = [p.grad.copy() for p in layer.parameters()]
    layer.backward(draw_like(layer(x)))
    for p, grad in zip(layer.parameters(), once, strict=True):
        np.testing.assert_allclose(p.grad, 2 * grad, rtol=1e-6)
    layer.zero_grad()
    assert all(p.grad is None for p in layer.parameters())


def inputs_not_modified(make, shape):
    """Forward and backward do not write to the input and the gradient."""
    for mode in (True, False):
        layer, x = make().train(mode), draw(shape)
        x_read_only = frozen(x)
        y = layer(x_read_only)
        layer.backward(frozen(draw_like(y)))
        layer(x)
        layer.backward(draw_like(y))
        np.testing.assert_array_equal(x, x_read_only)


def outputs_not_modified(make, shape):
    """A later forward or backward does not write to arrays that were returned before."""
    layer = make()
    y = layer(draw(shape))
    grad = layer.backward(draw_like(y))
    weights = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    copies = [a.copy() for a in (y, grad, *weights)]
    for seed in (1, 2):
        layer.backward(draw_like(layer(draw(shape, seed=seed)), seed))
    for array, copy in zip((y, grad, *weights), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def saved_state_emptied(make, shape):
    """Arrays are saved between forward and backward in both modes, and released afterwards."""
    for mode in (True, False):
        layer = make().train(mode)
        leaves = [m for m in layer.modules() if not m.children()]
        assert all(m._saved is None for m in layer.modules())
        y = layer(draw(shape))
        in_steps = {id(m) for step in fused_steps(layer) for m in step.layers}
        assert all((m._saved is not None) != (id(m) in in_steps) for m in leaves)
        layer.backward(draw_like(y))
        assert all(m._saved is None for m in layer.modules())


def second_backward_raises(make, shape):
    """A second backward is an error, so that gradients never double silently."""
    layer = make()
    y = layer(draw(shape))
    layer.backward(draw_like(y))
    error = error_of(layer.backward, draw_like(y))
    assert isinstance(error, RuntimeError)
    assert "forward" in str(error)


def backward_alone_raises(make, shape):
    """Backward without forward is an error."""
    error = error_of(make().backward, draw_like(make()(draw(shape))))
    assert isinstance(error, RuntimeError)
    assert "forward" in str(error)


def no_grad_saves_nothing(make, shape):
    """Inside no_grad the output is the same, nothing is saved, and the error of backward says so."""
    layer, x = make(), draw(shape)
    with no_grad():
        y = layer(x)
    assert all(m._saved is None for m in layer.modules())
    np.testing.assert_array_equal(y, make()(x))
    assert "no_grad" in str(error_of(layer.backward, draw_like(y)))


def state_round_trip(make, shape):
    """Another layer that loads the state gives the same numbers and shares no memory."""
    layer, other, x = make().eval(), make().eval(), draw(shape)
    for p in other.parameters():
        p.data = p.data + 1
    state = layer.state_dict()
    other.load_state_dict(state)
    for array in state.values():
        array += 1
    np.testing.assert_array_equal(other(x), layer(x))
    assert list(other.state_dict()) == list(state)


def repr_evaluates(make, shape):
    """Evaluating the repr of a layer creates an equal layer."""
    names = {name: getattr(module, name) for module in (cnn, cnn.layers) for name in module.__all__}
    layer = make()
    if not type(layer).__module__.startswith("cnn."):  # a custom layer
        names[type(layer).__name__] = type(layer)
    again = eval(repr(layer), names)
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in layer.state_dict().items()}
    assert again.eval()(draw(shape)).shape == layer.eval()(draw(shape)).shape


def batch_of_one(make, shape):
    """A single sample gives the same numbers as in a batch."""
    layer, x = make().eval().to(np.float64), draw(shape, np.float64)
    y = layer(x)
    grad = draw_like(y)
    grad_x = layer.backward(grad)
    assert difference(layer(x[:1]), y[:1]) <= 1e-12
    assert difference(layer.backward(grad[:1]), grad_x[:1]) <= 1e-12


def empty_batch(make, shape):
    """An empty batch gives an empty output, and zero gradients for the parameters."""
    layer, full = make(), make()(draw(shape)).shape
    y = layer(np.zeros((0, *shape[1:]), np.float32))
    assert y.shape == (0, *full[1:])
    assert layer.backward(y.copy()).shape == (0, *shape[1:])
    assert all(not p.grad.any() for p in layer.parameters())


def memory_layout_makes_no_difference(make, shape):
    """Strided, reversed, Fortran-ordered and channels-last arrays give the same numbers."""

    def every_second(a):
        spread = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan)
        spread[..., ::2] = a
        return spread[..., ::2]

    def reverse(a):
        return a[::-1, ..., ::-1].copy()[::-1, ..., ::-1]

    def channels_last(a):
        return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1)

    plain, x = make().to(np.float64), draw(shape, np.float64)
    y = plain(x)
    grad = draw_like(y)
    grad_x = plain.backward(grad)
    for layout in (every_second, reverse, channels_last, np.asfortranarray):
        layer = make().to(np.float64)
        np.testing.assert_array_equal(layout(x), x)
        assert difference(layer(layout(x)), y) <= 1e-12
        assert difference(layer.backward(layout(grad)), grad_x) <= 1e-12
        for p, q in zip(layer.parameters(), plain.parameters(), strict=True):
            assert difference(p.grad, q.grad) <= 1e-12
            assert p.grad.flags.c_contiguous


def wrong_dtype_raises(make, shape):
    """Integers raise an error, and so does the other float dtype if there are parameters; the error names astype."""
    layer = make()
    wrong_dtypes = [np.int64, np.uint8, np.bool_, *([np.float64] if layer.parameters() else [])]
    for dtype in wrong_dtypes:
        error = error_of(layer, np.ones(shape, dtype))
        assert isinstance(error, InputError)
        assert "astype" in str(error)
    assert isinstance(error_of(layer, [[1.0]]), InputError)


def wrong_gradient_raises(make, shape):
    """Backward raises an error for None, another shape or another dtype."""
    layer, x = make(), draw(shape)
    grad = draw_like(layer(x))
    for wrong in (None, grad[..., :-1], grad[0], grad[..., None], grad.astype(np.float64)):
        layer(x)
        error = error_of(layer.backward, wrong)
        assert isinstance(error, InputError)
        assert "gradient" in str(error)


CHECKS = [
    shape_arrow,
    dtype_kept,
    float16_is_widened,
    numeric_gradients,
    gradients_accumulate,
    inputs_not_modified,
    outputs_not_modified,
    saved_state_emptied,
    second_backward_raises,
    backward_alone_raises,
    no_grad_saves_nothing,
    state_round_trip,
    repr_evaluates,
    batch_of_one,
    empty_batch,
    memory_layout_makes_no_difference,
    wrong_dtype_raises,
    wrong_gradient_raises,
]


NOT_APPLICABLE = {  # checks that do not apply to layers in which the samples of a batch depend on each other
    "batch_of_one": lambda layer: uses_batch_statistics(layer.eval()),  # a single sample's mean is not the batch's
    "empty_batch": lambda layer: uses_batch_statistics(layer),  # an empty batch has no mean
}


def uses_batch_statistics(layer):
    """Return whether a layer uses the mean and variance of its batch."""
    return isinstance(layer, (BatchNorm1d, BatchNorm2d)) and (layer.training or not layer.track_running_stats)


def applies(check, make):
    """Return whether a check applies to a layer."""
    return check.__name__ not in NOT_APPLICABLE or not NOT_APPLICABLE[check.__name__](make())


def failures(make, shape):
    """Return the names of the checks that a layer fails."""
    failed = set()
    for check in CHECKS:
        try:
            check(make, shape)
        except Exception:
            failed.add(check.__name__)
    return failed
