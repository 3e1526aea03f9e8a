"""A run without PyTorch, the memory of a process, and the machine."""

import numpy as np
import pytest

import cnn
from cnn.bench import bench, machine, memory, ours, run, timing
from cnn.bench.cases import Case, choose, inference, training
from cnn.bench.ours import Program
from cnn.layers import Conv2d, Dropout


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 32)
    monkeypatch.setattr(timing, "WARMUP_SECONDS", 0.0)
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(timing, "PAUSE_SECONDS", 0.0)


def test_without_pytorch(monkeypatch):
    asked, lines = [], []
    monkeypatch.setattr(run, "step_memory", lambda case, program: asked.append((case.name, program)) or 1000)
    report = bench("mlp", against="nothing", rounds=2, seconds=0, progress=lines.append)
    [result] = report.results
    assert (result.case.name, len(result.seconds["cnn"])) == ("mlp, batch 32", 2)
    assert (list(result.seconds), result.memory, asked) == (["cnn"], {"cnn": 1000}, [("mlp, batch 32", "cnn")])
    assert result.multiply_adds == training("mlp", 32).multiply_adds()
    assert report.version == "left out (--against nothing)"
    assert report.gemm_rate > 0
    [line] = lines
    assert line.startswith("1/1  train: mlp, batch 32  ")
    assert "ms" in line
    assert "PyTorch" not in line


def test_pytorch_not_installed(monkeypatch):
    monkeypatch.setattr(run, "_pytorch", lambda: None)
    with pytest.raises(ValueError, match="PyTorch is not installed: pip install torch, or measure alone"):
        bench("linear", against="torch", rounds=1, seconds=0)
    report = bench("linear", rounds=1, seconds=0)
    assert report.version == "not installed; pip install torch"
    assert [list(result.seconds) for result in report.results] == [["cnn"]] * len(choose("linear")[0])


def test_the_memory_suite_is_not_timed(monkeypatch):
    monkeypatch.setattr(run, "choose", lambda suite: ([], [training("mlp", 32)]))
    monkeypatch.setattr(run, "step_memory", lambda case, program: 1000)
    [result] = bench("memory", against="nothing").results
    assert (result.seconds, result.memory, result.others) == ({}, {"cnn": 1000}, None)


def test_programs_with_different_results_are_not_timed():
    def program(name, value):
        return Program(name, lambda count: None, lambda: {"output": np.array([1.0, value])})

    case = training("mlp", 32)
    run.check_results(case, program("cnn", 2.0), [program("contiguous", 2.0001)])
    for wrong in (2.1, np.nan):
        with pytest.raises(RuntimeError, match=r"train, mlp, batch 32: the output is not PyTorch's \(channels_last\)"):
            run.check_results(case, program("cnn", 2.0), [program("contiguous", 2.0), program("channels_last", wrong)])
    assert run._difference(np.zeros(3), np.zeros((1, 3))) == np.inf


def test_a_training_program_trains_and_its_probe_has_no_dropout():
    case = training("small-cnn", 4)
    models = [ours.new_model(case) for _ in range(2)]
    first, second = (ours.program(case, model, *case.data()) for model in models)
    assert first.probe() == second.probe()
    assert [module.p for module in models[0].modules() if isinstance(module, Dropout)] == [0.1]
    before = models[0].state_dict()
    first.run(2)
    assert models[0].optimizer.lr == 1e-3
    assert all(np.any(array != before[name]) for name, array in models[0].state_dict().items())


def test_inference_saves_nothing_and_changes_nothing():
    case = inference("mobilenet", 2)
    model = ours.new_model(case)
    before = model.state_dict()
    ours.program(case, model, *case.data()).run(2)
    assert all(module._saved is None for module in model.modules())
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())


def test_a_layer_runs_forward_and_backward(monkeypatch):
    case = Case("layer", "Conv2d", 2, (3, 5, 5), 0, lambda: Conv2d(3, 4, 3))
    layer = ours.new_model(case)
    program = ours.program(case, layer, *case.data())
    found = program.probe()
    assert found["output"].shape == (2, 4, 3, 3)
    assert found["gradient of the input"].shape == (2, 3, 5, 5)
    assert found["gradient of weight"].shape == (4, 3, 3, 3)
    assert found["gradient of bias"].shape == (4,)
    calls = []
    for name in ("forward", "backward"):
        real = getattr(layer, name)
        monkeypatch.setattr(layer, name, lambda a, name=name, real=real: (calls.append(name), real(a))[1])
    program.run(2)
    assert calls == ["forward", "backward"] * 2
    assert layer.weight.grad is None


def test_the_gradient_has_the_memory_layout_of_the_output():
    layer, x = Conv2d(3, 4, 3), np.zeros((2, 3, 5, 5), np.float32)
    assert ours.output_grad(layer, x).strides == layer(x).strides


def test_the_memory_of_a_process():
    case = training("lenet5", 64)
    taken = memory.step_memory(case, "cnn")
    if taken is None:
        pytest.skip("this system does not report it")
    weights = 4 * sum(p.size for p in case.make().parameters())
    images = 4 * 64 * 6 * 28 * 28  # the output of one layer
    assert 3 * weights + 2 * images < taken < 300 * 2**20  # weights and Adam's two averages


def test_a_process_that_fails_is_reported():
    with pytest.raises(RuntimeError, match=r"memory of nonsense, batch 2, cnn, failed: KeyError: 'nonsense'"):
        memory.step_memory(Case("train", "nonsense", 2, (1,), 2, lambda: None), "cnn")


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="Linux only")
def test_the_peak_memory_is_since_the_last_reset():
    size = 64 * 2**20
    np.ones(size, np.uint8)
    memory.reset_peak()
    before = memory.peak()
    assert before - memory.resident() < size / 2
    np.ones(size, np.uint8)
    assert memory.peak() - before > 0.9 * size


def test_memory_where_there_is_no_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear")
    memory.reset_peak()
    assert memory.resident() == memory.peak()
    assert memory.peak() is None or memory.peak() > 2**20


def test_the_machine():
    facts = machine.facts(3)
    assert (facts["threads"], facts["numpy"], facts["cnn"]) == (3, np.__version__, cnn.__version__)
    assert all(facts[name] for name in ("processor", "cores", "system", "python", "blas", "kernels"))
    assert facts["config"] == cnn.kernels.config()
    assert machine.gemm_rate(2) > 0


def test_the_processor_time_of_other_programs(monkeypatch):
    times = iter(
        [(0.0, 10.0, 5.0), (2.0, 13.0, 7.0)]
    )  # 2 s, in which the processors were busy for 3 s, 2 s of them for us
    monkeypatch.setattr(machine, "_times", lambda: next(times))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    with machine.OtherPrograms() as others:
        pass
    assert others.share == 0.25
    monkeypatch.setattr(machine, "_times", lambda: None)
    with machine.OtherPrograms() as others:
        pass
    assert others.share is None
