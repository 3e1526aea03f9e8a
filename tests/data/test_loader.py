import _thread
import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data import fingerprint, prefetch
from cnn.data.fingerprint import differences
from cnn.data.loader import DataLoader
from cnn.errors import InputError, ShapeError

X, Y = np.arange(22, dtype=np.uint8).reshape(11, 2), np.arange(11)


def identity(x, y, rng):
    return x, y


def noisy(x, y, rng):
    return x + rng.uniform(2), y


def scaled(x, y, rng):
    return x * rng.uniform(2), y + rng.epoch


class OneByOne:
    """Returns single samples, and records which ones were read."""

    def __init__(self, data):
        self.data = data
        self.read = []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        assert type(i) is int
        self.read.append(i)
        return self.data[i]


def labels(batches):
    return [y.tolist() for _, y in batches]


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == prefetch.THREAD_NAME]


def assert_no_thread_left():
    for thread in threads():
        thread.join(5)
    assert threads() == []


@pytest.fixture(autouse=True)
def _threads_end():
    yield
    assert_no_thread_left()


# the batches and their order


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("kind", [np.array, OneByOne, list, "memmap", "path"])
def test_the_order_is_the_next_permutation_of_each_epoch(kind, ahead, tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = tmp_path / "x.npy" if kind == "path" else np.load(tmp_path / "x.npy", "r") if kind == "memmap" else kind(X)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    loader = DataLoader(x, Y, batch_size=4, rng=rng, prefetch=ahead)
    assert (len(loader), loader.samples, loader.sample_shape, loader.dtype) == (3, 11, (2,), np.uint8)
    for epoch in (1, 2):
        order = again.permutation(11)
        assert_same(list(loader), [(X[part], Y[part]) for part in (order[:4], order[4:8], order[8:])])
        assert rng.bit_generator.state == again.bit_generator.state
        assert loader.epoch == epoch


def test_without_shuffle_no_random_number_is_drawn():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert labels(DataLoader(X, Y, batch_size=5, shuffle=False, rng=rng)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10]]
    assert rng.bit_generator.state == before


def test_a_generator_is_not_used_before_the_first_batch():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    loader = DataLoader(X, Y, rng=rng)
    iter(loader)
    assert rng.bit_generator.state == before
    assert loader.state_dict()["epoch"] == 0


def test_batches_are_new_arrays():
    for x in (X, OneByOne(X), list(X)):
        for a, b in DataLoader(x, Y, shuffle=False):
            assert not np.shares_memory(a, X)
            assert not np.shares_memory(b, Y)
            assert a.flags.writeable


def test_a_file_is_read_in_ascending_order_and_returned_in_random_order(tmp_path):
    requested = []

    class Recorded(np.memmap):
        def __getitem__(self, key):
            if isinstance(key, np.ndarray):
                requested.append(key.tolist())
            return super().__getitem__(key)

    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", "r").view(Recorded)
    order = np.random.default_rng(1).permutation(11)
    assert_same(list(DataLoader(x, Y, batch_size=11, rng=1)), [(X[order], Y[order])])
    assert requested == [list(range(11))]


def test_targets_may_be_any_sequence_of_the_same_length(tmp_path):
    np.save(tmp_path / "y.npy", Y)
    lists = [Y.tolist(), tuple(Y), list(Y)]
    for y in (*lists, OneByOne(Y), tmp_path / "y.npy", np.load(tmp_path / "y.npy", "r")):
        ((_, found),) = DataLoader(X, y, rng=2)
        np.testing.assert_array_equal(found, np.random.default_rng(2).permutation(11))
        assert found.dtype == np.int64
    masks = np.random.default_rng(0).random((11, 3, 3))
    ((_, found),) = DataLoader(X, masks, shuffle=False)
    np.testing.assert_array_equal(found, masks)


def test_pandas_data_are_indexed_by_position_not_by_label():
    class Series(OneByOne):
        iloc = None

        def __array__(self, dtype=None, copy=None):
            return np.array(self.data)

        def __getitem__(self, label):
            raise AssertionError

    assert labels(DataLoader(X, Series(Y), shuffle=False)) == [Y.tolist()]


# invalid arguments

RAGGED = [np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((4, 3))]


@pytest.mark.parametrize(
    ("x", "y", "settings", "message"),
    [
        (X, Y[:9], {}, "11 samples and y 9 targets"),
        (X[:0], Y[:0], {}, "x is empty"),
        ([], [], {}, "x is empty"),
        (np.float32(3), Y, {}, "x must be an array, the path"),
        (np.array(3.0), Y, {}, "axis of samples"),
        (X.astype(object), Y, {}, "x holds Python objects"),
        (X, [None] * 11, {}, "y holds Python objects"),
        (OneByOne([None] * 11), Y, {}, r"x\[0\] must be an array of numbers, got NoneType"),
        ([[1, 2], [3]], [0, 1], {}, "x holds samples of different shapes"),
        ((i for i in X), Y, {}, r"len\(x\) and x\[i\], got generator"),
        ({0: X}, [1], {}, "got dict"),
        (X, None, {}, "y must be an array.*got NoneType"),
        (np.ma.masked_array(X), Y, {}, "masked"),
        (X, Y, {"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        (X, Y, {"batch_size": 2.0}, "batch_size must be an integer"),
        (X, Y, {"shuffle": "no"}, "shuffle must be True or False"),
        (X, Y, {"prefetch": -1}, "prefetch must be an integer of at least 0"),
        (X, Y, {"transforms": identity}, "list of callables"),
        (X, Y, {"transforms": [3]}, "list of callables"),
    ],
)
def test_invalid_arguments_are_rejected_at_once(x, y, settings, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(x, y, **settings)


def test_files_that_do_not_contain_one_array_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x: there is no file .*none\.npy"):
        DataLoader(str(tmp_path / "none.npy"), Y)
    np.savez(tmp_path / "two.npz", X, Y)
    with pytest.raises(InputError, match="holds several arrays"):
        DataLoader(tmp_path / "two.npz", Y)
    np.save(tmp_path / "objects.npy", X.astype(object), allow_pickle=True)
    np.save(tmp_path / "short.npy", np.zeros((11, 100)))
    whole = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-1])
    (tmp_path / "text.npy").write_text("nothing of that sort")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("objects", "short", "text", "empty"):
        with pytest.raises(InputError, match=rf"{name}\.npy is not a \.npy file of numbers, or is damaged"):
            DataLoader(tmp_path / f"{name}.npy", Y)


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("last", [np.zeros((4, 3)), np.zeros((2, 3), np.float32)])
def test_the_error_names_samples_of_different_shapes_or_dtypes(last, ahead):
    loader = DataLoader([*RAGGED[:2], last], [0, 1, 2], shuffle=False, prefetch=ahead)
    with pytest.raises(ShapeError, match=r"x\[0\] is float64 of shape \(2, 3\) and x\[2\] is float"):
        list(loader)


def test_the_error_names_the_sample_that_cannot_be_read():
    class Broken(OneByOne):
        def __getitem__(self, i):
            if i == 7:
                raise OSError("the disk is on fire")
            return super().__getitem__(i)

    with pytest.raises(OSError, match="on fire") as caught:
        list(DataLoader(Broken(X), Y))
    assert caught.value.__notes__ == ["(when x[7] was read)"]


# transforms


@pytest.mark.parametrize("ahead", [0, 2])
def test_each_transform_gets_its_own_rng_for_the_epoch_and_the_samples(ahead):
    seen = []

    def spy(x, y, rng):
        seen.append((rng.seed, rng.epoch, rng.indices.tolist(), rng.uniform().tolist()))
        return x, y

    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    loader = DataLoader(X, Y, batch_size=6, rng=rng, transforms=[spy, identity, spy], prefetch=ahead)
    seed = again.integers(2**63)
    assert loader.state_dict()["seed"] == seed
    assert rng.bit_generator.state == again.bit_generator.state
    assert [len(list(loader)), len(list(loader))] == [2, 2]
    orders = [again.permutation(11).tolist() for _ in range(2)]
    parts = [(epoch, order[i : i + 6]) for epoch, order in enumerate(orders, 1) for i in (0, 6)]
    assert [found[:3] for found in seen] == [(seed, *part) for part in parts for _ in range(2)]
    assert len({number for found in seen for number in found[3]}) == 4 * 11


def test_samples_do_not_depend_on_batch_size_and_thread():
    def images(batch_size, ahead):
        loader = DataLoader(X, Y, batch_size, False, 5, [noisy, scaled], ahead)
        return [np.concatenate(parts) for parts in zip(*loader, strict=True)]

    assert_same([images(3, 0)], [images(4, 2)])


@pytest.mark.parametrize("wrong", [lambda x, y, d: x, lambda x, y, d: (x[:2], y[:2]), lambda x, y, d: (x, 3)])
def test_the_error_names_a_transform_that_does_not_return_a_pair(wrong):
    with pytest.raises(InputError, match=r"transforms\[1\], .*, must return a pair \(x, y\) of 4 samples each"):
        list(DataLoader(X, Y, 4, transforms=[identity, wrong]))


# the thread


def test_a_thread_is_used_only_where_it_saves_time(tmp_path):
    np.save(tmp_path / "x.npy", X)
    for x, settings, expected in (
        (X, {}, 0),
        (X, {"transforms": [identity]}, 1),
        (X, {"transforms": [identity], "prefetch": 0}, 0),
        (OneByOne(X), {}, 1),
        (tmp_path / "x.npy", {}, 1),
    ):
        batches = iter(DataLoader(x, Y, 1, **settings))
        next(batches)
        assert len(threads()) == expected
        batches.close()
        assert_no_thread_left()


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_at_most_prefetch_batches_are_prepared_ahead(ahead):
    arrived = threading.Event()

    class Watched(OneByOne):
        def __getitem__(self, i):
            found = super().__getitem__(i)
            if i == ahead:
                arrived.set()
            return found

    x = Watched(X)
    batches = iter(DataLoader(x, Y, 1, shuffle=False, prefetch=ahead))
    x.read.clear()
    next(batches)
    assert arrived.wait(5)
    time.sleep(0.05)  # enough time to read too many
    assert x.read == list(range(ahead + 1))
    batches.close()


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_is_raised_with_its_traceback_at_its_batch(ahead):
    def broken(x, y, rng):
        if 6 in y:
            raise ZeroDivisionError("at six")
        return x, y

    loader = DataLoader(X, Y, 2, shuffle=False, transforms=[broken], prefetch=ahead)
    batches = iter(loader)
    assert labels(next(batches) for _ in range(3)) == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ZeroDivisionError, match="at six") as caught:
        next(batches)
    assert "broken" in [entry.name for entry in caught.traceback]
    assert loader.state_dict()["taken"] == 3
    assert_no_thread_left()
    assert next(batches, None) is None


def test_leaving_an_iteration_ends_the_thread():
    loader = DataLoader(X, Y, 1, transforms=[identity])
    for _ in loader:
        assert len(threads()) == 1
        break
    assert_no_thread_left()

    def consume():
        for _ in loader:
            raise KeyError

    with pytest.raises(KeyError):
        consume()
    assert_no_thread_left()
    batches = iter(loader)
    next(batches)
    cycle = [batches]
    cycle.append(cycle)
    del batches, cycle
    assert len(threads()) == 1
    gc.collect()
    assert_no_thread_left()


def test_nothing_is_read_after_leaving():
    at_one, go_on = threading.Event(), threading.Event()

    class Slow(OneByOne):
        def __getitem__(self, i):
            if i == 1:
                at_one.set()
                go_on.wait(5)
            return super().__getitem__(i)

    x = Slow(X)
    batches = iter(DataLoader(x, Y, 1, shuffle=False, prefetch=5))
    x.read.clear()
    next(batches)
    assert at_one.wait(5)
    batches.close()
    go_on.set()
    assert_no_thread_left()
    assert x.read == [0, 1]  # sample 1 was being read


def test_a_loader_is_freed_with_its_last_reference(tmp_path):
    freed = []

    class Tracked(OneByOne):
        def __del__(self):
            freed.append(True)

    loader = DataLoader(Tracked(X), Y, 1)
    list(loader)
    next(iter(loader))
    assert_no_thread_left()
    gc.disable()
    try:
        del loader
        assert freed
    finally:
        gc.enable()


def test_a_new_iteration_ends_the_old_one():
    loader = DataLoader(X, Y, 4, rng=0, transforms=[identity])
    old = iter(loader)
    next(old)
    state = loader.state_dict()
    new = iter(loader)
    next(new)
    assert len(threads()) <= 1
    with pytest.raises(RuntimeError, match="use two loaders for two"):
        next(old)
    assert len(list(new)) == 2
    assert loader.state_dict()["epoch"] == 2
    assert loader.state_dict()["taken"] == 3
    old = iter(loader)
    next(old)
    loader.load_state_dict(state)
    with pytest.raises(RuntimeError, match="use two loaders for two"):
        next(old)
    assert loader.state_dict() == state
    assert len(list(loader)) == 2


def test_only_one_thread_reads_at_a_time():
    busy = threading.Lock()

    def slow(x, y, rng):
        assert busy.acquire(blocking=False)
        time.sleep(0.01)
        busy.release()
        return x, y

    loader = DataLoader(X, Y, 1, transforms=[slow])
    for _ in range(5):
        next(iter(loader))


def test_ctrl_c_works_while_waiting_for_a_batch():
    go_on = threading.Event()

    def stuck(x, y, rng):
        go_on.wait(10)
        return x, y

    loader = DataLoader(X, Y, 4, transforms=[stuck])
    start = time.perf_counter()
    threading.Timer(0.05, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        next(iter(loader))
    assert time.perf_counter() - start < 5
    assert loader.state_dict()["taken"] == 0
    go_on.set()


def test_numpys_errstate_is_that_of_the_consumer():
    def divide(x, y, rng):
        return x / np.zeros(2), y

    with np.errstate(all="ignore"):
        list(DataLoader(X, Y, transforms=[divide]))
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        list(DataLoader(X, Y, transforms=[divide]))


FORKED = """
import json, os, sys, warnings
import numpy as np
from cnn.data.loader import DataLoader
warnings.simplefilter("ignore")  # Python warns about forks of processes with threads
loader = DataLoader(np.arange(20), np.arange(20), 2, rng=0, transforms=[lambda x, y, rng: (x, y)])
batches = iter(loader)
next(batches)
child = os.fork()
if child:
    os.waitpid(child, 0)
found = [y.tolist() for _, y in batches]
found += [y.tolist() for _, y in loader]
print(json.dumps(found), flush=True)
"""


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_after_a_fork_both_processes_continue():
    if hasattr(os, "fork"):
        child, parent = run(FORKED).splitlines()
        assert child == parent
        assert len(json.loads(child)) == 9 + 10


def test_a_program_can_exit_during_an_iteration():
    program = FORKED.replace("os.fork()", "None").replace("found = [y.tolist() for _, y in batches]", "sys.exit(0)")
    assert run(program) == ""


# states

GENERATORS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]


@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    epoch=st.integers(1, 3),
    stop=st.integers(0, 30),
    shuffle=st.booleans(),
    transforms=st.sampled_from([(), (noisy,), (noisy, scaled)]),
    one_by_one=st.booleans(),
    ahead=st.sampled_from([(0, 0), (2, 2), (0, 2), (2, 0)]),
    kind=st.sampled_from(GENERATORS),
)
def test_a_restored_loader_gives_the_same_batches(
    n, batch_size, epoch, stop, shuffle, transforms, one_by_one, ahead, kind
):
    x, y = np.arange(2.0 * n).reshape(n, 2), np.arange(n)

    def loader(seed, ahead):
        rng = np.random.Generator(kind(seed))
        rng.integers(9, size=3, dtype=np.uint32)  # leaves half of 64 bits in the generator
        return DataLoader(OneByOne(x) if one_by_one else x, y, batch_size, shuffle, rng, transforms, ahead)

    original = loader(1, ahead[0])
    for _ in range(epoch - 1):
        list(original)
    rest, state = [], original.state_dict()
    for batch in original:
        if original.taken <= stop:
            state = original.state_dict()
        else:
            rest.append(batch)
    restored = loader(2, ahead[1])
    state = json.loads(json.dumps(state))
    restored.load_state_dict(state)
    assert restored.state_dict() == state
    if rest:  # otherwise the epoch was complete
        assert_same(list(restored), rest)
    assert json.dumps(restored.state_dict()) == json.dumps(original.state_dict())
    assert_same(list(restored), list(original))
    assert json.dumps(restored.state_dict()) == json.dumps(original.state_dict())


def test_the_last_state_loaded_counts():
    loader = DataLoader(X, Y, 2, rng=0)
    fresh = loader.state_dict()
    first = labels(loader)
    next(iter(loader))
    loader.load_state_dict(loader.state_dict())
    loader.load_state_dict(fresh)
    assert labels(loader) == first


def test_other_users_of_the_generator_do_not_matter():
    def epochs(loader, rng):
        for _ in range(2):
            for _, y in loader:
                yield y.tolist(), rng.random()

    rng = np.random.default_rng(0)
    loader = DataLoader(X, Y, 2, rng=rng)
    steps = epochs(loader, rng)
    for _ in range(4):
        next(steps)
    state = loader.state_dict()
    expected = list(steps)
    rng = np.random.default_rng(9)
    loader = DataLoader(X, Y, 2, rng=rng)
    loader.load_state_dict(state)
    assert list(epochs(loader, rng)) == expected


def test_a_state_of_another_loader_is_rejected_and_changes_nothing():
    loader = DataLoader(X, Y, 2, rng=0)
    list(loader)
    before = loader.state_dict()
    rng = np.random.Generator(np.random.Philox(0))
    for other, message in (
        (DataLoader(X[:9], Y[:9], 2), "samples=9, but here it is 11"),
        (DataLoader(X, Y, 3), "batch_size=3, but here it is 2"),
        (DataLoader(X, Y, 2, shuffle=False), "shuffle=False, but here it is True"),
        (DataLoader(X, Y, 2, transforms=[noisy]), "with transforms, but this one has none"),
        (DataLoader(X, Y, 2, rng=rng), r"Philox generator, but rng is a PCG64: pass rng=.*Philox\(\)\)"),
    ):
        with pytest.raises(InputError, match=message):
            loader.load_state_dict(other.state_dict())
    for wrong, message in (
        ({"epoch": -1}, "epoch must be"),
        ({"taken": 7}, "7 batches taken of 6"),
    ):
        with pytest.raises(ValueError, match=message):
            loader.load_state_dict(before | wrong)
    with pytest.raises(InputError, match="not the state of a DataLoader: it has no batch_size, epoch"):
        loader.load_state_dict({"rng": before["rng"]})
    assert loader.state_dict() == before


# fingerprints


def test_fingerprints_show_what_differs(tmp_path):
    first = DataLoader(X, Y).fingerprint()

    def compare(x, y, old=first):
        return differences(json.loads(json.dumps(old)), DataLoader(x, y).fingerprint())

    np.save(tmp_path / "x.npy", X)
    for same in (X, X.copy(order="F"), X.tolist(), tmp_path / "x.npy", OneByOne(X), list(X)):
        x = np.array(same, np.uint8) if isinstance(same, list) else same
        assert compare(x, Y) == ""
    assert compare(X[:9], Y[:9]) == "11 samples before, 9 now"
    assert compare(X[:, None], Y) == "samples of shape (2,) before, (1, 2) now"
    assert compare(X.astype("f"), Y.astype("f")) == (
        "samples of uint8 before, float32 now; targets of int64 before, float32 now"
    )
    assert compare(X, Y[:, None]) == "targets of shape () before, (1,) now"
    for i in (0, 5, 10):
        changed, other = X.copy(), Y.copy()
        changed[i] += 1
        other[i] += 1
        assert compare(changed, Y) == "other values in the samples"
        assert compare(X, other) == "other values in the targets"
        assert compare(changed, other) == "other values in the samples and the targets"
    many = DataLoader(np.zeros((60_000, 1)), np.zeros(60_000)).fingerprint()
    assert compare(X, Y, old=many).startswith("60,000 samples before, 11 now")


def test_large_data_are_read_at_evenly_spaced_samples(monkeypatch):
    monkeypatch.setattr(fingerprint, "MAX_BYTES", 8)
    monkeypatch.setattr(fingerprint, "CHUNK_BYTES", 4)
    before = DataLoader(X, X).fingerprint()
    assert before["samples_read"] == before["targets_read"] == 4
    noticed = []
    for i in range(11):
        x = X.copy()
        x[i] += 1
        noticed += [i] if differences(before, DataLoader(x, X).fingerprint()) else []
    assert noticed == [0, 3, 6, 10]
    monkeypatch.setattr(fingerprint, "MAX_SAMPLES", 3)
    x = OneByOne(X)
    loader = DataLoader(x, X)
    x.read.clear()
    assert differences(before, loader.fingerprint()) == "4 samples compared before, 3 now"
    assert x.read == [0, 5, 10]


# memory


def test_a_large_file_stays_out_of_memory(tmp_path):
    status = Path("/proc/self/status")
    if not status.exists() or "RssAnon" not in status.read_text():
        return

    def anonymous_memory():
        return int(status.read_text().partition("RssAnon:")[2].split()[0]) / 1024  # MB

    count = 25_000
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (count, 3, 64, 64))
    file[-1] = 7
    del file
    assert (tmp_path / "x.npy").stat().st_size > 300e6
    before = anonymous_memory()
    loader = DataLoader(tmp_path / "x.npy", np.arange(count), 64, rng=0)
    most = total = 0
    for step, (x, _) in enumerate(loader):
        total += int(x.sum())
        most = max(most, anonymous_memory()) if step % 20 == 0 else most
    assert total == 7 * 3 * 64 * 64
    assert most - before < 60
    loader.fingerprint()
    assert anonymous_memory() - before < 60


def test_drop_last_leaves_out_a_smaller_last_batch():
    x = np.arange(7.0)[:, None]
    loader = DataLoader(x, np.arange(7), batch_size=3, rng=0, drop_last=True)
    epochs = [[len(y) for _, y in loader] for _ in range(3)]
    assert epochs == [[3, 3]] * 3 == [[3] * len(loader)] * 3
    with pytest.raises(ValueError, match="drop_last leaves no batch of 7 samples: use batch_size=7"):
        DataLoader(x, np.arange(7), batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="drop_last=True, but here it is False"):
        DataLoader(x, np.arange(7), batch_size=3).load_state_dict(loader.state_dict())
