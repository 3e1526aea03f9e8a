"""Neighbours that run as one do what they do one by one, and nobody can tell the difference but by the clock."""

import contextlib
import copy
import pickle
import subprocess
import sys
import threading
import warnings
from itertools import product

import numpy as np
import pytest

import cnn
from cnn import Sequential, kernels
from cnn.containers.fusion import rules
from cnn.core.parameter import Buffer, Parameter
from cnn.kernels import backend
from cnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Identity, Linear, MaxPool2d, ReLU, ReLU6, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.module import evaluating, no_grad
from cnn.optim import SGD, Adam
from cnn.utils.gradcheck import difference
from tests.containers import steps

pytestmark = pytest.mark.skipif(not backend.has_numba(), reason="Numba is not installed")


@pytest.fixture(autouse=True)
def compiled():
    before = kernels.active()
    kernels.use("jit")
    yield
    kernels.use(before)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kinds(layers):
    """The layers of each step that the jit rules find in a row."""
    steps = [step for step in rules.fused_steps(layers, "jit") if step is not None]
    return [tuple(type(layer).__name__ for layer in step.layers) for step in steps]


class MyReLU(ReLU):
    pass


def test_which_neighbours_are_steps():
    conv, norm = Conv2d(2, 2, 3), BatchNorm2d(2)
    assert kinds([conv, norm, ReLU(), MaxPool2d(2), Flatten(), Linear(2, 2), ReLU(), Linear(2, 2), Softmax()]) == [
        ("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"),
        ("Flatten",),
        ("Linear", "ReLU"),
        ("Linear",),
    ]
    assert kinds([conv, ReLU(), norm, MaxPool2d(2)]) == [("Conv2d", "ReLU")]
    assert kinds([conv, MaxPool2d(2), ReLU()]) == [("Conv2d", "MaxPool2d")]
    assert kinds([conv, MyReLU(), norm]) == [("Conv2d",)]
    assert kinds([ReLU(), norm, Identity(), Dropout()]) == []
    assert kinds([norm, ReLU(), MaxPool2d(2)]) == []
    assert kinds([conv, norm, ReLU6(), MaxPool2d(2)]) == [("Conv2d", "BatchNorm2d", "ReLU6")]
    assert kinds([conv, ReLU6(), ReLU()]) == [("Conv2d", "ReLU6")]


CONFIGURATIONS = [
    (channels, norm, relu, pool)
    for channels, norm, relu, pool in product((6, 32), (False, True), (False, True), (None, (2, 2), (3, 2), (2, 1)))
]


def row(channels, norm, relu, pool, fuse):
    layers = [Conv2d(16, channels, 3, padding=1, bias=not norm, rng=0)]
    layers += [BatchNorm2d(channels)] if norm else []
    layers += [ReLU()] if relu else []
    layers += [MaxPool2d(*pool)] if pool else []
    model = Sequential(layers, fuse=fuse)
    if norm:
        layers[1].weight.data, layers[1].bias.data = draw(channels, 5), draw(channels, 6)
    return model


def everything(model, x, rounds=2):
    """Outputs, gradients and state of a few forward and backward passes, the last in evaluation."""
    found = []
    for i in range(rounds):
        model.zero_grad()
        y = model(x + np.float32(i))
        found += [y, model.backward(draw(y.shape, 7))]
        found += [p.grad for p in model.parameters()]
    with evaluating():
        found.append(model(x))
    return found + list(model.state_dict().values())


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("shape", [(3, 16, 9, 8), (24, 16, 9, 8)], ids=["direct", "winograd"])
def test_fused_is_what_one_by_one_is(configuration, shape):
    x = draw(shape)
    fused, single = (everything(row(*configuration, fuse), x) for fuse in (True, False))
    for a, b in zip(fused, single, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert difference(a, b) <= 5e-6


@pytest.mark.parametrize("padding", ["same", ((0, 1), (2, 0)), ((2, 1), (0, 3))], ids=str)
@pytest.mark.parametrize("pool", [None, "same", ((0, 1), (1, 0))], ids=str)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize(("stride", "channels"), [(1, 32), (2, 6)], ids=["winograd", "stride"])
def test_uneven_padding_for_images_of_several_sizes(padding, pool, norm, stride, channels):
    """The plan for one size is not that for the next, of one image, whose rows threads share, or of many."""
    models = []
    for fuse in (True, False):
        layers = [Conv2d(16, channels, 3, stride, padding, bias=not norm, rng=0)]
        layers += [BatchNorm2d(channels)] * norm + [ReLU()]
        layers += [] if pool is None else [MaxPool2d(3, 2, pool)]
        models.append(Sequential(layers, fuse=fuse))
    for size in ((12, 13), (13, 12), (12, 12), (12, 13)):
        for n in (1, 9):
            x = draw((n, 16, *size))
            for a, b in zip(*(everything(model, x, 1) for model in models), strict=True):
                assert a.shape == b.shape
                assert difference(a, b) <= 1e-5
            with no_grad(), evaluating():
                assert difference(*(model(x) for model in models)) <= 1e-5
    models[0](x)
    assert steps.names(models[0]) == ["ConvStep"]


CONVOLUTIONS = {
    "direct": {"out_channels": 6, "kernel_size": 3, "padding": 1},
    "winograd": {"out_channels": 32, "kernel_size": 3, "padding": 1},
    "1 x 1": {"out_channels": 24, "kernel_size": 1},
    "stride": {"out_channels": 32, "kernel_size": 5, "stride": 2, "padding": "same"},
    "groups": {"out_channels": 32, "kernel_size": 3, "groups": 4},
    "depthwise": {"out_channels": 16, "kernel_size": 3, "stride": 2, "padding": "same", "groups": 16},
    "depthwise 5": {"out_channels": 16, "kernel_size": 5, "padding": 2, "groups": 16},
}


@pytest.mark.parametrize("n", [1, 3, 24])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_relu6_is_done_with_the_convolution(name, norm, n):
    found, x = [], 9 * draw((n, 16, 14, 12))
    for fuse in (True, False):
        conv = Conv2d(16, **CONVOLUTIONS[name], bias=not norm, rng=0)
        layers = [conv, *([BatchNorm2d(conv.out_channels)] if norm else []), ReLU6()]
        if norm:
            layers[1].weight.data, layers[1].bias.data = 4 * draw(conv.out_channels, 5), draw(conv.out_channels, 6) + 3
        model = Sequential(layers, fuse=fuse)
        found.append(everything(model, x))
        with no_grad(), evaluating():
            found[-1].append(model(x))
        if fuse:
            model(x)
            assert steps.names(model) == ["ConvStep"]
    for y in (found[0][0], found[0][-1]):  # in training and in inference
        assert y.min() == 0
        assert y.max() == 6
        assert 0.1 < np.mean((y > 0) & (y < 6)) < 0.9
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        assert difference(a, b) <= 1e-4  # rounding errors are those of the values before they are clipped


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
def test_fused_relu6_keeps_nan_and_blocks_its_gradient(norm):
    x = draw((2, 16, 6, 6))
    x[0, 3, 2, 2], x[1, 4, 1, 1] = np.nan, np.inf
    outputs, grads = [], []
    for fuse in (True, False):
        layers = [Conv2d(16, 16, 1, bias=False, rng=0), *([BatchNorm2d(16).eval()] if norm else []), ReLU6()]
        model = Sequential(layers, fuse=fuse)
        with no_grad():
            outputs.append(model(x))
        if not norm:
            y = model(x)
            grads.append(model.backward(np.ones_like(y)))
    assert np.isnan(outputs[0]).sum() == 16
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
    if grads:
        np.testing.assert_allclose(*grads, rtol=1e-5, atol=1e-6)


def small():
    layers = [Conv2d(1, 16, 3, padding=1, bias=False, rng=0), BatchNorm2d(16), ReLU(), MaxPool2d(2), Flatten()]
    return [*layers, Linear(16 * 16, 9, rng=1), ReLU(), Linear(9, 3, rng=2), Softmax()]


def test_where_steps_run():
    x = draw((4, 1, 8, 8))
    model = Sequential(small())
    assert steps.ran(model, x) == ["ConvStep", "LinearStep", "LinearStep"]
    kernels.use("array")
    assert steps.ran(model, x) == ["ReLUPoolStep"]
    kernels.use("jit")
    assert steps.ran(Sequential(small(), fuse=False), x) == []
    assert steps.ran(Sequential(small()).to(np.float64), x.astype(np.float64)) == ["ReLUPoolStep"]
    # there is no backward through a norm that was folded away
    assert steps.ran(model.eval(), x) == ["LinearStep", "LinearStep"]


def test_watchers_see_every_layer():
    model = Sequential(small())
    assert list(model.activations(draw((2, 1, 8, 8)))) == [str(i) for i in range(9)]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (draw((2, 2, 8, 8)), r"layer 0, Conv2d\(.*expected \(N, 1, H, W\)"),
        (draw((2, 1, 8, 8)).astype(np.float64), r"layer 0, Conv2d\(.*expected float32"),
        (draw((2, 1, 10, 8)), r"layer 5, Linear\(in_features=256"),
        (draw((2, 1, 1, 8)), r"layer 3, MaxPool2d\("),
    ],
)
def test_errors_are_those_of_the_layers(x, text):
    messages = []
    for fuse in (True, False):
        with pytest.raises(ValueError, match=text) as caught:
            Sequential(small(), fuse=fuse)(x)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_wrong_gradient_names_the_layer_and_a_second_backward_raises():
    model = Sequential(small()[:4])
    y = model(draw((4, 1, 8, 8)))
    with pytest.raises(ValueError, match=r"layer 3, MaxPool2d\(.*expects the gradient of its output"):
        model.backward(y[:, :1])
    y = model(draw((4, 1, 8, 8)))
    model.backward(y)
    with pytest.raises(RuntimeError, match="nothing saved"):
        model.backward(y)


def test_backward_follows_the_latest_forward():
    x = draw((4, 1, 8, 8))
    fused, single = Sequential(small()[:4]), Sequential(small()[:4], fuse=False)
    fused(x)
    with no_grad():
        fused(x + 5)  # keeps nothing, and forgets nothing
    single(x)
    single(x + 5)
    grad = draw((4, 16, 4, 4), 3)
    assert difference(fused.backward(grad), input_grad_one_by_one(x, grad)) <= 5e-6
    fused(x)
    kernels.use("array")
    fused(x + 5)  # one by one
    kernels.use("jit")
    assert difference(fused.backward(grad), single.backward(grad)) <= 5e-6
    assert all(module._saved is None for module in fused.modules())


def input_grad_one_by_one(x, grad):
    single = Sequential(small()[:4], fuse=False)
    single(x)
    return single.backward(grad)


def test_the_first_layer_computes_no_gradient_that_nobody_needs():
    model = Sequential(small(), loss_func=CrossEntropyLoss(), optimizer=SGD(lr=0.0))
    model(draw((4, 1, 8, 8)))
    assert model.backward(draw((4, 3))) is None
    assert model[0].needs_input_grad is False


def test_evaluation_in_another_thread_leaves_a_step_alone():
    model, x, grad = Sequential(small()[:4]), draw((4, 1, 8, 8)), draw((4, 16, 4, 4), 3)
    model(x)
    expected = model.backward(grad)
    model(x)

    def evaluate():
        with evaluating():
            model(x + 1)

    other = threading.Thread(target=evaluate)
    other.start()
    other.join(60)
    np.testing.assert_array_equal(model.backward(grad), expected)


def test_copies_and_files(tmp_path):
    model, x = Sequential(small(), loss_func=CrossEntropyLoss()), draw((4, 1, 8, 8))
    expected = model(x)
    twin = copy.deepcopy(model)
    twin[0].weight.data = 0 * twin[0].weight.data
    np.testing.assert_array_equal(model(x), expected)
    assert difference(twin(x), expected) > 1e-3
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(Sequential.load(tmp_path / "model.safetensors")(x), expected)


def test_what_is_no_number_is_traced_to_its_layer():
    model = Sequential(small(), loss_func=CrossEntropyLoss(), optimizer=SGD(lr=1e30))
    with pytest.raises(
        FloatingPointError, match=r"loss became .* at step [23] of epoch 1: the (output|weight) of layer"
    ):
        model.fit(draw((24, 1, 8, 8)), np.arange(24) % 3, epochs=1, batch_size=8, verbose_freq=0)


def test_training_is_the_same():
    def losses(fuse):
        cnn.manual_seed(0)
        layers = [*small()[:7], Dropout(0.3, rng=4), *small()[7:]]
        model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam(), fuse=fuse)
        return [model.train_step(draw((16, 1, 8, 8), step), np.arange(16) % 3) for step in range(20)]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:layer 0, Conv2d, has a bias")
def test_inference_sees_every_change_of_a_number():
    """What is worked out for inference is kept only while all that it was made of stays the same."""
    conv = Conv2d(3, 16, 3, padding=1, rng=0)
    norm = BatchNorm2d(16)
    x = draw((2, 3, 9, 9))
    fused, apart = (Sequential([conv, norm, ReLU()], fuse=fuse) for fuse in (True, False))
    fused.eval()

    def scale_weight():
        conv.weight.data[3, 1, 2, 2] += 0.5

    def scale_bias():
        conv.bias.data[-1] = 4

    def follow():
        norm.running_mean.data = norm.running_mean.data + 0.25

    def widen():
        norm.running_var.data *= 2

    def other_weight():
        norm.weight.data[0] = -1

    def other_bias():
        norm.bias.data += 1

    def other_eps():
        norm.eps = 0.3

    def zero_with_a_sign():
        conv.weight.data[:] = -0.0

    def nan():
        conv.weight.data[0, 0, 0, 0] = np.nan

    def train():
        fused.train()
        fused(x)
        fused.eval()

    changes = (scale_weight, scale_bias, follow, widen, other_weight, other_bias, other_eps, train, zero_with_a_sign)
    with no_grad():
        before = fused(x)
        assert np.array_equal(fused(x), before)
        for change in (*changes, nan):
            change()
            got, expected = fused(x), apart(x)
            assert not np.array_equal(got, before), change.__name__
            assert np.array_equal(np.isnan(got), np.isnan(expected))
            assert np.allclose(got, expected, rtol=1e-5, atol=1e-5, equal_nan=True), change.__name__
            before = got


def test_inference_by_another_algorithm_packs_the_weights_anew():
    conv = Conv2d(16, 16, 3, padding=1, rng=0)
    fused, apart = (Sequential([conv, ReLU()], fuse=fuse) for fuse in (True, False))
    one, many = draw((1, 16, 8, 8)), draw((64, 16, 8, 8))
    with no_grad():
        for x in (one, many, one, many):
            assert difference(fused(x), apart(x)) < 1e-5


def other_memory(x):
    """As many elements, of a quarter of the bytes: reading them as float32 would read behind the array."""
    n = len(x)
    x.resize((n // 4, *x.shape[1:]), refcheck=False)
    x.dtype = np.int8
    x.shape = (n, -1)


def integers(x):
    x.dtype = np.int32


def other_order(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        x.strides = x.strides[::-1]


def other_shape(x):
    x.shape = 2 * len(x), -1


def fewer(x):
    x.resize((len(x) // 2, *x.shape[1:]), refcheck=False)


CHANGES = [
    ("x", other_memory),
    ("x", integers),
    ("x", fewer),
    ("weight", integers),
    ("weight", fewer),
    ("y", integers),
    ("y", other_order),
    ("y", other_shape),
    ("bias", integers),
]


@pytest.mark.parametrize("name", ["jit", "array", "reference"])
@pytest.mark.parametrize("size", [4, 64])  # by the kernel for small layers, and by products
@pytest.mark.parametrize(("role", "change"), CHANGES)
def test_an_array_that_changes_between_forward_and_backward(role, change, size, name):
    """A kernel must not read it as what it was."""
    kernels.use(name)
    linear = Linear(size, size, rng=0)
    model = Sequential([linear, ReLU()])
    x = draw((size, size))
    y = model(x)
    change({"x": x, "y": y, "weight": linear.weight.data, "bias": linear.bias.data}[role])
    if role == "y" and name != "jit":
        assert model.backward(np.ones((size, size), np.float32)).shape == x.shape  # the layers apart do not read it
        return
    with pytest.raises((ValueError, TypeError)):
        model.backward(np.ones((size, size), np.float32))
    assert linear.weight.grad is None


@pytest.mark.parametrize("role", ["x", "weight", "bias", "norm.weight", "norm.bias"])
@pytest.mark.parametrize("with_norm", [True, False])
@pytest.mark.filterwarnings("ignore:layer 0, Conv2d, has a bias")
def test_an_array_of_a_convolution_that_changes_between_forward_and_backward(role, with_norm):
    conv, norm = Conv2d(3, 4, 3, rng=0), BatchNorm2d(4)
    model = Sequential([conv, norm, ReLU()] if with_norm else [conv, ReLU()])
    x = draw((2, 3, 6, 6))
    y = model(x)
    arrays = {"x": x, "weight": conv.weight.data, "bias": conv.bias.data}
    arrays |= {"norm.weight": norm.weight.data, "norm.bias": norm.bias.data}
    integers(arrays[role])
    if role.startswith("norm") and not with_norm:
        assert model.backward(np.ones_like(y)).shape == x.shape
        return
    with pytest.raises((ValueError, TypeError), match="dtype"):
        model.backward(np.ones_like(y))


def net_for_inference():
    model = Sequential([Conv2d(3, 16, 3, padding=1, bias=False, rng=0), BatchNorm2d(16), ReLU()])
    model.build((3, 9, 9))
    return model.eval()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_that_predicted_has_numbers_of_its_own(copied):
    x = draw((2, 3, 9, 9))
    model = net_for_inference()
    with no_grad():
        before = model(x)
        other = copied(model)
        assert np.array_equal(other(x), before)
        other.layers[0].weight.data *= 0
        assert not np.array_equal(other(x), before)
        assert np.array_equal(model(x), before)
        del model
        assert not other(x).any()


def test_a_model_that_predicted_goes_to_another_process(tmp_path):
    x = draw((2, 3, 9, 9))
    model = net_for_inference()
    with no_grad():
        expected = model(x)
    (tmp_path / "model").write_bytes(pickle.dumps((model, x, expected)))
    program = (
        "import pickle, sys, numpy, cnn; model, x, y = pickle.load(open(sys.argv[1], 'rb'));\n"
        "with cnn.no_grad(): assert numpy.array_equal(model(x), y) and numpy.array_equal(model(x), y)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model")], check=True)


@pytest.mark.filterwarnings("ignore:layer 0, Conv2d, has a bias")
@pytest.mark.parametrize("evaluating", [False, True])
def test_parameters_of_another_dtype(evaluating):
    """A float64 bias in a float32 net, as NumPy's random numbers are."""
    rng = np.random.default_rng(0)
    conv, norm, linear = Conv2d(3, 10, 3, rng=0), BatchNorm2d(10), Linear(10 * 49, 24, rng=0)
    conv.bias, linear.bias = Parameter(rng.normal(size=10)), Parameter(rng.normal(size=24))
    norm.bias, norm.running_var = Parameter(rng.normal(size=10)), Buffer(rng.random(10) + 0.5)
    for layers in ([conv, ReLU()], [conv, Identity()], [conv, norm], [Flatten(), linear, ReLU()], [Flatten(), linear]):
        x = draw((9, 3, 9, 9) if layers[0] is conv else (9, 10, 7, 7))
        models = [Sequential(layers, fuse=fuse) for fuse in (True, False)]
        for model in models:
            model.build(x.shape[1:])
            model.train(not evaluating)
        kernels.use("reference")
        with no_grad():
            expected = models[1](x)
        kernels.use("jit")
        with no_grad():
            for model in models:
                assert difference(model(x), expected) < 1e-5


def test_groups_of_channels_that_change_after_inference():
    conv = Conv2d(16, 16, 3, padding=1, rng=0)
    fused, apart = (Sequential([conv, ReLU()], fuse=fuse) for fuse in (True, False))
    with no_grad():
        fused(draw((1, 16, 8, 8)))
        vars(conv).update(groups=2, in_channels=32)  # one after the other, the weights would not fit
        x = draw((1, 32, 8, 8))
        assert difference(fused(x), apart(x)) < 1e-5


@pytest.mark.parametrize("saving", [True, False])
def test_settings_that_change_from_call_to_call(saving):
    """With the same input: what was worked out for the call before must not serve again."""
    conv, norm, pool = Conv2d(3, 6, 3, padding=1, bias=False, rng=0), BatchNorm2d(6), MaxPool2d(2)
    fused, apart = (Sequential([conv, norm, ReLU(), pool], fuse=fuse) for fuse in (True, False))
    x = draw((2, 3, 8, 8))
    fused.build(x.shape[1:])

    def compare():
        with contextlib.nullcontext() if saving else no_grad():
            y, expected = fused(x), apart(x)
            assert y.shape == expected.shape
            assert difference(y, expected) < 1e-5
        if saving:
            grad = draw(y.shape, 1)
            assert difference(fused.backward(grad), apart.backward(grad)) < 1e-5

    compare()
    changes = [
        (conv, "padding", (0, 0)),
        (conv, "stride", (2, 2)),
        (conv, "dilation", (2, 2)),
        (pool, "ceil_mode", True),
    ]
    changes += [(pool, "stride", (1, 1)), (pool, "kernel_size", (3, 2)), (pool, "padding", (1, 1)), (norm, "eps", 0.5)]
    for layer, name, value in changes:
        before = getattr(layer, name)
        setattr(layer, name, value)
        compare()
        setattr(layer, name, before)
        compare()
    before = cnn.get_num_threads()
    for threads in (1, 3, before):
        cnn.set_num_threads(threads)
        compare()
    fused.eval()
    with no_grad():
        assert difference(fused(x), apart(x)) < 1e-5
    fused.train()
    compare()


@pytest.mark.parametrize("name", ["array", "jit"])
@pytest.mark.parametrize(
    ("pool", "size"),
    [
        ({"kernel_size": 3, "stride": 2, "ceil_mode": True}, (2, 4)),  # no window fits whole
        ({"kernel_size": 2, "padding": 1, "dilation": 2}, (4, 1)),  # some windows see the rim alone
    ],
)
def test_pools_at_the_edge(name, pool, size):
    conv = Conv2d(3, 6, 1, rng=0)
    x = draw((2, 3, *size))
    fused, apart = (Sequential([conv, ReLU(), MaxPool2d(**pool)], fuse=fuse) for fuse in (True, False))
    kernels.use("reference")
    expected = apart(x)
    kernels.use(name)
    for _ in range(2):
        np.testing.assert_allclose(fused(x), expected, rtol=1e-5, atol=1e-6)


def test_two_threads_predict_with_one_model_and_other_shapes():
    """Each of them replaces what the other had ready."""
    model, found = Sequential([Conv2d(16, 16, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)]), []
    xs = [draw((1, 16, 8, 8)), draw((64, 16, 8, 8)), draw((3, 16, 12, 8))]
    with evaluating():
        expected = [model(x) for x in xs]

    def predict(x, y):
        with evaluating():
            found.extend(np.array_equal(model(x), y) for _ in range(100))

    threads = [threading.Thread(target=predict, args=pair) for pair in zip(xs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [True] * 300


def test_the_first_use_by_several_threads():
    """All wait until one has imported the kernels."""
    program = (
        "import threading, numpy, cnn; from cnn import kernels, zoo;\n"
        "model = zoo.resnet(8); kernels.use('reference'); model.build((3, 16, 16));\n"
        "x = numpy.ones((2, 3, 16, 16), numpy.float32); expected = model.predict(x); kernels.use('jit'); right = [];\n"
        "def go(): right.append(numpy.allclose(model.predict(x), expected, atol=1e-4))\n"
        "threads = [threading.Thread(target=go) for _ in range(4)]; [t.start() for t in threads];\n"
        "[t.join() for t in threads]; assert right == [True] * 4, right"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
