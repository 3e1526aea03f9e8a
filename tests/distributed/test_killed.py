"""kill -9 of a process at random moments of a training: the last checkpoint resumes on any number of processes."""

import shutil

import numpy as np
import pytest

from tests.distributed.cases import resumable
from tests.distributed.launch import check_none_left, run

KILLS = 10
COMPARED = 3  # of them are also resumed on the same number, which gives the same bits
BEGIN = """
import os, sys, threading
import cnn
ranks = cnn.distributed.world()
sys.stdout.write(f"pid {os.getpid()}\\n")
"""
TRAIN = """
import numpy as np
from tests.distributed.cases import resumable
folder, to, rank, at, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])

def die(step):
    if ranks.rank == rank and (step.epoch - 1) * step.steps + step.step == at:
        threading.Timer(delay, os.kill, (os.getpid(), 9)).start()

found = resumable(ranks, folder, die)
if ranks.rank == 0:
    np.savez(to, **found)
"""


def train(size, folder, to, rank=-1, at=0, delay=0.0):
    """Train to the end, or until the kill: -> (status of mpiexec, its errors)"""
    status, out, err = run(BEGIN + TRAIN, size, folder, to, rank, at, delay)
    check_none_left(out, size)
    return status, err


@pytest.mark.slow
def test_ten_kills_at_random_moments(tmp_path):
    rng = np.random.default_rng(0)
    alone = resumable(None, tmp_path / "alone", lambda step: None)
    unbroken = {}
    for size in (2, 3):
        assert train(size, tmp_path / f"unbroken-{size}", tmp_path / f"{size}.npz")[0] == 0
        unbroken[size] = dict(np.load(tmp_path / f"{size}.npz"))
    killed = 0
    while killed < KILLS:
        size, folder = int(rng.integers(2, 4)), tmp_path / "run"
        at, delay = int(rng.integers(1, 14)), rng.uniform(0, 0.003)
        if train(size, folder, tmp_path / "none.npz", int(rng.integers(size)), at, delay)[0] != 0:
            killed += 1
        if killed <= COMPARED:
            shutil.copytree(folder, tmp_path / "copy")
            status, err = train(size, tmp_path / "copy", tmp_path / "same.npz")
            assert status == 0, err
            shutil.rmtree(tmp_path / "copy")
            same = dict(np.load(tmp_path / "same.npz"))
            for key, values in unbroken[size].items():
                np.testing.assert_array_equal(same[key], values, err_msg=key)
        other = int(rng.choice([each for each in (1, 2, 3, 4) if each != size]))
        status, err = train(other, folder, tmp_path / "other.npz")
        assert status == 0, err
        found = dict(np.load(tmp_path / "other.npz"))
        for key, values in alone.items():
            np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-10, err_msg=key)
        shutil.rmtree(folder)
