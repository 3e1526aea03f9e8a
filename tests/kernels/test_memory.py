"""Memory is reused, but never while a view of it exists. (More tests, such as a training run, are in test_jit.py.)"""

import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest

from cnn.kernels import empty_cache, memory
from tests.kernels.test_threads import can_fork, in_child

SIZES = [(memory.MIN_REUSED // 4,), (600, 500), (7, 33, 41, 32), (2, 3, 200_000)]


@pytest.fixture(autouse=True)
def empty_cache_around_each_test():
    """No test reuses memory of another one."""
    empty_cache()
    yield
    empty_cache()


def address(array):
    """Return the address of an array's first element."""
    return array.__array_interface__["data"][0]


def used_and_cached():
    """Return the numbers of bytes in use and cached, counted anew."""
    memory._collect_returned()
    used = sum(lease.size for lease in memory._lent.values() if lease() is not None)
    cached = sum(size for size, blocks in memory._free.items() for _ in blocks)
    assert (used, cached) == (memory.used_bytes(), memory.cached_bytes())
    return used, cached


@pytest.mark.parametrize(
    "shape", [(), (0,), (3, 0, 5), (1,), (1023,), (1025,), (7, 31, 47, 3), (64, 30, 30, 40)], ids=str
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float64, np.bool_, "<i8"])
def test_empty_is_like_numpys(shape, dtype):
    """Shape, dtype and layout; it is writable, and starts at a cache line if it is not tiny."""
    made, plain = memory.empty(shape, dtype), np.empty(shape, dtype)
    for name in ("shape", "dtype", "strides", "nbytes"):
        assert getattr(made, name) == getattr(plain, name)
    assert type(made) is np.ndarray
    assert made.flags.c_contiguous and made.flags.writeable and made.flags.aligned  # noqa: PT018
    assert made.nbytes < memory.MIN_ALIGNED or address(made) % memory.CACHE_LINE == 0
    made[...] = 1
    assert (made == 1).all()


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)], ids=str)
@pytest.mark.parametrize("dtype", [None, np.bool_])
def test_empty_like(axes, dtype):
    """Like np.empty_like: with the memory order of the other array."""
    x = np.zeros((4, 60, 30, 50), np.float32).transpose(axes)
    made, plain = memory.empty_like(x, dtype), np.empty_like(x, dtype)
    assert (made.shape, made.strides, made.dtype) == (plain.shape, plain.strides, plain.dtype)
    assert memory.address(made) == address(made)


def test_addresses():
    """They are read from NumPy's array objects, also for views and read-only arrays."""
    x = np.zeros((5, 6, 7), np.float32)
    x.flags.writeable = False
    for array in (x, x[1:], x[::-1, 2], x.T, x[2:2], np.broadcast_to(x[0, 0, 3:4], (4, 4)), memory.empty((600, 500))):
        assert memory.address(array) == address(array)
        assert memory._object_address(array) == address(array)


VIEWS = {
    "itself": lambda x: x,
    "a slice": lambda x: x[1:],
    "one number": lambda x: x.reshape(-1)[-1:],
    "another shape": lambda x: x.reshape(-1, 2),
    "transposed, of a slice, of another dtype": lambda x: x.reshape(-1)[4:].view(np.uint8).T[::3],
    "a field": lambda x: x.reshape(-1).view([("a", np.float32), ("b", np.float32)])["b"],
    "windows": lambda x: np.lib.stride_tricks.sliding_window_view(x.reshape(-1), 3),
    "repeated": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "of a subclass": lambda x: x.view(type("Own", (np.ndarray,), {}))[..., ::2],
    "the buffer": lambda x: memoryview(x),
    "an array of the buffer": lambda x: np.frombuffer(memoryview(x.reshape(-1)), np.uint8),
    "an iterator": lambda x: x.flat,
    "an array around it": lambda x: np.asarray(x).real.squeeze(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_memory_is_not_reused_while_there_is_a_view(view, shape):
    """Only the view is alive; other arrays of the same size are requested and written to."""
    x = memory.empty(shape)
    first = address(x)
    x[...] = 7
    seen = view(x)
    expected = np.array(seen).copy()
    del x
    others = [memory.empty(shape) for _ in range(3)]
    for other in others:
        assert address(other) != first
        other[...] = -1
    np.testing.assert_array_equal(np.array(seen), expected)
    del seen, other, others
    again = [memory.empty(shape) for _ in range(4)]
    assert first in [address(array) for array in again]


def test_memory_in_a_cycle_or_a_closure_is_held():
    """Until the garbage collector finds that it is unreachable; weak references hold nothing."""
    x = memory.empty((600, 500))
    x[...] = 5
    first, cycle, weak = address(x), [], weakref.ref(x)
    cycle.append((cycle, x[3:]))
    del x
    other = memory.empty((600, 500))
    other[...] = -1
    assert address(other) != first
    assert (cycle[0][1] == 5).all()
    assert weak() is None or weak().base is not None
    del cycle
    gc.collect()
    assert address(memory.empty((600, 500))) == first


def test_copies_are_independent():
    """A pickle or a copy of an array has other memory."""
    x = memory.empty((600, 500))
    x[...] = 5
    copies = [x.copy(), pickle.loads(pickle.dumps(x)), x + 0]
    del x
    memory.empty((600, 500))[...] = -1
    assert all((copy == 5).all() for copy in copies)


def test_random_lifetimes():
    """Many arrays are made and deleted: each keeps its own numbers, and the cached memory plus the memory in use
    is never more than the most that was in use at once.
    """
    rng, alive, most = np.random.default_rng(0), [], 0
    for step in range(3000):
        if alive and rng.random() < 0.5:
            number, array = alive.pop(rng.integers(len(alive)))
            assert (array == number).all()
            del array
        else:
            shape = (int(rng.integers(1, 20)), int(rng.choice([1000, 20_000, 80_000, 133_333])))
            array = memory.empty(shape)
            array[...] = step
            alive.append((step, array[1:, ::3] if shape[0] > 1 and step % 2 else array))
            del array
        used, cached = used_and_cached()
        most = max(most, used)
        assert used + cached <= most
        assert most == memory._peak_bytes
    assert len({address(array) for _, array in alive}) == len(alive)
    assert used_and_cached()[0] > 0
    alive.clear()
    assert used_and_cached()[0] == 0
    empty_cache()
    assert used_and_cached() == (0, 0)


def test_empty_cache_releases_memory():
    """After empty_cache the library keeps no memory; arrays in use stay as they are."""
    x = memory.empty((600, 500))
    x[...] = 3
    buffer = memory.borrow_scratch(100_000)
    weak = weakref.ref(buffer.base)
    memory.return_scratch(buffer)
    del buffer
    memory.empty((700, 600))
    assert used_and_cached()[1] > 0
    assert weak() is not None
    empty_cache()
    assert used_and_cached()[1] == 0
    assert weak() is None
    assert (x == 3).all()


def test_scratch_buffers():
    """The smallest that is large enough is returned; none is in use twice; and no more are cached than were in use at once."""
    buffers = [memory.borrow_scratch(count) for count in (5000, 1000, 3000)]
    addresses = [address(buffer) for buffer in buffers]
    assert len(set(addresses)) == 3
    assert all(start % memory.CACHE_LINE == 0 for start in addresses)
    for buffer in buffers:
        memory.return_scratch(buffer)
    again = memory.borrow_scratch(2000)
    assert again.size >= 2000
    assert address(again) == addresses[2]
    other = memory.borrow_scratch(2000)
    assert address(other) == addresses[0]
    memory.return_scratch(again)
    memory.return_scratch(other)
    larger = memory.borrow_scratch(5001)
    assert address(larger) not in addresses
    assert memory._scratch == []  # 9,000 were in use at once
    memory.return_scratch(larger)
    addresses = set()
    for _ in range(20):
        held = [memory.borrow_scratch(1000) for _ in range(2)]
        addresses |= {address(buffer) for buffer in held}
        for buffer in held:
            memory.return_scratch(buffer)
    assert len(addresses) == 2
    assert address(larger) in addresses


def test_an_array_may_be_deleted_at_any_moment():
    """By any thread, also in a garbage collection in the middle of a call: the memory that it frees waits in a queue."""
    x = memory.empty((600, 500))
    first = address(x)
    arrays = [x]
    del x
    thread = threading.Thread(target=arrays.clear)
    thread.start()
    thread.join(60)
    assert [lease.block.size for lease in memory._returned] == [memory.used_bytes() + memory.CACHE_LINE]
    assert address(memory.empty((600, 500))) == first


def test_many_threads():
    """Each finds its own numbers in its arrays and scratch buffers while others borrow and return, and the cache is
    emptied.
    """
    errors = []

    def hammer(number):
        rng = np.random.default_rng(number)
        try:
            for _ in range(300):
                array = memory.empty((int(rng.integers(270_000, 360_000)),))
                buffer = memory.borrow_scratch(int(rng.integers(100, 5000)))
                array[...] = number
                buffer[...] = number
                view = array[::7]
                del array
                assert (view == number).all()
                assert (buffer == number).all()
                memory.return_scratch(buffer)
                if rng.random() < 0.02:
                    empty_cache()
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(before)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)
    assert used_and_cached()[0] == 0


def test_a_forked_child_has_its_own_memory():
    """Also if another thread of the parent is in the middle of a call at that moment."""
    if not can_fork():
        return

    def child():
        x = memory.empty((600, 500))
        x[...] = 2
        del x
        y = memory.empty((600, 500))
        y[...] = 1
        return b"%d" % int(y.sum())

    stop = threading.Event()

    def ask():
        while not stop.is_set():
            memory.empty((600, 500))
            memory.return_scratch(memory.borrow_scratch(1000))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(5):
            assert in_child(child) == b"300000"
    finally:
        stop.set()
        asking.join()
