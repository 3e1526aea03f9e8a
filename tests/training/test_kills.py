"""Training runs killed with SIGKILL and resumed end with the same bits as an uninterrupted one; see kills.py."""

import sys

import pytest

from tests.training.kills import try_kills

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]


def test_killed_and_resumed(tmp_path):
    assert try_kills(runs=3, seed=1, out=tmp_path) >= 3
