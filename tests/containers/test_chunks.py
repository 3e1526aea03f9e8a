"""A batch that is computed in chunks has the bits of one that is not, and is as little stale."""

import copy
import tracemalloc

import numpy as np
import pytest

import cnn
from cnn import Sequential, zoo
from cnn.kernels import backend
from cnn.layers import Conv2d, Linear, ReLU
from tests.containers import test_prepared
from tests.containers.test_prepared import CHANGES, Layers, call, draw, net, outcome, prepare

pytestmark = test_prepared.pytestmark
compiled = test_prepared.compiled


@pytest.fixture
def small(monkeypatch):
    """Chunks of a few images of the small net."""
    prepared = backend.load("cnn.containers.fusion.prepared")
    monkeypatch.setattr(prepared, "CHUNK_BYTES", 100_000)
    return prepared


def chunks(model):
    return [each.chunk for each in model._prepared._prepared.values()]


@pytest.mark.parametrize(
    ("make", "shape", "n"),
    [
        (zoo.small_cnn, (1, 28, 28), 256),
        (zoo.lenet5, (1, 28, 28), 700),
        (zoo.resnet, (3, 32, 32), 101),
        (zoo.mobilenet, (3, 32, 32), 64),
        (lambda: zoo.mobilenet((3, 96, 96)), (3, 96, 96), 5),
        (lambda: zoo.unet((3, 64, 64), 4), (3, 64, 64), 9),
    ],
)
def test_the_bits_are_those_of_the_whole_batch(make, shape, n):
    model = make().eval()
    for seed in range(2):
        x = draw((n, *shape), seed)
        expected = call(copy.deepcopy(model), x)
        found = [prepare(model, x), call(model, x)]
        assert [y.tobytes() for y in found] == [expected.tobytes()] * 2
        assert found[0].strides == expected.strides
        assert not np.shares_memory(*found)
    assert 0 < chunks(model)[0] < n


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("n", [2, 3, 7, 16, 50])
def test_every_number_of_images(small, n, threads):
    cnn.set_num_threads(threads)
    model, x = net(), draw((n, 2, 16, 16))
    expected = call(copy.deepcopy(model), x)
    assert prepare(model, x).tobytes() == expected.tobytes()


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_stale_after_a_change(small, change):
    model, x = net(), draw((16, 2, 16, 16))
    layers = Layers(model)
    prepare(model, x)
    assert chunks(model)[0] < 16
    CHANGES[change](model, layers)
    expected = outcome(copy.deepcopy(model), x)
    for _ in range(3):
        assert outcome(model, x) == expected


@pytest.mark.parametrize("which", [0, 9, 15])
def test_an_uneven_image_in_any_chunk(small, which):
    model, x = net(), draw((16, 2, 16, 16))
    expected = prepare(model, x)
    spoilt = x.copy()
    spoilt[which, 0, 3, 3] = np.nan
    with np.errstate(all="ignore"):
        assert call(model, spoilt).tobytes() == call(copy.deepcopy(model), spoilt).tobytes()
    assert call(model, x).tobytes() == expected.tobytes()


def test_an_uneven_image_when_the_batch_is_recorded(small):
    model, x = net(), draw((16, 2, 16, 16))
    x[2, 0, 3, 3] = 1e30
    for _ in range(3):
        assert call(model, x).tobytes() == call(copy.deepcopy(model), x).tobytes()


def test_chunks_that_would_give_other_bits_are_not_used(small):
    """The 16 pixels of one image are too few for Winograd's algorithm, those of the whole batch are enough."""
    rng = np.random.default_rng(0)
    model = Sequential([Conv2d(16, 16, 3, padding=1, rng=rng), ReLU(), Conv2d(16, 16, 3, padding=1, rng=rng)]).eval()
    small.CHUNK_BYTES = 1
    x = draw((12, 16, 4, 4))
    expected = call(copy.deepcopy(model), x)
    assert prepare(model, x).tobytes() == expected.tobytes()
    assert chunks(model) == [12]


def test_vectors_are_no_images(small):
    model, x = Sequential([Linear(500, 300), ReLU(), Linear(300, 4)]).eval(), draw((64, 500))
    expected = call(copy.deepcopy(model), x)
    assert prepare(model, x).tobytes() == expected.tobytes()
    assert chunks(model) == [64]


@pytest.mark.parametrize(
    ("n", "nbytes", "threads", "expected"),
    [
        (256, 100_000_000, 2, 8),  # ten fit; with eight, all are full, and both threads compute as many
        (8, 40_000_000, 2, 1),
        (5, 50, 2, 5),
        (0, 0, 2, 0),
        (100, 40_000_000, 2, 10),
        (3, 6_000_000, 2, 2),
    ],
)
def test_the_size_of_a_chunk(n, nbytes, threads, expected):
    assert backend.load("cnn.containers.fusion.prepared").chunk_size(n, nbytes, threads) == expected


def test_a_large_batch_needs_little_more_memory_when_it_is_recorded(small):
    """Not twice that of its arrays."""
    model, x = net(), draw((2000, 2, 16, 16))
    call(model, x)
    tracemalloc.start()
    call(model, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chunks(model)[0] < 2000
    assert peak < 8 * 2**20  # its arrays between the layers take 100 MB


def test_an_uneven_image_when_a_large_batch_is_recorded(small):
    model, x = net(), draw((100, 2, 16, 16))
    x[90, 0, 3, 3] = 1e30
    for _ in range(3):
        assert call(model, x).tobytes() == call(copy.deepcopy(model), x).tobytes()
    assert chunks(model)[0] < 100
