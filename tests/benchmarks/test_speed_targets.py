"""benchmarks/speed_targets.py: which targets a report can be checked for, and the verdicts."""

import importlib.util
import json
from pathlib import Path

import pytest

from cnn.bench import machine
from cnn.bench import run as bench_run
from cnn.bench.cases import INFERENCE, INFERENCE_CASES, LAYER, LAYER_COUNT, TRAIN, TRAIN_CASES
from cnn.cli.main import main

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed_targets.py"
spec = importlib.util.spec_from_file_location("speed_targets", SCRIPT)
speed_targets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(speed_targets)


def case(kind, name, batch, ratio=None, memory_ratio=None):
    return {
        "kind": kind,
        "name": name,
        "batch": batch,
        "input_shape": [3],
        "ratio": ratio,
        "memory_ratio": memory_ratio,
    }


def targets(*cases, kernels="jit", starts_with=""):
    found = speed_targets.targets({"machine": {"kernels": kernels}, "cases": cases})
    return [target for target in found if target.name.startswith(starts_with)]


def test_the_reference_net_has_other_targets_without_numba():
    nets = [case(TRAIN, "small-cnn", batch, ratio) for batch, ratio in ((32, 9.0), (64, 0.65), (256, 0.66))]
    found = targets(*nets)
    assert [(target.value, target.limit, target.reached) for target in found] == [
        (0.65, 0.65, True),
        (0.66, 0.65, False),
    ]
    assert str(found[0]) == "training, the reference net (small-cnn) at batch 64: 0.65, at most 0.65: reached"
    assert str(found[1]).endswith("not reached")
    found = targets(*nets, kernels="array")
    assert [(target.limit, target.reached) for target in found] == [(1.2, True), (1.2, True)]
    assert "without Numba" in str(found[0])


def test_training_has_targets_for_the_mean_the_worst_case_and_the_mlp():
    nets = [case(TRAIN, net, batch, 0.5 if net != "vgg" else 1.2) for net, batch in TRAIN_CASES]
    [mean] = targets(*nets, starts_with="training, geometric")
    [worst] = targets(*nets, starts_with="training, the worst")
    assert mean.value == pytest.approx((0.5**7 * 1.2) ** (1 / 8))
    assert (mean.reached, worst.value, worst.reached, worst.note) == (True, 1.2, False, "vgg, batch 64")
    [mlp] = targets(nets[-1])
    assert (mlp.name, mlp.value, mlp.limit, mlp.reached) == ("training, the MLP of the spiral", 0.5, 0.5, True)
    assert targets(*nets[1:], starts_with="training, geometric") == []  # not all cases


def test_inference_has_a_target_for_each_batch_size():
    nets = [case(INFERENCE, net, batch, 0.7 if batch == 256 else 0.9) for net, batch in INFERENCE_CASES]
    large, one = targets(*nets)
    assert (large.limit, large.reached, one.limit, one.reached) == (0.75, True, 0.8, False)
    assert targets(*nets[:3], starts_with="inference at batch 256") == []


@pytest.mark.parametrize(("fast", "reached"), [(32, True), (31, False)])
def test_fast_layers_are_counted_and_slow_ones_named(fast, reached):
    layers = [case(LAYER, f"Layer({i})", 64, 1.0 if i < fast else 1.25) for i in range(LAYER_COUNT - 1)]
    layers.append(case(LAYER, "Layer(39)", 64, 1.31))
    [target] = targets(*layers)
    assert (target.value, target.reached, target.note) == (fast, reached, "above 1.3: Layer(39) 3 1.31")
    assert f": {fast}, at least 32: " in str(target)
    assert targets(*layers[1:]) == []


def test_memory_has_a_target_for_the_worst_net():
    nets = [case(TRAIN, *pair, memory_ratio=1.01 if pair == ("lenet5", 64) else 0.5) for pair in TRAIN_CASES]
    [target] = targets(*nets)
    assert (target.value, target.reached, target.note) == (1.01, False, "lenet5, batch 64")
    nets[3]["memory_ratio"] = 1.0
    assert targets(*nets)[0].reached


def test_it_reads_a_file_and_prints_the_verdicts(tmp_path, capsys):
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"machine": {"kernels": "jit"}, "cases": [case(TRAIN, "mlp", 32, 0.75)]}))
    speed_targets.main(path)
    assert capsys.readouterr().out == "training, the MLP of the spiral: 0.75, at most 0.50: not reached\n"


def test_it_reads_the_output_of_the_command_and_without_pytorch_checks_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "SIDE", 32)
    monkeypatch.setattr(bench_run, "step_memory", lambda case, program: 1000)
    assert main(["bench", "mlp", "--against", "nothing", "--rounds", "1", "--seconds", "0", "--json"]) == 0
    path = tmp_path / "report.json"
    path.write_text(capsys.readouterr().out)
    with pytest.raises(SystemExit, match="no target can be checked"):
        speed_targets.main(path)
