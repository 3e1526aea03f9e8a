"""The examples of docs/distributed.md run under mpiexec."""

import re

import pytest

from tests.distributed.launch import ROOT, run

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8"), re.M | re.S
)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_examples_run_in_two_processes_and_learn(number):
    status, out, err = run(BLOCKS[number], 2)
    assert status == 0, err
    accuracies = re.findall(r"accuracy ([\d.]+)", out)
    assert len(accuracies) == 1  # rank 0 alone prints
    assert float(accuracies[0]) > 0.9


def test_the_loop_has_ten_lines():
    loop = BLOCKS[-1][BLOCKS[-1].index("ranks.broadcast_weights") : BLOCKS[-1].index("if ranks.rank == 0")]
    assert len(loop.splitlines()) <= 10
