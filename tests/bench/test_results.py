"""Ratios, shares, and what is judged."""

import pytest

from cnn.bench import cases, judged
from cnn.bench.cases import DRAWN, INFERRED, LAYER, TRAINED, Case, inference, training
from cnn.bench.results import Report, Result


def result(case, ratio=None, memory_ratio=None, **more):
    """A made-up result: PyTorch takes 2 s, and 100 bytes."""
    found = Result(case, **more)
    if ratio is not None:
        found.seconds = {"cnn": [2 * ratio] * 3, "contiguous": [3.0] * 3, "channels_last": [2.0] * 3}
    if memory_ratio is not None:
        found.memory = {"cnn": round(100 * memory_ratio), "contiguous": 100, "channels_last": 120}
    return found


def report(*results, kernels="jit"):
    return Report("all", {"kernels": kernels}, "2.13.0", 100.0, list(results))


def of(judgements, start):
    return [one for one in judgements if one.what.startswith(start)]


def layer(i):
    return Case(LAYER, f"Layer({i})", 64, (3,), 0, lambda: None)


def test_the_faster_format_counts_and_ratios_are_taken_pair_by_pair():
    found = Result(training("mlp", 32), multiply_adds=10**9)
    assert (found.ours, found.rival, found.theirs, found.ratio, found.quartiles) == (None,) * 5
    assert found.share(100.0) is None
    found.seconds = {"cnn": [1.0, 2.0, 9.0]}
    assert (found.ours, found.rival, found.ratio) == (2.0, None, None)
    found.seconds |= {"contiguous": [5.0, 5.0, 5.0], "channels_last": [2.0, 4.0, 36.0]}
    assert (found.rival, found.theirs, found.ratio) == ("channels_last", 4.0, 0.5)
    assert found.quartiles == (0.375, 0.5)  # of 0.5, 0.5, 0.25
    assert found.share(4.0) == 0.25  # 2 GFLOP in 2 s
    assert found.spread("cnn") == (2.0, (1.5, 5.5), 3)
    assert Result(layer(0), seconds={"cnn": [1.0]}).share(4.0) is None


def test_memory_is_compared_with_the_format_that_takes_less():
    assert result(training("mlp", 32), memory_ratio=0.5).memory_ratio == 0.5
    found = Result(training("mlp", 32), memory={"cnn": None, "contiguous": None})
    assert (found.memory_ratio, found.their_memory) == (None, None)


def test_disturbed():
    quiet, loud = Result(layer(0), others=0.01), Result(layer(1), others=0.5)
    assert report(quiet, loud, Result(layer(2))).disturbed == [loud]


def test_the_reference_net_is_judged_with_and_without_numba():
    nets = [result(training("small-cnn", batch), ratio) for batch, ratio in ((32, 9.0), (64, 0.65), (256, 0.66))]
    found = of(judged.judge(report(*nets)), "training, the reference net")
    assert [(one.figure, one.bound, one.reached) for one in found] == [(0.65, 0.65, True), (0.66, 0.65, False)]
    assert str(found[0]) == "training, the reference net (small-cnn) at batch 64: 0.65, at most 0.65: reached"
    assert str(found[1]).endswith("not reached")
    found = of(judged.judge(report(*nets, kernels="array")), "training, the reference net")
    assert [(one.bound, one.reached) for one in found] == [(1.2, True), (1.2, True)]
    assert "without Numba" in str(found[0])


def test_training_is_judged_by_its_mean_its_worst_case_and_the_mlp():
    nets = [result(training(*pair), 0.5 if pair[0] != "vgg" else 1.2) for pair in TRAINED]
    mean, worst = (
        of(judged.judge(report(*nets)), "training, geometric")[0],
        of(judged.judge(report(*nets)), "training, the worst")[0],
    )
    assert mean.figure == pytest.approx((0.5**7 * 1.2) ** (1 / 8))
    assert (mean.reached, worst.figure, worst.reached, worst.note) == (True, 1.2, False, "vgg, batch 64")
    [mlp] = of(judged.judge(report(nets[-1])), "training, the MLP")
    assert (mlp.figure, mlp.bound, mlp.reached) == (0.5, 0.5, True)
    assert of(judged.judge(report(*nets[1:])), "training, geometric") == []  # not all cases


def test_inference_is_judged_by_batch():
    nets = [result(inference(*pair), 0.7 if pair[1] == 256 else 0.9) for pair in INFERRED]
    large, one = of(judged.judge(report(*nets)), "inference")
    assert (large.bound, large.reached, one.bound, one.reached) == (0.75, True, 0.8, False)
    assert of(judged.judge(report(*nets[:3])), "inference at batch 256") == []


@pytest.mark.parametrize(("even", "reached"), [(32, True), (31, False)])
def test_layers_are_counted_and_the_bad_ones_named(even, reached):
    found = [result(layer(i), 1.0 if i < even else 1.25) for i in range(DRAWN - 1)]
    found.append(result(layer(39), 1.31))
    [one] = judged.judge(report(*found))
    assert (one.figure, one.reached, one.note) == (even, reached, "above 1.3: Layer(39) 3 1.31")
    assert f": {even}, at least 32: " in str(one)
    assert judged.judge(report(*found[1:])) == []


def test_memory_is_judged_by_the_worst_net():
    nets = [result(training(*pair), memory_ratio=1.01 if pair == ("lenet5", 64) else 0.5) for pair in TRAINED]
    [one] = judged.judge(report(*nets))
    assert (one.figure, one.reached, one.note) == (1.01, False, "lenet5, batch 64")
    nets[3] = result(training("lenet5", 64), memory_ratio=1.0)
    assert judged.judge(report(*nets))[0].reached


def test_without_pytorch_nothing_is_judged():
    alone = [Result(case, {"cnn": [1.0]}, {"cnn": 5}) for case in cases.choose("train")[0]]
    assert judged.judge(report(*alone)) == []
