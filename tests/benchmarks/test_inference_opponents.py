"""benchmarks/inference_opponents.py and roofline.py: the table, and the work of a net; nothing is measured."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from cnn.bench.cases import Case, inference
from cnn.layers import Conv2d, MaxPool2d, ReLU
from cnn.sequential import Sequential

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def stored(batch, others, **seconds):
    return {"net": "mlp", "batch": batch, "median_s": seconds, "turns": 7, "others_share": others}


def test_the_table(script):
    opponents = script("inference_opponents")
    cases = [
        stored(1, 0.25, cnn=0.002, contiguous=0.004, channels_last=0.003, onnxruntime=0.001),
        stored(64, None, cnn=0.02, contiguous=0.04, onnxruntime=0.08),
        stored(256, 0.1, cnn=0.04, contiguous=0.04, onnxruntime=0.04),
    ]
    found = {"machine": {"processor": "Fast 1000", "threads": 2}, "versions": {"PyTorch": "2.13.0"}, "cases": cases}
    lines = opponents.table(found)
    assert lines[0] == "| net | batch | cnn | PyTorch | ONNX Runtime | cnn / PyTorch | cnn / ONNX Runtime |"
    assert lines[2] == "| mlp | 1 | 2 | 3 | 1 | 0.67 | 2.00 |"  # the faster format counts
    assert lines[-2] == "| geometric mean | batch 1 | | | | 0.67 | 2.00 |"
    assert lines[-1] == "| geometric mean | larger batches | | | | 0.71 | 0.50 |"
    assert len({line.count("|") for line in lines}) == 1
    assert opponents.summary(found).startswith("Fast 1000, 2 threads; PyTorch 2.13.0; median milliseconds of 7 turns")
    assert "at most 25% of the processors" in opponents.summary(found)


def test_the_work_of_a_net(script):
    roofline = script("roofline")
    net = Case("inference", "net", 1, (3, 4, 4), 2, lambda: Sequential([Conv2d(3, 2, 3), ReLU(), MaxPool2d(2)]))
    operations, size = roofline.work(net)
    assert operations == 2 * (2 * 2 * 2 * 27)
    assert size == 4 * (3 * 16 + (2 * 27 + 2) + 2 * (8 + 2))  # image, weights, outputs of the convolution and the pool
    assert all(np.prod(inference(name, 1).shape) for name in roofline.NETS)
