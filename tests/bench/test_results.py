"""Ratios, shares of the matrix product rate, and disturbed measurements."""

from cnn.bench.cases import LAYER, Case, training
from cnn.bench.results import Report, Result


def layer(i):
    return Case(LAYER, f"Layer({i})", 64, (3,), 0, lambda: None)


def test_the_faster_format_counts_and_ratios_are_taken_round_by_round():
    found = Result(training("mlp", 32), multiply_adds=10**9)
    assert (found.ours, found.faster_format, found.theirs, found.ratio, found.quartiles) == (None,) * 5
    assert found.share(100.0) is None
    found.seconds = {"cnn": [1.0, 2.0, 9.0]}
    assert (found.ours, found.faster_format, found.ratio) == (2.0, None, None)
    found.seconds |= {"contiguous": [5.0, 5.0, 5.0], "channels_last": [2.0, 4.0, 36.0]}
    assert (found.faster_format, found.theirs, found.ratio) == ("channels_last", 4.0, 0.5)
    assert found.quartiles == (0.375, 0.5)  # of 0.5, 0.5, 0.25
    assert found.share(4.0) == 0.25  # 2 GFLOP in 2 s
    assert found.spread("cnn") == (2.0, (1.5, 5.5), 3)
    assert Result(layer(0), seconds={"cnn": [1.0]}).share(4.0) is None


def test_memory_is_compared_with_the_format_that_needs_less():
    found = Result(training("mlp", 32), memory={"cnn": 50, "contiguous": 100, "channels_last": 120})
    assert found.memory_ratio == 0.5
    found = Result(training("mlp", 32), memory={"cnn": None, "contiguous": None})
    assert (found.memory_ratio, found.their_memory) == (None, None)


def test_disturbed():
    quiet, disturbed = Result(layer(0), others=0.01), Result(layer(1), others=0.5)
    report = Report("all", {}, "2.13.0", 100.0, [quiet, disturbed, Result(layer(2))])
    assert report.disturbed == [disturbed]
