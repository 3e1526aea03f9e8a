"""The snapshot that tells whether packed weights still belong to the arrays they were computed from."""

import numpy as np
import pytest

from tests.kernels.backends import needs_numba

pytestmark = needs_numba


def make(*sizes):
    from cnn.kernels.jit.engine.snapshot import Snapshot

    arrays = [np.arange(size, dtype=np.float32) for size in sizes]
    return arrays, Snapshot(arrays)


def test_the_same_values_match():
    arrays, snapshot = make(1, 3, 4, 1025)
    assert snapshot.matches(arrays)
    arrays[3][:] = arrays[3].copy()
    assert snapshot.matches(arrays)


@pytest.mark.parametrize("at", [(0, 0), (1, 0), (1, 2), (2, 3), (3, 0), (3, 700), (3, 1023), (3, 1024)])
def test_a_changed_number_does_not_match(at):
    arrays, snapshot = make(1, 3, 4, 1025)
    arrays[at[0]][at[1]] += 1
    assert not snapshot.matches(arrays)
    arrays[at[0]][at[1]] -= 1
    assert snapshot.matches(arrays)


def test_other_arrays_do_not_match():
    arrays, snapshot = make(3, 4)
    assert not snapshot.matches([arrays[0]])
    assert not snapshot.matches([arrays[0], arrays[1].copy()])
    assert not snapshot.matches(arrays[::-1])


def test_an_array_whose_memory_has_moved_does_not_match():
    arrays, snapshot = make(3, 1000)
    arrays[1].resize(10_000_000, refcheck=False)  # the old memory is free
    assert not snapshot.matches(arrays)


def test_an_array_that_is_not_contiguous_never_matches():
    from cnn.kernels.jit.engine.snapshot import Snapshot

    x = np.zeros((4, 4), np.float32)[:, :2]
    assert not Snapshot([x]).matches([x])
