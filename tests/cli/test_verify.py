"""`cnn verify`: the table, the score, the vectors that were left out, and the exit status."""

import json
import re

import numpy as np
import pytest

from cnn.cli import verify as command
from cnn.layers import ReLU
from cnn.verify.check import FLOAT32, FLOAT64, NOT_OURS, NUMERIC, ONNX, Check, Omission
from cnn.verify.run import Verification


@pytest.fixture
def found(monkeypatch):
    """A generated result instead of the checks; a test may change it."""
    result = Verification({"layers": ["Conv2d", "ReLU"], "optimizers": ["Adam"]})
    result.checks = [
        Check("Conv2d", NUMERIC, "Conv2d(1, 2, 3), gradient of weight", 2e-10),
        Check("Conv2d", NUMERIC, "Conv2d(1, 2, 3), gradient of bias", 3e-10),
        Check("Conv2d", ONNX, "node/conv, Conv2d, y", 2e-4, tolerance=1e-3),
        Check("Adam", FLOAT64, "Adam(lr=0.1)", 0.0),
    ]
    result.left_out = [Omission("node", "abs", "Abs", NOT_OURS), Omission("node", "conv_1d", "Conv", "not 2-d")]
    result.vectors = {"node": (1, 1), "pytorch-converted": (0, 0)}
    result.torch, result.onnx, result.seconds = "2.13.0", "1.22.0", 12.3
    calls = []
    monkeypatch.setattr(command, "run_checks", lambda names, progress: (calls.append(names), result)[1])
    result.calls = calls
    return result


def cells(out, name):
    return next(line.split() for line in out.splitlines() if line.split()[:1] == [name])


def test_the_table_and_the_score(run, found):
    code, out, err = run("verify")
    assert (code, err) == (0, "")
    assert found.calls == [[]]
    assert cells(out, "Conv2d") == ["Conv2d", "2", "3.0e-10", "-", "-", "1", "2.0e-04*"]
    assert cells(out, "Adam") == ["Adam", "-", "1", "0.0e+00", "-", "-"]
    assert cells(out, "ReLU") == ["ReLU", "-", "-", "-", "-"]
    assert out.startswith("Each cell: the number of checks (passed/all if some failed) and the largest\n  error, max|")
    assert re.search(
        "^class +differences +torch float64 +torch float32 +ONNX\ntolerance +1e-06 +1e-10 +3e-05 +3e-05\n", out, re.M
    )
    assert out.endswith("\n4 of 4 checks passed, in 12 s\n")
    note = "* node/conv, Conv2d, y: expected values typed by hand with four digits, tolerance 1e-03"
    assert note in " ".join(out.split())
    assert "PyTorch 2.13.0\nonnx 1.22.0\nONNX vectors passed: 1 of 1 in node, 0 of 0 in pytorch-converted\n" in out
    assert "\x1b" not in out


def test_vectors_that_were_left_out(run, found):
    out = run("verify")[1]
    text = f"2 left out. {command.LEFT_OUT_RULE.format(1)} 1 {NOT_OURS} 1 not 2-d --left-out prints their names"
    assert text in " ".join(out.split())
    assert "conv_1d" not in out
    out = run("verify", "--left-out")[1]
    assert "\n          node/abs (Abs)\n     1  not 2-d\n          node/conv_1d (Conv)\n" in out
    assert "left out" not in run("verify", "conv2d")[1]
    code, out, err = run("verify", "conv2d", "--left-out")
    assert (code, out) == (2, "")
    assert "--left-out lists the vectors of all classes: omit the names" in err


def test_a_failure(run, found):
    found.checks.append(Check("ReLU", FLOAT64, "ReLU(), output", np.nan, "something odd"))
    found.checks.append(Check("ReLU", FLOAT64, "ReLU(), gradient", 0.5))
    code, out, err = run("verify")
    assert (code, err) == (1, "")
    assert cells(out, "ReLU") == ["ReLU", "-", "0/2", "inf", "-", "-"]
    assert "\nFAILED ReLU, torch float64: ReLU(), output: something odd\n" in out
    assert "\nFAILED ReLU, torch float64: ReLU(), gradient: off by 5.0e-01, more than 1e-10\n" in out
    assert out.endswith("\n4 of 6 checks passed, in 12 s\n")


def test_optional_packages_that_are_missing(run, found):
    blank = Verification({})
    found.torch, found.onnx, found.vectors, found.left_out = blank.torch, blank.onnx, {}, []
    code, out, _ = run("verify")
    assert code == 0
    assert " ".join(out.split()).endswith(
        "4 of 4 checks passed, against finite differences only: PyTorch and ONNX are not installed "
        "(pip install torch onnx==1.22.0)"
    )
    assert "PyTorch not installed; pip install torch\n" in out
    assert "onnx not installed; pip install onnx==1.22.0, which has the vectors\n" in out
    found.torch = "2.13.0"
    out = " ".join(run("verify")[1].split())
    assert out.endswith("passed, none of them against ONNX: ONNX is not installed (pip install onnx==1.22.0)")
    found.onnx = "1.23.0, without vectors; pip install onnx==1.22.0, the last version that has them"
    assert "ONNX with vectors is not installed" in " ".join(run("verify")[1].split())
    found.checks = []  # for example of a schedule without PyTorch
    assert run("verify")[0] == 1


def test_it_fits_into_eighty_columns(run, found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found.groups["schedules"] = ["CosineAnnealingWarmRestarts"]
    for source in (NUMERIC, FLOAT64, FLOAT32, ONNX):
        checks = [Check("CosineAnnealingWarmRestarts", source, "-", error) for error in [0.0] * 27 + [1.0]]
        found.checks += checks
    out = run("verify")[1]
    assert cells(out, "CosineAnnealingWarmRestarts") == ["CosineAnnealingWarmRestarts", *["27/28", "1e+00"] * 4]
    assert max(len(line) for line in out.splitlines() if not line.startswith("FAILED")) <= 80


def test_json(run, found):
    found.checks.append(Check("ReLU", FLOAT64, "ReLU(), output", np.inf, "something odd"))
    code, out, _ = run("verify", "--json")
    assert code == 1
    facts = json.loads(out)
    assert (facts["passed"], facts["total"], facts["torch"]) == (4, 5, "2.13.0")
    assert facts["checks"][2]["tolerance"] == 1e-3
    assert facts["checks"][-1] == {
        "class": "ReLU",
        "source": "torch float64",
        "what": "ReLU(), output",
        "error": None,
        "tolerance": 1e-10,
        "passed": False,
        "message": "something odd",
    }
    assert facts["left_out"] == {NOT_OURS: 1, "not 2-d": 1}
    facts = json.loads(run("verify", "--json", "--left-out")[1])
    assert facts["left_out"]["not 2-d"] == [{"folder": "node", "name": "conv_1d", "operator": "Conv"}]
    assert facts["vectors"]["node"] == {"passed": 1, "run": 1}


def test_names(run, found):
    run("verify", "relu", "Adam")
    assert found.calls == [["relu", "Adam"]]
    code, out, err = run("verify", "rellu")
    assert (code, out) == (2, "")
    assert err.startswith("cnn verify: error: unknown class 'rellu': did you mean ReLU?\n")
    assert err.endswith("\ntry: cnn verify --help\n")
    assert len(found.calls) == 1


def test_real_checks(run, monkeypatch):
    code, out, _ = run("verify", "relu")
    assert code == 0
    assert cells(out, "ReLU")[1] == "1"
    monkeypatch.setattr(ReLU, "backward", lambda self, grad: grad)
    code, out, _ = run("verify", "relu")
    assert code == 1
    assert "FAILED ReLU, differences: ReLU(), training, gradient of the input: " in out
