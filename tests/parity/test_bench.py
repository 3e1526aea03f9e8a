"""`cnn bench` with PyTorch: both do the same work, on tiny cases."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch

import cnn
from cnn import zoo
from cnn.bench import bench, cases, machine, ours, pytorch, run, timing, worker
from cnn.bench.cases import INFERENCE, LAYER, TRAIN, Case
from cnn.layers import BatchNorm2d, Conv2d, Linear

NETS = {
    "resnet8": (lambda: zoo.resnet(8, (3, 8, 8)), (3, 8, 8), 10),
    "small_cnn": (lambda: zoo.small_cnn((1, 8, 8)), (1, 8, 8), 10),
    "inception": (lambda: zoo.inception((3, 8, 8)), (3, 8, 8), 10),
    "mlp": (zoo.mlp, (2,), 3),
}
LAYERS = [
    Case(LAYER, "Conv2d(3, 4, 3)", 4, (3, 6, 6), 0, lambda: Conv2d(3, 4, 3)),
    Case(LAYER, "BatchNorm2d(3)", 4, (3, 6, 6), 0, lambda: BatchNorm2d(3)),
    Case(LAYER, "Linear(3, 2)", 4, (3,), 0, lambda: Linear(3, 2)),
]
SMALL = [
    Case(kind, net, 8, shape, classes, make)
    for net, (make, shape, classes) in NETS.items()
    for kind in (TRAIN, INFERENCE)
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 32)
    for name in ("WARMUP_SECONDS", "TURN_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(timing, name, 0.0)


@pytest.mark.parametrize("case", SMALL + LAYERS, ids=lambda case: f"{case.kind} {case.subject}")
def test_both_formats_compute_our_results(case, monkeypatch):
    programs = run._programs(case, pytorch)
    images = len(case.shape) == 3
    assert [program.name for program in programs] == ["cnn", "contiguous", "channels_last"][: 2 + images]
    for program in programs:
        program.run(2)
    monkeypatch.setattr(run, "TOLERANCE", 0.0)
    if case.kind != LAYER:
        with pytest.raises(RuntimeError, match="is not PyTorch's"):  # they round differently, so they were compared
            run._programs(Case(case.kind, case.subject, 64, case.shape, case.classes, case.make), pytorch)


def test_other_weights_are_detected(monkeypatch):
    real = pytorch.counterpart

    def wrong(module, without_softmax=False):
        found = real(module, without_softmax)
        monkeypatch.setattr(found, "load_state_dict", lambda state: None)
        return found

    monkeypatch.setattr(pytorch, "counterpart", wrong)
    with pytest.raises(RuntimeError, match=r"train, resnet8, batch 8: the loss of step . is not PyTorch's"):
        run._programs(SMALL[0], pytorch)


def test_memory_formats():
    x = SMALL[0].data()[0]
    assert pytorch.tensor(x, "channels_last").is_contiguous(memory_format=torch.channels_last)
    assert pytorch.tensor(np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)).is_contiguous()
    assert pytorch.tensor(np.ones((2, 3), np.float32), "channels_last").shape == (2, 3)


def test_the_counterpart_of_every_net_of_the_suite_has_the_same_names():
    for make, *_ in cases.NETS.values():
        ours = make()
        theirs = pytorch.counterpart(ours, without_softmax=True)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        assert len(theirs) == len(ours) - 1


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with pytorch.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_run(monkeypatch):
    calls = []
    monkeypatch.setattr(run, "choose", lambda suite: ([SMALL[0], LAYERS[2]], [SMALL[0]]))
    monkeypatch.setattr(run, "step_memory", lambda case, program: calls.append((program, torch.get_num_threads())) or 7)
    lines = []
    report = bench(rounds=2, seconds=0, progress=lines.append)
    assert report.version == torch.__version__
    net, layer = report.results
    assert {name: len(taken) for name, taken in net.seconds.items()} == {"cnn": 2, "contiguous": 2, "channels_last": 2}
    assert net.memory == {"cnn": 7, "contiguous": 7, "channels_last": 7}
    assert [name for name, _ in calls] == list(net.memory)
    assert {threads for _, threads in calls} == {cnn.get_num_threads()}
    assert (list(layer.seconds), layer.memory) == (["cnn", "contiguous"], {})
    assert layer.ratio > 0
    assert lines[0].startswith("1/2  train: resnet8, batch 8  ")
    assert "ratio" in lines[0]
    assert "memory 1.00 of PyTorch's" in lines[0]


def test_compiled_pytorch_does_our_work(monkeypatch):
    calls = []

    def compiled(model):
        return lambda x: calls.append(x.shape) or model(x)

    monkeypatch.setattr(torch, "compile", compiled)
    case = cases.training("lenet5", 8)
    model = ours.new_model(case)
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        theirs = worker.make_program(case, "channels_last", 1, stack)
        assert torch.get_num_threads() == 1
        run.check_results(case, ours.program(case, model, *case.data()), [theirs])
    assert torch.get_num_threads() == threads
    assert calls == [(8, 1, 28, 28)] * 2
