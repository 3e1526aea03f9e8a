"""Trainings killed with SIGKILL end with the bits of one that never was; see kills.py, which tries more."""

import sys

import pytest

from tests.training.kills import try_kills

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]


def test_killed_and_resumed(tmp_path):
    assert try_kills(runs=3, seed=1, out=tmp_path) >= 3
