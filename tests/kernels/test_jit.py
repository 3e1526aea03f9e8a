"""The foundations of compiled kernels: errors of the Winograd algorithm, reused memory, threads, the choice of backend."""

import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnn
from cnn import kernels, zoo
from cnn.functional.windows import WindowGeometry
from cnn.kernels import backend, memory, parallel
from cnn.layers import Conv2d, ReLU
from cnn.layers.conv2d import conv2d
from cnn.layers.relu import relu
from cnn.utils.gradcheck import difference

pytestmark = pytest.mark.skipif(not backend.has_numba(), reason="Numba is not installed")


@pytest.fixture(autouse=True)
def restore_backend():
    before = kernels.active()
    kernels.use("jit")
    yield
    kernels.use(before)
    parallel.num_threads = parallel._cores()


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# Depthwise


@pytest.mark.parametrize("channels", [1, 7, 16, 21, 48])
@pytest.mark.parametrize("width", [1, 6, 7, 8, 17])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (2, 5), "padding": "same", "stride": (1, 2)},
        {"kernel_size": (3, 1), "padding": (4, 0), "dilation": (2, 1)},
        {"kernel_size": 1},
    ],
    ids=str,
)
def test_depthwise_is_the_plain_function(channels, width, settings):
    conv = Conv2d(channels, channels, **settings, groups=channels, rng=0)
    for n in (1, 3):  # the threads share the rows of one image
        x = draw((n, channels, 5, width))
        ours = conv(x)
        kernels.use("reference")
        expected = conv(x)
        kernels.use("jit")
        assert difference(ours, expected) <= 1e-6
        x[0, channels // 2, 2, width // 2] = np.nan  # it reaches the windows that see it, and no other channel
        assert np.isnan(conv(x)).any()
        assert not np.isnan(np.delete(conv(x), channels // 2, axis=1)).any()


# Winograd


def errors(channels, out, side, batch):
    """Return the errors of output, input gradient and weight gradient against float64."""
    layer, x = Conv2d(channels, out, 3, padding=1, rng=0), draw((batch, channels, side, side))
    y = layer(x)
    grad = draw(y.shape, 1)
    ours = [y, layer.backward(grad), layer.weight.grad]
    layer.zero_grad()
    layer.to(np.float64)
    y = layer(x.astype(np.float64))
    return [
        difference(a, b) for a, b in zip(ours, [y, layer.backward(grad.astype(float)), layer.weight.grad], strict=True)
    ]


@pytest.mark.parametrize(
    ("channels", "out", "side", "batch"),
    [(16, 16, 32, 4), (32, 64, 14, 8), (64, 64, 8, 32), (128, 128, 9, 16), (256, 64, 8, 20)],
)
def test_winograd_is_accurate_enough(channels, out, side, batch):
    """The tolerance for float32 is 3e-5; the largest error here is 1.3e-5, that of direct sums 1e-6."""
    found = errors(channels, out, side, batch)
    print(f"{channels} -> {out}, {side} x {side}: {', '.join(f'{error:.1e}' for error in found)}")
    assert max(found) <= 2e-5


def test_direct_convolution_is_more_accurate():
    assert max(errors(64, 64, 8, 8)) <= 2e-6


def test_the_choice_by_shape():
    from cnn.kernels.jit.engine.shapes import algorithm

    plain = WindowGeometry.of((3, 3), (1, 1), (1, 1), (1, 1))
    assert algorithm((64, 32, 14, 14), (64, 32, 3, 3), plain, 1) == "winograd"
    assert algorithm((1, 32, 14, 14), (64, 32, 3, 3), plain, 1) == "direct"  # too few tiles for the weights
    assert algorithm((64, 3, 32, 32), (64, 3, 3, 3), plain, 1) == "direct"
    assert algorithm((64, 32, 14, 14), (32, 1, 3, 3), plain, 32) == "depthwise"
    assert algorithm((64, 32, 14, 14), (64, 32, 3, 3), plain._replace(stride=(2, 2)), 1) == "direct"
    assert algorithm((64, 32, 14, 14), (64, 32, 5, 5), WindowGeometry.of((5, 5), (1, 1), (1, 1), (2, 2)), 1) == "direct"


def replace_implementation(monkeypatch, function, implementation):
    """Replace the compiled implementation of a plain function for the rest of the test."""
    _, types = function.dispatcher._import("jit")[0]
    monkeypatch.setattr(function.dispatcher, "_callees", {"jit": [(implementation, types)]})


def test_float64_is_never_compiled(monkeypatch):
    def fails(*arguments):
        raise AssertionError("a compiled kernel ran with float64")

    replace_implementation(monkeypatch, conv2d, fails)
    layer = Conv2d(1, 1, 1)
    with pytest.raises(AssertionError, match="ran with float64"):  # the replacement is called
        layer(draw((1, 1, 2, 2)))
    layer.to(np.float64)(draw((1, 1, 2, 2)).astype(float))


# Memory


@pytest.mark.parametrize("shape", [(3,), (40, 50), (100, 3, 30, 7), (64, 28, 28, 32)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float64])
def test_arrays_start_at_cache_lines(shape, dtype):
    made = memory.empty(shape, dtype)
    assert made.shape == shape
    assert made.dtype == dtype
    assert made.flags.carray
    assert made.nbytes < memory.MIN_ALIGNED or made.__array_interface__["data"][0] % 64 == 0
    x = memory.empty((2, 5, 6, 3)).transpose(0, 3, 1, 2)
    assert memory.empty_like(x, np.uint8).strides == tuple(s // 4 for s in x.strides)


def test_memory_is_reused_only_without_references():
    memory.empty_cache()
    first = memory.empty((300, 1000))
    start = first.ctypes.data
    first[...] = 7
    view = first.reshape(1000, 300).T[5:, ::2]
    del first
    second = memory.empty((300, 1000))
    second[...] = 8
    assert (view == 7).all()
    assert second.ctypes.data != start
    del view
    assert memory.empty((300, 1000)).ctypes.data == start


def test_no_more_memory_is_cached_than_was_in_use():
    memory.empty_cache()
    for count in (50_000, 900_000, 70_000, 300_000, 1_000_000, 40_000) * 5:
        held = [memory.empty((count,)), memory.empty((count // 2,))]
        assert memory.cached_bytes() + memory.used_bytes() <= memory._peak_bytes
        del held
    memory.empty_cache()
    assert memory.cached_bytes() == 0


def test_many_threads_allocate_memory():
    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(200):
            array = memory.empty((int(rng.integers(40_000, 60_000)),))
            array[...] = seed
            assert (array == seed).all()

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(ask, range(4)))


GROWTH = """
import numpy as np
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

model = zoo.small_cnn()
model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
x, y = np.random.default_rng(0).random((16, 1, 28, 28), np.float32), np.arange(16) % 10
for step in range(300):
    model.train_step(x, y)
    if step == 50:
        before = resident()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory in use from /proc")
def test_training_does_not_grow():
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 5


# Threads


def test_two_models_in_two_threads_give_the_same_bits_as_one_after_the_other():
    cnn.set_num_threads(2)
    expected = [trained_with_own_seed(seed) for seed in (0, 1)]
    for _ in range(2):
        with ThreadPoolExecutor(2) as executor:
            assert list(executor.map(trained_with_own_seed, (0, 1))) == expected


def trained_with_own_seed(seed):
    layer, x = Conv2d(16, 32, 3, padding=1, rng=seed), draw((40, 16, 12, 12), seed)
    y = layer(x)
    return y.tobytes(), layer.backward(y).tobytes(), layer.weight.grad.tobytes()


def test_any_number_of_threads_up_and_down():
    x = draw((40, 16, 12, 12))
    found = []
    for threads in (1, 3, 2, 5, 1, 2):
        cnn.set_num_threads(threads)
        layer = Conv2d(16, 32, 3, padding=1, rng=0)
        found.append([layer(x), layer.backward(draw((40, 32, 12, 12), 1)), layer.weight.grad])
    for arrays in found[1:]:
        np.testing.assert_array_equal(arrays[0], found[0][0])
        np.testing.assert_array_equal(arrays[1], found[0][1])
        assert difference(arrays[2], found[0][2]) <= 1e-5  # a sum over parts of the batch
    np.testing.assert_array_equal(found[2][2], found[5][2])  # the same number: the same bits


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_the_same():
    cnn.set_num_threads(2)
    expected = trained_with_own_seed(0)  # workers poll for jobs now
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of a fork while threads run
        child = os.fork()
    if child == 0:
        os._exit(0 if trained_with_own_seed(0) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "then", ["", "import time; time.sleep(0.1)", "import signal; signal.raise_signal(signal.SIGINT)"]
)
def test_a_program_ends_while_workers_poll_for_jobs(then):
    program = "import numpy as np, cnn; from cnn.layers import Conv2d; cnn.set_num_threads(3); "
    program += "Conv2d(16, 16, 3)(np.ones((40, 16, 16, 16), np.float32)); " + then
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == (0 if "signal" not in then else -2), done.stderr
    assert "cnn" not in done.stderr.replace("import cnn", "") or "signal" in then


# The backend


def test_wrong_names_and_a_missing_numba(monkeypatch):
    with pytest.raises(ValueError, match="the backend is one of 'reference', 'array', 'jit', got 'fast'"):
        kernels.use("fast")
    monkeypatch.setattr(backend, "has_numba", lambda: False)
    with pytest.raises(ImportError, match="pip install numba"):
        kernels.use("jit")
    monkeypatch.setattr(backend, "current", None)
    assert kernels.active() == "array"


def test_an_implementation_may_decline_and_other_arrays_go_to_the_plain_function(monkeypatch):
    expected = ReLU()(draw((3, 4)))
    replace_implementation(monkeypatch, relu, lambda x: NotImplemented)
    np.testing.assert_array_equal(ReLU()(draw((3, 4))), expected)

    def fails(x):
        raise AssertionError("called")

    replace_implementation(monkeypatch, relu, fails)

    class Own(np.ndarray):
        pass

    np.testing.assert_array_equal(ReLU()(draw((3, 4)).view(Own)), expected)


def test_show_config(capsys):
    cnn.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["backend", "numba", "threads", "blas", "numpy", "python"]
    assert lines[0] == "backend  jit, of reference, array, jit"


def test_warm_up_does_not_change_a_model():
    model = zoo.resnet(8, (3, 8, 8))
    before = model.state_dict()
    kernels.warm_up(model, (3, 8, 8))
    after = model.state_dict()
    assert all((before[name] == after[name]).all() for name in before)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.slow
def test_without_a_writable_cache_folder(tmp_path):
    """Kernels are compiled in memory, in every process."""
    (tmp_path / "file").touch()
    program = "import numpy as np, cnn; from cnn.layers import Conv2d, MaxPool2d, ReLU; "
    program += "print(cnn.Sequential([Conv2d(1, 4, 3), ReLU(), MaxPool2d(2)])(np.ones((2, 1, 8, 8), np.float32)).shape)"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.strip() == "(2, 4, 3, 3)", done.stderr


def test_the_main_thread_and_another_share_the_workers():
    cnn.set_num_threads(2)
    expected, found = trained_with_own_seed(3), []
    other = threading.Thread(target=lambda: found.append(trained_with_own_seed(3)))
    other.start()
    found.append(trained_with_own_seed(3))
    other.join(60)
    assert found == [expected, expected]


@pytest.mark.parametrize("rows", [1, 4, 5])
@pytest.mark.parametrize("relu", [False, True])
def test_products_of_a_few_rows(rows, relu):
    """Up to four rows are read in place if their terms are contiguous."""
    product = backend.load("cnn.kernels.jit.engine.product").product
    rng = np.random.default_rng(rows)
    for k, n in [(3136, 128), (300, 10), (5, 3), (1, 1)]:
        weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, k), (n,)))
        whole = rng.standard_normal((2 * rows, 2 * k)).astype(np.float32)
        for x in (whole[:rows, :k], whole[::2, :k], whole[:rows, ::2], np.asfortranarray(whole[:rows, :k])):
            expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
            expected = np.maximum(expected, 0) if relu else expected
            assert np.abs(product(x, weight.T, bias, relu) - expected).max() <= 1e-5 * k**0.5 * 4
    nan = product(np.full((rows, 4), np.nan, np.float32), np.ones((3, 4), np.float32).T, None, relu)
    assert np.isnan(nan).all()


def test_compiling_is_reported_once(monkeypatch, capsys):
    """Even if several files take long."""
    monkeypatch.setattr(backend, "COMPILE_NOTICE", 0.0)
    monkeypatch.setattr(backend, "_noticed", False)
    for _ in range(3):
        with backend.notice_if_slow():
            time.sleep(0.05)
    assert capsys.readouterr().err.count("compiling kernels") == 1
