"""Prepared calls give the bits of the layers, whatever has changed since they were recorded."""

import copy
import itertools
import threading

import numpy as np
import pytest

import cnn
from cnn import Sequential, kernels, zoo
from cnn.containers.branches import Sum
from cnn.core.modes import forward_hook
from cnn.core.parameter import Parameter
from cnn.kernels import backend, parallel
from cnn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Softmax,
    Tanh,
)
from cnn.loss import CrossEntropyLoss
from cnn.module import Module, evaluating, no_grad
from cnn.optim import SGD

pytestmark = pytest.mark.skipif(not backend.has_numba(), reason="Numba is not installed")


@pytest.fixture(autouse=True)
def compiled():
    before, threads = kernels.active(), parallel.num_threads
    kernels.use("jit")
    cnn.set_num_threads(2)
    yield
    kernels.use(before)
    cnn.set_num_threads(threads)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def net():
    """A small net with every kind of step: a norm, a shortcut, pools, Winograd and direct convolutions, Linear."""
    rng = np.random.default_rng(0)
    body = Sequential([Conv2d(16, 16, 3, padding=1, rng=rng), ReLU(), Conv2d(16, 16, 3, padding=1, rng=rng)])
    layers = [
        *(Conv2d(2, 16, 3, padding=1, bias=False, rng=rng), BatchNorm2d(16), ReLU(), MaxPool2d(3, stride=2, padding=1)),
        *(Sum([body, Identity()]), ReLU(), Conv2d(16, 16, 1, rng=rng), Tanh(), AvgPool2d(2), Dropout(0.5)),
        *(Flatten(), Linear(256, 8, rng=rng), ReLU(), Linear(8, 3, rng=rng), Softmax()),
    ]
    model = Sequential(layers, loss_func=CrossEntropyLoss())
    norm = layers[1]
    norm.running_mean.data, norm.running_var.data = draw(16, 1), np.abs(draw(16, 2)) + 0.5
    return model.eval()


def is_prepared(model):
    """Whether the next call of the last shape is a prepared one."""
    calls = model._prepared
    found = {} if calls is None else calls._prepared
    return any(each.count and each.is_current([t._data for t in each.tensors]) for each in found.values())


def call(model, x):
    with no_grad():
        return model(x)


def prepare(model, x):
    """Call a model until its calls are prepared."""
    for _ in range(3):
        y = call(model, x)
    assert is_prepared(model)
    return y


NETS = {
    "small_cnn": (zoo.small_cnn, (1, 28, 28), 11),
    "lenet5": (zoo.lenet5, (1, 28, 28), 12),
    "resnet": (zoo.resnet, (3, 32, 32), 24),
    "mobilenet": (zoo.mobilenet, (3, 32, 32), 36),
    "every step": (net, (2, 16, 16), 14),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_bits_are_those_of_the_layers(name, n):
    make, shape, count = NETS[name]
    model = make().eval()
    for seed in range(2):
        x = draw((n, *shape), seed)
        expected = call(copy.deepcopy(model), x)
        assert prepare(model, x).tobytes() == expected.tobytes()
        assert call(model, x).strides == expected.strides
    assert [each.count for each in model._prepared._prepared.values()] == [count]


def test_an_image_whose_channels_are_last_in_memory():
    model, x = net(), np.ascontiguousarray(draw((2, 16, 16, 2))).transpose(0, 3, 1, 2)
    expected = call(copy.deepcopy(model), x)
    assert prepare(model, x).tobytes() == expected.tobytes()


def test_results_are_kept():
    """A later call does not write into an earlier result."""
    model, x = net(), draw((1, 2, 16, 16))
    results = [prepare(model, x), call(model, x), call(model, 2 * x)]
    assert results[0].tobytes() == results[1].tobytes() != results[2].tobytes()
    assert not np.shares_memory(results[0], results[1])


# What may change between two calls: each gets the model and the layers that it had at first


def write(tensor, values):
    tensor[...] = values


def add_mark(model, layers):
    model.note = "an attribute"


def replace_tensor(model, layers):
    layers[0].weight = Parameter(draw((16, 2, 3, 3), 5))


def train_one_step(model, layers):
    trained = Sequential(list(model.layers), loss_func=CrossEntropyLoss(), optimizer=SGD(lr=0.1)).train()
    trained.unfreeze()
    trained.train_step(draw((4, 2, 16, 16), 6).astype(layers[0].weight.dtype), np.array([0, 1, 2, 0]))
    model.eval()


def resize_in_place(model, layers):
    """NumPy moves the values of the array to other memory, and back to the same size."""
    data = layers[6].bias.data
    kept = data.copy()
    data.resize(100_000, refcheck=False)
    data.resize(16, refcheck=False)
    data[...] = kept + 1


class Layers(list):
    """The layers of a model, the body of its shortcut, and an array that a user has taken out of it."""

    def __init__(self, model):
        super().__init__(model.layers)
        self.body, self.held = self[4].branches[0], self[6].bias.data
        self.last = self.body.layers[2]


CHANGES = {
    "nothing": lambda model, layers: None,
    "a weight": lambda model, layers: write(layers[0].weight.data[0, 0, 0, 0:1], 1.5),
    "the last weight": lambda model, layers: write(layers.last.weight.data[-1, -1, -1, -1:], -2.0),
    "a bias": lambda model, layers: write(layers[6].bias.data[3:4], 0.75),
    "a sign": lambda model, layers: write(layers[6].weight.data, -layers[6].weight.data),
    "an array that was taken before": lambda model, layers: write(layers.held[1:2], 0.3),
    "a weight of Linear": lambda model, layers: write(layers[11].weight.data[0], 0.1),
    "a bias of Linear": lambda model, layers: write(layers[13].bias.data, 0.2),
    "a running mean": lambda model, layers: write(layers[1].running_mean.data[0:1], 0.4),
    "a running variance": lambda model, layers: write(layers[1].running_var.data[5:6], 2.0),
    "the weight of a norm": lambda model, layers: write(layers[1].weight.data[2:3], 3.0),
    "all weights": lambda model, layers: model.load_state_dict({k: v + 0.01 for k, v in model.state_dict().items()}),
    "another tensor": replace_tensor,
    "eps": lambda model, layers: setattr(layers[1], "eps", 0.1),
    "dilation": lambda model, layers: [setattr(layers[0], name, 2) for name in ("padding", "dilation")],
    "a pool": lambda model, layers: setattr(layers[3], "kernel_size", 2),
    "a branch": lambda model, layers: layers[4].branches.__setitem__(0, Identity()),
    "training mode": lambda model, layers: layers[1].train(),
    "evaluation mode": lambda model, layers: model.eval(),
    "freezing": lambda model, layers: model.freeze(),
    "not fused": lambda model, layers: setattr(model, "fuse", False),
    "a body that is not fused": lambda model, layers: setattr(layers.body, "fuse", False),
    "a step of training": train_one_step,
    "one thread": lambda model, layers: cnn.set_num_threads(1),
    "three threads": lambda model, layers: cnn.set_num_threads(3),
    "the backend": lambda model, layers: kernels.use("array"),
    "compiled again": lambda model, layers: kernels.use("jit"),
    "float64": lambda model, layers: model.to(np.float64),
    "float32": lambda model, layers: model.to(np.float32),
    "other memory": resize_in_place,
    "something else": add_mark,
}
INPUTS = {
    "the same": lambda x: x,
    "more images": lambda x: np.concatenate([x, x + 1]),
    "float64": lambda x: x.astype(np.float64),
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "every second image": lambda x: np.repeat(x, 2, axis=0)[::2],
    "not aligned": lambda x: np.frombuffer(b"." + x.tobytes(), np.float32, offset=1).reshape(x.shape),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


def outcome(model, x):
    """The bytes of an output, or the error."""
    try:
        y = call(model, x)
    except Exception as error:
        return type(error), str(error)
    return y.dtype, y.shape, y.tobytes()


def check_pair(first, second):
    """Compare with a fresh copy of the model after each of two changes, with three calls after each."""
    model, x = net(), draw((1, 2, 16, 16))
    layers = Layers(model)
    prepare(model, x)
    for change in (first, second):
        CHANGES[change](model, layers)
        expected = outcome(copy.deepcopy(model), x)
        for _ in range(3):
            assert outcome(model, x) == expected, (first, second, change)


@pytest.mark.parametrize("first", CHANGES)
def test_nothing_is_stale_after_two_changes(first):
    for second in CHANGES:
        kernels.use("jit")
        cnn.set_num_threads(2)
        check_pair(first, second)


@pytest.mark.parametrize("first", INPUTS)
def test_other_images_and_then_a_change(first):
    for second in CHANGES:
        kernels.use("jit")
        cnn.set_num_threads(2)
        model, x = net(), draw((1, 2, 16, 16))
        layers = Layers(model)
        prepare(model, x)
        other = INPUTS[first](x)
        for images in (other, x, other):
            assert outcome(model, images) == outcome(copy.deepcopy(model), images)
        CHANGES[second](model, layers)
        for images in (other, x, other, other):
            assert outcome(model, images) == outcome(copy.deepcopy(model), images), (first, second)


def test_modes_of_the_thread():
    model, x = net(), draw((1, 2, 16, 16))
    expected = prepare(model, x)
    model.train()
    with evaluating():
        for _ in range(4):
            assert model(x).tobytes() == expected.tobytes()
    assert is_prepared(model)
    fresh = copy.deepcopy(model)
    fresh.layers[9].rng, model.layers[9].rng = (np.random.default_rng(3) for _ in range(2))
    assert call(model, x).tobytes() == call(fresh, x).tobytes() != expected.tobytes()
    seen = []
    with evaluating(), forward_hook(lambda module, y: seen.append(type(module).__name__)):
        model(x)
    assert seen.count("Conv2d") == 4
    y = model(x)  # in training, which saves what backward needs
    assert model.backward(np.ones_like(y)) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_an_image_that_must_go_the_direct_way(value):
    model, x = net(), draw((1, 2, 16, 16))
    expected = prepare(model, x)
    spoilt = x.copy()
    spoilt[0, 0, 3, 3] = value
    with np.errstate(all="ignore"):
        for _ in range(2):
            assert call(model, spoilt).tobytes() == call(copy.deepcopy(model), spoilt).tobytes()
    assert call(model, x).tobytes() == expected.tobytes()
    assert is_prepared(model)


def test_eight_threads_get_the_bits_of_one():
    model, images = net(), [draw((1, 2, 16, 16), seed) for seed in range(8)]
    expected = [call(copy.deepcopy(model), x).tobytes() for x in images]
    prepare(model, images[0])
    wrong = []

    def work(i):
        for _ in range(60):
            if (
                call(model, images[i]).tobytes() != expected[i]
                or model.predict_proba(images[i]).tobytes() != expected[i]
            ):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert is_prepared(model)


def test_a_change_while_another_thread_computes():
    """Each result is of the weights before or after a change, never of a mixture that was there before the change."""
    model, x = net(), draw((1, 2, 16, 16))
    prepare(model, x)
    done, results = threading.Event(), []

    def work():
        while not done.is_set():
            results.append(call(model, x).tobytes())

    thread = threading.Thread(target=work)
    thread.start()
    for step in range(200):
        model.layers[0].weight.data[0, 0, 0, 0] = step
        expected = call(copy.deepcopy(model), x)
        assert call(model, x).tobytes() == expected.tobytes()
    done.set()
    thread.join()
    assert results


class Noted(Module):
    """A layer of a user."""

    def forward(self, x):
        return x * np.float32(2)


def test_layers_that_cannot_be_recorded_run_as_ever():
    rng = np.random.default_rng(0)
    layers = [Conv2d(2, 4, 3, rng=rng), ReLU(), Noted(), Conv2d(4, 4, 3, rng=rng), AdaptiveAvgPool2d(1), Flatten()]
    model, x = Sequential(layers).eval(), draw((1, 2, 8, 8))
    expected = call(copy.deepcopy(model), x)
    assert prepare(model, x).tobytes() == expected.tobytes()
    assert [each.count for each in model._prepared._prepared.values()] == [2]
    alone = Sequential([Noted(), Conv2d(2, 4, 3, rng=rng)]).eval()
    for _ in range(4):
        call(alone, x)
    assert not is_prepared(alone)


def test_a_recording_that_gives_other_bits_is_not_used(monkeypatch):
    """As that of a layer which computes something without a kernel: its result would be that of the recorded images."""
    prepared = backend.load("cnn.containers.fusion.prepared")
    monkeypatch.setattr(prepared, "SIMPLE", prepared.SIMPLE | {Noted})
    rng = np.random.default_rng(0)
    model = Sequential([Conv2d(2, 4, 3, rng=rng), Noted(), Conv2d(4, 4, 3, rng=rng)]).eval()
    for seed in range(5):
        x = draw((1, 2, 8, 8), seed)
        assert call(model, x).tobytes() == call(copy.deepcopy(model), x).tobytes()
    assert not is_prepared(model)


def test_only_a_few_shapes_and_no_large_images_are_kept():
    model = net()
    for n in range(1, 8):
        prepare(model, draw((n, 2, 16, 16)))
    assert len(model._prepared._prepared) == backend.load("cnn.containers.fusion.prepared").MAX_SHAPES
    large = Sequential([Conv2d(1, 64, 3, padding=1), ReLU()]).eval()
    x = np.zeros((1, 1, 600, 600), np.float32)  # whose output takes 92 MB
    for _ in range(4):
        call(large, x)
    assert not is_prepared(large)


def test_a_chain_in_a_prepared_one_is_not_prepared_itself():
    model, x = net(), draw((1, 2, 16, 16))
    for _ in range(4):
        prepare(model, x)
    assert not is_prepared(model.layers[4].branches[0])


def test_a_copy_has_no_prepared_calls():
    model, x = net(), draw((1, 2, 16, 16))
    expected = prepare(model, x)
    twin = copy.deepcopy(model)
    assert twin._prepared is None
    twin.layers[0].weight.data[...] = 0
    assert prepare(twin, x).tobytes() != expected.tobytes() == call(model, x).tobytes()


HEADER_CHANGES = {
    "shape": lambda a: setattr(a, "shape", (3, 2)),
    "axes": lambda a: setattr(a, "shape", (6,)),
    "dtype": lambda a: setattr(a, "dtype", np.int32),
    "memory": lambda a: a.resize((2, 100_000), refcheck=False),
    "a value": lambda a: a.__setitem__((1, 2), 9.0),
    "a sign": lambda a: a.__setitem__((0, 0), -0.0),
}


@pytest.mark.parametrize("change", HEADER_CHANGES)
@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_the_comparison_of_arrays_sees_each_change(change):
    engine = "cnn.kernels.jit.engine"
    comparison, snapshot = (backend.load(f"{engine}.{name}") for name in ("comparison", "snapshot"))
    pool, arrays = backend.load(f"{engine}.thread_pool"), [np.zeros((2, 3), np.float32), np.ones(3, np.float32)]
    compared = comparison.Comparison(arrays, [snapshot.Snapshot(arrays)])

    def changed():
        job = compared.job
        pool.run_serial(job.kernel, job.arguments.ctypes.data, job.parts)
        return bool(job.arguments[comparison.CHANGED])

    assert not changed()
    HEADER_CHANGES[change](arrays[0])
    assert changed()


def test_what_is_described_of_an_array_is_where_it_is_read():
    comparison = backend.load("cnn.kernels.jit.engine.comparison")
    assert comparison.READABLE
    for array in (np.zeros(3), np.zeros((2, 3, 4), np.float32)[:, ::2], np.zeros((1, 2, 3, 4), np.int8)):
        _, at, axes, _, *rest = comparison.description(array)
        assert (at, axes) == (array.ctypes.data, array.ndim)
        assert tuple(rest[: array.ndim]) == array.shape
        assert tuple(rest[4 : 4 + array.ndim]) == array.strides


POOLS = list(itertools.product((0, 1), (2, 3), (1, 2, 4)))


@pytest.mark.parametrize(("padding", "size", "stride"), POOLS)
def test_bands_give_the_bits_of_whole_images(padding, size, stride):
    """One image is cut into bands for several threads; with one thread it is not."""
    rng = np.random.default_rng(0)
    for channels, kernel_size in ((16, 3), (5, 3), (16, 5)):
        layers = [Conv2d(channels, 16, kernel_size, padding=1, rng=rng), ReLU()]
        model = Sequential([*layers, MaxPool2d(size, stride=stride, padding=padding)]).eval()
        x, results = draw((1, channels, 27, 22)), []
        for threads in (1, 2, 3, 8):
            cnn.set_num_threads(threads)
            results.append(call(model, x).tobytes())
        assert len(set(results)) == 1


@pytest.mark.parametrize("size", [5, 7, 8, 12])
def test_bands_of_channels_give_the_bits_of_whole_images(size):
    rng = np.random.default_rng(0)
    model = Sequential([Conv2d(12, 100, 3, padding=1, groups=2, rng=rng), Conv2d(100, 64, 1, rng=rng)]).eval()
    x, results = draw((1, 12, size, size)), []
    for threads in (1, 2, 3, 4):
        cnn.set_num_threads(threads)
        results.append(call(model, x).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (24, 1), (24, 2)])
def test_bands_of_a_large_image_give_the_numbers_of_float64(groups, stride):
    """Each band of rows has its own padded copy."""
    model = Sequential([Conv2d(24, 24, 3, stride=stride, padding=1, groups=groups)]).eval()
    x = draw((3, 24, 90, 71))
    y = call(model, x)
    kernels.use("reference")
    expected = call(copy.deepcopy(model).to(np.float64), x.astype(np.float64))
    assert np.abs(y - expected).max() < 2e-6 * np.abs(expected).max()
