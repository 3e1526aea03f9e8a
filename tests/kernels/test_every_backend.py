"""Every backend, with every number of threads, computes in float32 what the plain functions compute in float64."""

import copy
import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnn
from cnn import zoo
from cnn.errors import ShapeError
from cnn.kernels import backend
from cnn.layers import AvgPool2d, BatchNorm2d, Conv2d, ConvTranspose2d, Linear, MaxPool2d, ReLU, Tanh
from cnn.loss import CrossEntropyLoss
from cnn.module import Parameter
from cnn.optim import Adam, AdamW
from cnn.utils.gradcheck import difference
from tests.conformance import draw
from tests.kernels.backends import as_bytes, forward_and_backward, in_float64, needs_numba, using

pytestmark = pytest.mark.kernels

CLOSE = 3e-5  # max|a - b| / max|b|
EVERY = [
    pytest.param((name, threads), id=f"{name}-{threads}", marks=[needs_numba] if name == "jit" else [])
    for name in backend.BACKENDS
    for threads in (1, 2, 4)
]


@pytest.fixture(autouse=True, params=EVERY)
def backend_name(request):
    """Use a backend with a number of threads."""
    name, threads = request.param
    with using(name, threads):
        yield name


def algorithm(layer, x):
    """Return the algorithm of a convolution in the backend "jit"."""
    return backend.load("cnn.kernels.jit.engine.shapes").algorithm(
        x.shape, layer.weight.shape, layer.geometry(*x.shape[2:]), layer.groups
    )


@functools.cache
def expected_of(make, arguments, shape, seed):
    """Return the results of the plain functions in float64; computed once, because they serve for every backend."""
    rng = np.random.default_rng(seed)
    return in_float64(make(**dict(arguments), rng=rng), rng.normal(size=shape).astype(np.float32))


def compare_drawn(make, arguments, shape, seed=0):
    """Compare outputs and all gradients of a layer with weights; return the layer and its input."""
    expected = expected_of(make, tuple(arguments.items()), shape, seed)
    rng = np.random.default_rng(seed)
    layer, x = make(**arguments, rng=rng), rng.normal(size=shape).astype(np.float32)
    compare(layer, x, expected)
    return layer, x


def compare(layer, x, expected=None):
    """Compare outputs and all gradients of any layer."""
    found = forward_and_backward(layer, x)
    for a, b in zip(found, expected or in_float64(layer, x), strict=True):
        assert a.dtype == np.float32
        assert difference(a, b) <= CLOSE, (layer, x.shape)


# Convolutions


def one_or_two(low, high):
    """A size, or a height and a width."""
    number = st.integers(low, high)
    return number | st.tuples(number, number)


def four_sides(high):
    """Padding of top and bottom, left and right."""
    side = st.integers(0, high)
    return st.tuples(st.tuples(side, side), st.tuples(side, side))


@st.composite
def convolutions(draw):
    """Draw the arguments of a Conv2d and the shape of an input."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 33]).map(lambda n: n * groups)
    c, k = draw(channels), draw(channels)
    if draw(st.integers(0, 3)) == 0:
        groups, k = c, c  # depthwise
    stride = draw(one_or_two(1, 3))
    paddings = one_or_two(0, 3) | st.just("same") | four_sides(3)
    arguments = {
        "in_channels": c,
        "out_channels": k,
        "kernel_size": draw(one_or_two(1, 4)),
        "stride": stride,
        "padding": draw(paddings),
        "dilation": draw(one_or_two(1, 3)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    return arguments, (draw(st.sampled_from([1, 2, 3, 8])), c, draw(st.integers(3, 14)), draw(st.integers(3, 14)))


@st.composite
def plain_convolutions(draw):
    """Draw 3x3 convolutions of many images with 16, 32 or 48 channels, as the Winograd algorithm needs; or, about as often,
    with 24 channels.
    """
    c, k = (draw(st.sampled_from([16, 32, 48, 24])) for _ in range(2))
    padding = draw(one_or_two(0, 2) | st.just("same") | four_sides(2))
    arguments = {"in_channels": c, "out_channels": k, "kernel_size": 3, "padding": padding, "bias": draw(st.booleans())}
    return arguments, (draw(st.integers(5, 9)), c, draw(st.integers(10, 19)), draw(st.integers(10, 19)))


def test_convolutions():
    """Of any shape; all algorithms of the compiled kernels occur, and shapes that these decline."""
    seen = set()

    @settings(max_examples=70)
    @given(convolutions(), st.integers(0, 5))
    def run(drawn, seed):
        arguments, shape = drawn
        layer = Conv2d(**arguments)
        try:
            layer.geometry(*shape[2:]).output_size(*shape[2:])
        except ShapeError:
            return
        layer, x = compare_drawn(Conv2d, arguments, shape, seed)
        if backend.has_numba():
            served = backend.load("cnn.kernels.jit.engine.shapes").supports(layer.geometry(*shape[2:]))
            seen.add(algorithm(layer, x) if served else "none")
        seen.update([f"n={shape[0]}", *(["rest"] if layer.out_channels % 16 else [])])

    run()
    assert seen >= {"n=1", "rest"}
    assert seen >= {"direct", "depthwise", "none"} or not backend.has_numba()


@pytest.mark.parametrize("shape", [(40, 24, 3, 5), (64, 33, 8, 8), (37, 17, 4, 4), (48, 300, 1, 1)], ids=str)
@pytest.mark.parametrize("after", [[], ["norm"], ["relu"], ["norm", "relu", "pool"]], ids="-".join)
def test_windows_of_one_pixel_and_many_small_images(shape, after):
    """Such images are treated as fewer and longer ones, unless a norm or a pool needs each image."""
    n, c, h, w = shape
    layers = [Conv2d(c, 40, 1, bias="norm" not in after, rng=0)]
    layers += [{"norm": BatchNorm2d(40), "relu": ReLU(), "pool": MaxPool2d(min(2, h))}[name] for name in after]
    model = cnn.Sequential(layers)
    model.build((c, h, w))
    x = draw(shape)
    found = forward_and_backward(model, x)
    for a, b in zip(found, in_float64(model, x), strict=True):
        assert np.linalg.norm(a - b) <= CLOSE * max(np.linalg.norm(b), 0.01 * math.sqrt(b.size))
    if backend.active() == "jit" and not after:
        geometry = layers[0].geometry()
        conv = backend.load("cnn.kernels.jit.engine.shapes").prepare(
            shape, layers[0].weight.shape, geometry, 1, merged_to=16
        )
        assert conv.arguments[backend.load("cnn.kernels.jit.engine.arguments").N] < n


@pytest.mark.parametrize("c", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (2, 4), (1, 7)], ids=str)
def test_first_layers(c, kernel):
    """Few input channels, with and without padding, and more or fewer than the window is wide."""
    for padding, dilation in ((0, 1), (1, 1), ((3, 2), (2, 1)), (4, 1)):
        k = 16 if kernel[0] == 1 else 9  # with 16 channels the gradient is read in place
        arguments = {"out_channels": k, "kernel_size": kernel, "padding": padding, "dilation": dilation}
        compare_drawn(Conv2d, {"in_channels": c, **arguments}, (3, c, 11, 13))


def test_the_gradient_of_a_first_layer_is_nan_where_it_must_be():
    """A gradient that is not finite reaches only the pixels of its window."""
    layer, x = Conv2d(3, 8, 3, padding=1, bias=False, rng=0), draw((2, 3, 9, 9))
    grad = draw((2, 8, 9, 9))
    grad[0, 2, 4, 5], grad[1, 7, 0, 0] = np.nan, np.inf
    layer(x)
    with np.errstate(invalid="ignore"):
        x_grad = layer.backward(grad)
    expected = np.zeros(x.shape, bool)
    expected[0, :, 3:6, 4:7] = expected[1, :, :2, :2] = True
    assert (~np.isfinite(x_grad) == expected).all()


def test_convolutions_of_many_images():
    """With and without the Winograd algorithm."""
    seen = set()

    @settings(max_examples=24)
    @given(plain_convolutions())
    def run(drawn):
        arguments, shape = drawn
        layer, x = compare_drawn(Conv2d, arguments, shape)
        if backend.has_numba():
            seen.add(algorithm(layer, x))

    run()
    assert seen == {"direct", "winograd"} or not backend.has_numba()


@st.composite
def transposed(draw):
    """Draw the arguments of a ConvTranspose2d and the shape of an input."""
    groups = draw(st.sampled_from([1, 1, 2]))
    c, k = (draw(st.sampled_from([1, 3, 8, 16])) * groups for _ in range(2))
    if draw(st.integers(0, 4)) == 0:
        groups, k = c, c
    stride = draw(st.integers(1, 3))
    arguments = {
        "in_channels": c,
        "out_channels": k,
        "kernel_size": draw(one_or_two(1, 4)),
        "stride": stride,
        "padding": draw(st.integers(0, 2) | four_sides(2)),
        "output_padding": draw(st.integers(0, stride - 1)),
        "groups": groups,
        "bias": draw(st.booleans()),
        "dilation": draw(st.integers(1, 2)),
    }
    return arguments, (draw(st.sampled_from([1, 2, 5])), c, draw(st.integers(2, 9)), draw(st.integers(2, 9)))


def test_transposed_convolutions():
    """Of any shape, also where output_padding extends the output past the last window."""
    count = 0

    @settings(max_examples=40)
    @given(transposed())
    def run(drawn):
        nonlocal count
        arguments, shape = drawn
        layer = ConvTranspose2d(**arguments)
        if min(layer.geometry().input_size(*shape[2:])) >= 1:
            compare_drawn(ConvTranspose2d, arguments, shape)
            count += 1

    run()
    assert count > 25


def test_a_transposed_convolution_of_many_images():
    """It uses the algorithms of the convolution that it is the transpose of."""
    compare_drawn(
        ConvTranspose2d, {"in_channels": 32, "out_channels": 16, "kernel_size": 3, "padding": 1}, (6, 32, 16, 16)
    )


@pytest.mark.parametrize(
    "shape", [(6, 32, 14, 15), (2, 3, 9, 9), (2, 8, 9, 9)], ids=["winograd", "direct", "depthwise"]
)
def test_gradients_are_adjoint(shape):
    """<conv(x, w), g> = <x, input_grad(g)> = <w, weight_grad(x, g)>: exact for small integers, except with the
    Winograd algorithm, which multiplies by quarters and sixths.
    """
    c = shape[1]
    layer = Conv2d(c, {3: 5}.get(c, c), 3, padding=1, groups=8 if c == 8 else 1, bias=False)
    rng = np.random.default_rng(0)

    def small(shape):
        return rng.integers(-3, 4, shape).astype(np.float32)

    x, layer.weight.data = small(shape), small(layer.weight.shape)
    y = layer(x)
    g = small(y.shape)
    x_grad = layer.backward(g)
    assert layer.weight.grad is not None
    pairs = [(y, g), (x, x_grad), (layer.weight.data, layer.weight.grad)]
    of_y, x_factor, of_w = (float((p.astype(np.float64) * q.astype(np.float64)).sum()) for p, q in pairs)
    if c == 32 and backend.active() == "jit":
        assert algorithm(layer, x) == "winograd"
        size = math.sqrt(float((y.astype(np.float64) ** 2).sum() * (g.astype(np.float64) ** 2).sum()))
        assert max(abs(x_factor - of_y), abs(of_w - of_y)) <= 1e-4 * size
    else:
        assert of_y == x_factor == of_w != 0


# Pools


POOLS = [
    lambda: MaxPool2d(2),
    lambda: MaxPool2d(3, stride=1),
    lambda: MaxPool2d(3, stride=2, padding=1),
    lambda: MaxPool2d((2, 3), stride=(2, 1), padding=(1, 0), dilation=(2, 1)),
    lambda: MaxPool2d(2, ceil_mode=True),
    lambda: MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
    lambda: MaxPool2d((1, 4), stride=(3, 2), dilation=(1, 3), ceil_mode=True),
    lambda: MaxPool2d(2, padding="same"),
    lambda: MaxPool2d(3, stride=2, padding="same"),
    lambda: MaxPool2d((3, 2), stride=(1, 2), padding=((0, 2), (1, 0)), ceil_mode=True),
    lambda: AvgPool2d(2),
    lambda: AvgPool2d(2, padding="same"),
    lambda: AvgPool2d(3, stride=2, padding=((0, 1), (0, 1))),
    lambda: AvgPool2d((3, 2), padding=((2, 0), (0, 1)), ceil_mode=True, count_include_pad=False),
    lambda: AvgPool2d(3, stride=1, padding=1),
    lambda: AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
    lambda: AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
]
SHAPES = [(1, 3, 12, 15), (9, 8, 13, 11), (5, 40, 17, 17), (70, 16, 10, 10)]


@pytest.mark.parametrize("make", POOLS, ids=lambda make: repr(make()))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pools(make, shape):
    """Overlapping, padded, dilated, and with pixels left over at the border."""
    compare(make(), draw(shape))


@pytest.mark.parametrize("make", [make for make in POOLS if type(make()) is MaxPool2d], ids=lambda make: repr(make()))
def test_max_pool_ties(make):
    """Of several equal values the first gets the gradient: with few different values nearly every window has ties."""
    compare(make(), draw((9, 24, 13, 13)).round())
    compare(make(), np.full((4, 3, 9, 10), -2.5, np.float32))


@pytest.mark.parametrize("make", POOLS, ids=lambda make: repr(make()))
def test_pools_of_nan_and_infinities(make):
    """The outputs and gradients have them in the same positions as the plain function."""
    x = draw((5, 20, 13, 13))
    rng = np.random.default_rng(0)
    for value in (np.nan, np.inf) if type(make()) is AvgPool2d else (np.nan, np.inf, -np.inf):
        x[rng.random(x.shape) < 0.05] = value
    with np.errstate(invalid="ignore"):
        found, expected = forward_and_backward(make(), x), in_float64(make(), x)
    assert np.isnan(expected[0]).any()
    assert np.isfinite(expected[0]).any()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# Norms, products, element-wise functions


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 7, 9, 9), (16, 32, 8, 8), (40, 17, 12, 10)], ids=str)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mean", [0, 1000])
def test_batch_norm(shape, affine, training, mean):
    """In training and evaluation, also far from zero; with its running statistics."""
    norm, rng = BatchNorm2d(shape[1], affine=affine), np.random.default_rng(0)
    for tensor in (norm.weight, norm.bias, norm.running_var):
        if tensor is not None:
            tensor.data = rng.random(shape[1]) + 0.5
    norm.running_mean.data = np.full(shape[1], mean)
    x = (draw(shape) + rng.normal(size=(1, shape[1], 1, 1)) + mean).astype(np.float32)
    other = copy.deepcopy(norm).to(np.float64).train(training)
    norm.train(training)
    with using("reference", 1):
        expected = forward_and_backward(other, x.astype(np.float64))
    compare(norm, x, expected)
    assert difference(norm.running_mean.data, other.running_mean.data) <= 1e-6
    assert difference(norm.running_var.data, other.running_var.data) <= 1e-5
    assert norm.num_batches_tracked.data == training


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (3, 5, 4), (1, 300, 20), (64, 784, 128), (33, 17, 100), (257, 65, 33)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(rows, inputs, outputs, bias):
    """Of small and large sizes."""
    compare_drawn(Linear, {"in_features": inputs, "out_features": outputs, "bias": bias}, (rows, inputs))


def test_linear_with_more_axes():
    compare_drawn(Linear, {"in_features": 24, "out_features": 10}, (5, 7, 24))


@pytest.mark.parametrize("layer", [ReLU(), Tanh()], ids=repr)
@pytest.mark.parametrize("shape", [(3,), (5, 7), (3, 4, 5), (2, 3, 5, 7), (300, 700), (6, 32, 30, 40)], ids=str)
def test_elementwise(layer, shape):
    """With enough elements for several threads, and with few."""
    compare(layer, draw(shape) * 3)


@pytest.mark.parametrize("size", [8, 200_000])
def test_relu_of_special_values(size):
    """NaN stays, and so does its gradient; the gradient at 0 and -0 is blocked; a blocked infinite gradient becomes 0."""
    x = np.resize(np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-45, -1e-45, 2.0], np.float32), size)
    grad = np.resize(np.array([1, 2, np.nan, np.inf, np.inf, 3, np.nan, -0.0], np.float32), size)
    relu = ReLU()
    y, x_grad = relu(x), relu.backward(grad)
    zero = np.float32(0)
    expected = np.array([np.nan, zero, zero, np.inf, zero, 1e-45, zero, 2], np.float32)
    np.testing.assert_array_equal(y, np.resize(expected, size))
    np.testing.assert_array_equal(x_grad, np.resize(np.array([1, 0, 0, np.inf, 0, 3, 0, 0], np.float32), size))


@pytest.mark.parametrize("size", [12, 200_000])
def test_tanh_of_special_values(size):
    """NaN stays, large values give 1 and -1, and very small numbers keep their precision."""
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -3e-12, 1e-4, 50.0, -88.0, 3e38, 0.35]
    x = np.resize(np.array(values, np.float32), size)
    y = Tanh()(x)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=3e-7)
    assert (np.signbit(y) == np.signbit(x))[~np.isnan(x)].all()
    assert np.abs(y[~np.isnan(y)]).max() == 1
    line = np.linspace(-10, 10, 200_001, dtype=np.float32)
    np.testing.assert_allclose(Tanh()(line), np.tanh(line.astype(np.float64)), rtol=1e-6)


# Losses and optimizers


@pytest.mark.parametrize(("n", "k"), [(1, 2), (64, 10), (300, 1000), (1200, 1000)])
@pytest.mark.parametrize("targets", ["int64", "int32", "probabilities"])
def test_cross_entropy(n, k, targets):
    """From logits, for every kind of target."""
    logits, ids = 5 * draw((n, k)), np.random.default_rng(0).integers(0, k, n)
    y = np.eye(k, dtype=np.float32)[ids] if targets == "probabilities" else ids.astype(targets)
    loss = CrossEntropyLoss(from_logits=True)
    found = loss(logits, y), loss.backward()
    with using("reference", 1):
        expected = loss(logits.astype(np.float64), y), loss.backward()
    assert isinstance(found[0], float)
    assert found[1].dtype == np.float32
    for a, b in zip(found, expected, strict=True):
        assert difference(a, b) <= CLOSE


def test_cross_entropy_rejects_an_invalid_class_id():
    loss = CrossEntropyLoss(from_logits=True)
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match="labels must lie between 0 and 3"):
            loss(draw((3, 4)), np.array([0, wrong, 1]))


def trained(make, dtype, steps=6):
    """Return the weights after some steps with random gradients."""
    rng = np.random.default_rng(0)
    parameters = [
        Parameter(rng.normal(size=shape).astype(dtype)) for shape in [(64, 32, 3, 3), (64,), (1,), (900, 100)]
    ]
    optimizer = make(parameters)
    for _ in range(steps):
        for p in parameters:
            p.grad = None
            p.accumulate_grad(rng.normal(size=p.shape).astype(np.float32).astype(dtype))
        optimizer.step()
    return [p.data for p in parameters]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Adam(p, lr=0.01),
        lambda p: Adam(p, lr=0.01, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
        lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    ],
    ids=["Adam", "Adam, all arguments", "AdamW"],
)
def test_optimizers(make):
    """Compare the weights, and also their change, which is a hundredth of them."""
    found = trained(make, np.float32)
    with using("reference", 1):
        expected = trained(make, np.float64)
    start = trained(make, np.float64, steps=0)
    for a, b, s in zip(found, expected, start, strict=True):
        assert difference(a, b) <= CLOSE
        assert difference(a - s, b - s) <= 1e-3


# Memory layouts


LAYERS = [
    (lambda: Conv2d(16, 16, 3, padding=1, rng=0), (6, 16, 15, 14)),
    (lambda: Conv2d(3, 20, 3, stride=2, rng=0), (9, 3, 15, 16)),
    (lambda: Conv2d(16, 16, 1, rng=0), (9, 16, 8, 8)),
    (lambda: Conv2d(8, 8, 3, groups=8, rng=0), (9, 8, 12, 12)),
    (lambda: ConvTranspose2d(8, 4, 2, 2, rng=0), (9, 8, 8, 8)),
    (lambda: MaxPool2d(2), (9, 8, 12, 12)),
    (lambda: MaxPool2d(3, 2, 1), (9, 8, 12, 12)),
    (lambda: AvgPool2d(2), (9, 8, 12, 12)),
    (lambda: BatchNorm2d(8), (9, 8, 12, 12)),
    (lambda: Linear(96, 40, rng=0), (64, 96)),
    (lambda: ReLU(), (9, 8, 12, 12)),
    (lambda: Tanh(), (9, 8, 12, 12)),
]


def channels_last(a):
    """Return a copy with channels last in memory, as kernels write images."""
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1)


def every_second(a):
    """Return a copy with gaps: a part of a larger array."""
    spread = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    spread[..., ::2] = a
    return spread[..., ::2]


def backwards(a):
    """Return a copy with negative strides."""
    return a[::-1, ..., ::-1].copy()[::-1, ..., ::-1]


def repeated(a):
    """Return one sample broadcast to all: a stride of zero."""
    return np.broadcast_to(a[:1], a.shape)


def of_records(a):
    """Return a field of packed records, as in binary files: strides that are not multiples of the item size."""
    records = np.zeros(len(a), [("label", np.uint8), ("values", a.dtype, a.shape[1:])])
    records["values"] = a
    return records["values"]


@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, channels_last, every_second, backwards, np.asfortranarray, repeated, of_records]
)
@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda value: "" if isinstance(value, tuple) else repr(value()))
def test_memory_layouts(make, shape, layout):
    """Read-only inputs and gradients, with any memory layout."""
    layer, plain = make(), make()
    x = layout(draw(shape))
    grad = layout(draw(plain(x).shape, seed=1))
    same_x, same_grad = (np.array(a, order="C") for a in (x, grad))
    expected = forward_and_backward(plain, same_x, same_grad)
    for array in (x, grad):
        array.flags.writeable = False
    found = forward_and_backward(layer, x, grad)
    for a, b in zip(found, expected, strict=True):
        assert difference(a, b) <= 2e-6
    np.testing.assert_array_equal(x, same_x)
    np.testing.assert_array_equal(grad, same_grad)


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda value: "" if isinstance(value, tuple) else repr(value()))
def test_no_samples(make, shape):
    """An empty batch: no outputs, and zeros for the gradients of the parameters."""
    layer = make().eval()
    x = np.zeros((0, *shape[1:]), np.float32)
    y = layer(x)
    assert y.shape == (0, *make()(draw(shape)).shape[1:])
    assert layer.backward(y.copy()).shape == x.shape
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda value: "" if isinstance(value, tuple) else repr(value()))
def test_outputs_are_new(make, shape):
    """Later calls, which reuse memory, do not write into arrays that were returned before."""
    layer = make()
    kept = forward_and_backward(layer, draw(shape))
    copies = [a.copy() for a in kept]
    for seed in (1, 2):
        del seed
        forward_and_backward(layer, draw(shape, seed=5))
    for a, b in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(a, b)


# Whole nets


NETS = {
    "small_cnn": (lambda: zoo.small_cnn(), (16, 1, 28, 28)),
    "lenet5": (lambda: zoo.lenet5(), (16, 1, 28, 28)),
    "resnet": (lambda: zoo.resnet(8, (3, 16, 16)), (8, 3, 16, 16)),
    "mobilenet": (lambda: zoo.mobilenet((3, 16, 16)), (8, 3, 16, 16)),
    "vgg": (lambda: zoo.vgg((3, 16, 16), widths=((16, 16), (32, 32))), (8, 3, 16, 16)),
    "unet": (lambda: zoo.unet((1, 16, 16), width=8), (4, 1, 16, 16)),
}


def net_and_batch(name, dtype=np.float32):
    """Return a net with a loss in training mode, and a batch to train it on."""
    make, shape = NETS[name]
    cnn.manual_seed(0)
    model = make()
    model.loss_func = CrossEntropyLoss()
    model.to(dtype).build(shape[1:])
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32).astype(dtype)
    outputs = model.build(shape[1:])
    classes = outputs[str(len(model.layers) - 1)]
    return model, x, rng.integers(0, classes[0], (len(x), *classes[1:]))


@functools.cache
def net_in_float64(name):
    """Return loss, prediction, and the net with its gradients and running statistics."""
    with using("reference", 1):
        model, x, y = net_and_batch(name, np.float64)
        loss, prediction = model.loss_and_grad(x, y)
        return loss, prediction, model


@pytest.mark.parametrize("name", NETS)
def test_nets(name):
    """Loss, predictions, all gradients and running statistics.

    Each gradient is compared as a vector. Some are 0 except rounding, such as that of a norm's weight whose scale the
    next norm cancels (mobilenet), so the tolerance is relative to at least a hundredth of the largest gradient. With
    this seed no ReLU and no pool decides differently than in float64, in any backend: that would give an error of about
    1e-3.
    """
    expected_loss, expected_prediction, expected = net_in_float64(name)
    model, x, y = net_and_batch(name)
    loss, prediction = model.loss_and_grad(x, y)
    assert difference(loss, expected_loss) <= CLOSE
    assert difference(prediction, expected_prediction) <= CLOSE
    largest = max(np.linalg.norm(p.grad) for p in expected.parameters())
    for (key, a), (_, b) in zip(model.named_parameters(), expected.named_parameters(), strict=True):
        assert np.linalg.norm(a.grad - b.grad) <= 2e-5 * max(np.linalg.norm(b.grad), largest / 100), key
    for (key, a), (_, b) in zip(model.named_tensors(), expected.named_tensors(), strict=True):
        if not isinstance(a, Parameter):
            assert difference(a.data, b.data) <= CLOSE, key


@pytest.mark.parametrize("name", NETS)
def test_the_same_bits_again(name):
    """Losses, weights and statistics of two runs, with reused memory."""
    runs = []
    for _ in range(2):
        model, x, y = net_and_batch(name)
        model.optimizer = Adam(lr=0.01)
        losses = [model.train_step(x, y) for _ in range(2)]
        runs.append((losses, as_bytes(model.state_dict().values())))
    assert runs[0] == runs[1]
    assert runs[0][0][0] != runs[0][0][1]


@pytest.mark.parametrize("name", ["small_cnn", "mobilenet"])
def test_compiled_kernels_decline_float64(name, backend_name):
    """They support only float32: in float64 the backend "jit" gives the same bits as "array"."""
    runs = []
    for serving in (backend_name, "array" if backend_name == "jit" else backend_name):
        with using(serving, 2):
            model, x, y = net_and_batch(name, np.float64)
            loss, prediction = model.loss_and_grad(x, y)
            assert prediction.dtype == np.float64
            runs.append((loss, as_bytes([prediction, *(p.grad for p in model.parameters())])))
    assert runs[0] == runs[1]
