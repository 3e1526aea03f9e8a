"""`cnn.verify`: it covers all classes, passes, and detects errors."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn import layers, loss, optim
from cnn.layers import ReLU
from cnn.loss import MSELoss
from cnn.module import Module
from cnn.optim import SGD, StepLR
from cnn.verify import cases, verify
from cnn.verify import run as run_module
from cnn.verify.check import FLOAT32, FLOAT64, NUMERIC, ONNX, compare
from cnn.verify.run import choose, public_classes

ALL_CASES = cases.all_cases()


@pytest.fixture(scope="module")
def everything():
    """The results of all checks, computed once."""
    return verify()


def test_every_public_class_has_a_case():
    classes = [name for names in public_classes().values() for name in names]
    assert set(classes) == {case.name for case in ALL_CASES}
    for module in (layers, loss, optim):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and value not in (loss.LossFunc, optim.Optimizer, optim.Schedule):
                assert value.__name__ in classes


def test_every_case_builds_the_class_of_its_name():
    for case in cases.LAYERS + cases.LOSSES:
        assert type(case.make()).__name__ == case.name
    for case in cases.OPTIMIZERS:
        assert type(case.build(optim, [cnn.Parameter(np.ones((2, 2)))])).__name__ == case.name
    for case in cases.SCHEDULES:
        assert type(case.build(optim, SGD(lr=0.4, momentum=0.9))).__name__ == case.name


@pytest.mark.parity
def test_all_checks_pass(everything):
    assert [str(check) for check in everything.failures] == []
    assert len(everything.checks) >= 800


@pytest.mark.parity
def test_every_class_is_compared_with_pytorch_in_both_dtypes(everything):
    for kind, names in everything.groups.items():
        for name in names:
            assert everything.of(name, FLOAT64), name
            assert bool(everything.of(name, FLOAT32)) == (kind in ("layers", "containers", "losses")), name
            assert bool(everything.of(name, NUMERIC)) == (kind in ("layers", "containers", "losses")), name


@pytest.mark.parity
def test_the_onnx_vectors_that_ran_and_those_left_out(everything):
    from cnn.verify import onnx_run, onnx_vectors

    assert everything.vectors == {"node": (265, 265), "pytorch-converted": (53, 53)}
    ran = sum(count for _, count in everything.vectors.values())
    assert ran + len(everything.left_out) == len(list(onnx_vectors.vectors()))
    assert len(everything.of("Conv2d", ONNX)) == 17
    assert all(
        check.tolerance == 3e-5
        for check in everything.checks
        if check.source == ONNX and "typed" not in check.what and onnx_run.ROUNDED[0] not in check.what
    )
    known = {*onnx_run.KNOWN, *onnx_run.TRAINING}
    for omission in everything.left_out:
        if omission.reason in (onnx_run.NO_MODULE, onnx_run.NOT_OURS) and omission.operator in known:
            assert omission.operator == "Resize"  # of which PyTorch has more modes


def test_classes_are_chosen_by_name():
    assert choose(["CONV2D", "mse", "steplr", "Sum"]) == {
        "layers": ["Conv2d"],
        "containers": ["Sum"],
        "losses": ["MSELoss"],
        "schedules": ["StepLR"],
    }
    assert choose([]) == public_classes()
    assert choose(["conv_transpose2d", "cross_entropy_loss"]) == choose(["ConvTranspose2d", "CrossEntropyLoss"])
    with pytest.raises(ValueError, match=r"^unknown class 'Conv2': did you mean Conv2d\?$"):
        choose(["Conv2"])
    with pytest.raises(ValueError, match=r"^unknown class 'spiral'; there are:\nlayers: Adaptive") as found:
        choose(["spiral"])
    assert max(map(len, str(found.value).splitlines())) <= 78
    assert all(name in str(found.value) for names in public_classes().values() for name in names)
    with pytest.raises(ValueError, match="unknown class 'LossFunc'"):
        choose(["LossFunc"])


def test_a_class_without_a_case_is_a_failure(monkeypatch):
    monkeypatch.setattr(cases, "LAYERS", [case for case in cases.LAYERS if case.name != "ReLU"])
    failures = verify(["ReLU"]).failures
    assert [str(check) for check in failures] == ["ReLU, differences: -: it has no case in cnn/verify/cases.py"]


def test_a_wrong_backward_is_detected(monkeypatch):
    right = ReLU.backward
    monkeypatch.setattr(ReLU, "backward", lambda self, grad: 2 * right(self, grad))
    (failure,) = [check for check in verify(["ReLU"]).failures if check.source == NUMERIC]
    assert failure.what == "ReLU(), training, gradient of the input"
    assert failure.error == pytest.approx(1)
    assert "gradient of the input: off by 1.0e+00; likely cause: it is N = 2 times the correct gradient" in str(failure)


def test_a_layer_that_raises_is_a_failure(monkeypatch):
    def forward(self, x):
        raise ValueError("too odd")

    monkeypatch.setattr(ReLU, "forward", forward)
    failures = verify(["ReLU"]).failures
    assert any(str(check) == "ReLU, differences: gradients: ValueError: too odd" for check in failures)


@pytest.mark.parity
def test_a_layer_that_cannot_be_built_from_a_vector_is_a_failure(monkeypatch):
    def __init__(self, alpha):  # noqa: N807
        raise ValueError("no alpha")

    from cnn.verify import onnx_run, onnx_vectors

    monkeypatch.setattr(layers.CELU, "__init__", __init__)
    (vector,) = [vector for vector in onnx_vectors.vectors() if vector.ops == ("Celu",)]
    assert (
        str(onnx_run.check_vector(vector, ["CELU"])) == "Celu, ONNX: node/celu: NoLayerError: node 'Y': CELU: no alpha"
    )
    monkeypatch.setattr(onnx_vectors, "vectors", lambda: [vector])
    assert len(onnx_run.run(["ReLU"], everything=True).checks["node"]) == 1
    assert len(onnx_run.run(["ReLU"], everything=False).checks["node"]) == 0


@pytest.mark.parity
def test_wrong_numbers_are_detected_by_pytorch_and_onnx(monkeypatch):
    monkeypatch.setattr(
        ReLU, "forward", lambda self, x: (self.save_for_backward(x > 0, x.dtype), np.maximum(x, 1e-3))[1]
    )
    sources = {check.source for check in verify(["ReLU"]).failures}
    assert sources >= {FLOAT64, FLOAT32, ONNX}


@pytest.mark.parity
def test_a_wrong_loss_optimizer_and_schedule_are_detected(monkeypatch):
    monkeypatch.setattr(MSELoss, "backward", lambda self, grad=None: self.saved()[0])
    assert {check.source for check in verify(["MSELoss"]).failures} == {NUMERIC, FLOAT64, FLOAT32}

    def update(self, parameter, grad, state):
        state["b"] = np.zeros_like(grad)
        parameter.data = parameter.data - self.lr * grad

    monkeypatch.setattr(SGD, "update", update)
    assert {check.source for check in verify(["SGD"]).failures} == {FLOAT64, ONNX}
    monkeypatch.setattr(StepLR, "factor", lambda self, t: 0.5 ** (t // 14))
    assert [check.source for check in verify(["StepLR"]).failures] == [FLOAT64]


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_without_pytorch_or_onnx_the_rest_runs(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    for file in ("pytorch", "onnx_run", "onnx_vectors"):
        monkeypatch.delitem(sys.modules, f"cnn.verify.{file}", raising=False)
        monkeypatch.delattr(cnn.verify, file, raising=False)
    result = verify(["ReLU"])
    assert getattr(result, name) == getattr(run_module, f"GET_{name.upper()}")
    assert bool(result.of("ReLU", NUMERIC)) is True
    assert bool(result.of("ReLU", FLOAT64 if name == "torch" else ONNX)) is False
    assert not result.failures


@pytest.mark.parity
def test_an_onnx_without_vectors_says_so(monkeypatch, tmp_path):
    from cnn.verify import onnx_vectors

    monkeypatch.setattr(onnx_vectors, "folder", lambda: tmp_path)
    result = verify(["ReLU"])
    assert "without vectors; pip install onnx==1.22.0" in result.onnx
    assert not result.failures


def test_other_shapes_dtypes_and_nan_do_not_agree():
    a = np.ones(3, np.float32)
    assert compare("x", ONNX, "y", a, a).passed
    assert not compare("x", ONNX, "y", a, a[:2]).passed
    assert "float32 of shape (3,), not float64 of shape (3,)" in str(compare("x", ONNX, "y", a, a.astype(float)))
    assert not compare("x", ONNX, "y", a, a * np.nan).passed
    assert compare("x", ONNX, "y", a * np.nan, a * np.nan).passed


def test_cnn_does_not_import_it():
    code = "import sys, cnn; print([n for n in sys.modules if n.startswith(('cnn.verify', 'torch', 'onnx'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_cases_have_random_parameters_and_statistics():
    """So that no zero hides an error."""
    for case in cases.LAYERS:
        made = case.make()
        assert isinstance(made, Module)
        assert all(np.ptp(parameter.data) > 0 or parameter.size == 1 for parameter in made.parameters())
        running = [tensor.data for name, tensor in made.named_tensors() if name.endswith("running_mean")]
        assert all(array.any() for array in running)


@pytest.mark.parity
def test_the_page_about_correctness_quotes_the_results(everything):
    page = " ".join((Path(__file__).parents[2] / "docs" / "correctness.md").read_text(encoding="utf-8").split())
    passed, total = len(everything.checks) - len(everything.failures), len(everything.checks)
    assert f"{passed:,} of {total:,} checks pass" in page
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    vectors = sum(count for _, count in everything.vectors.values())
    measurements = (Path(__file__).parents[2] / "docs" / "measurements.md").read_text(encoding="utf-8")
    for text in (readme, measurements):
        assert f"{passed:,} of {total:,} checks pass, {vectors} of ONNX's vectors among them" in text
    ran = {folder: count for folder, (_, count) in everything.vectors.items()}
    assert f"{ran['node']} of ONNX's node vectors and {ran['pytorch-converted']} of its pytorch-converted ones" in page
    assert f"{len(everything.left_out):,} vectors are left out" in page
    for count in Counter(omission.reason for omission in everything.left_out).values():
        assert f"({count})" in page


def test_the_examples_on_that_page_name_the_errors(capsys):
    page = (Path(__file__).parents[2] / "docs" / "correctness.md").read_text(encoding="utf-8")
    shapes, gradients = (block.split("```")[0] for block in page.split("```python\n")[1:])
    exec(shapes, {})
    assert "Linear.bias must have shape (2,), as the settings of the layer say, got (4,)" in capsys.readouterr().out
    exec(gradients, {})
    assert "factor" in capsys.readouterr().out
