"""The libraries that this one is compared with: which cases they can do, and what is missing."""

import importlib.util

import pytest

from cnn.bench import bench, opponents
from cnn.bench.cases import choose
from cnn.bench.nets import resnet18


def hide(monkeypatch, *names):
    real = importlib.util.find_spec
    monkeypatch.setattr(opponents.importlib.util, "find_spec", lambda name: None if name in names else real(name))


@pytest.mark.parametrize(
    ("against", "missing", "message"),
    [
        ("onnxruntime", ["onnxruntime"], "needs onnxruntime, which is not installed: pip install onnxruntime$"),
        (
            "openvino",
            ["openvino", "onnx"],
            r'needs onnx and openvino, .* are not .*: pip install "cnn\[onnx\]" openvino$',
        ),
        ("torch-compile", ["torch"], "--against torch-compile needs torch, which is not installed: pip install torch$"),
    ],
)
def test_what_is_not_installed(monkeypatch, against, missing, message):
    hide(monkeypatch, *missing)
    with pytest.raises(ValueError, match=message):
        bench("mlp", against=against, rounds=1, seconds=0)


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(opponents.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("CXX", "a-compiler-that-does-not-exist")
    with pytest.raises(ValueError, match=r"torch-compile needs a C\+\+ compiler, and none was found: install one"):
        bench("mlp", against="torch-compile", rounds=1, seconds=0)
    monkeypatch.setattr(opponents.shutil, "which", lambda name: f"/bin/{name}")
    assert opponents.cpp_compiler() == "/bin/a-compiler-that-does-not-exist"


def test_only_what_the_opponent_can_do(monkeypatch):
    timed, _ = choose("large-images")
    found = opponents.measurable(timed, "large-images", "onnxruntime")
    assert [case.name for case in found] == [
        f"{net}, batch {batch}" for batch in (1, 8) for net in ("resnet18", "mobilenet-224")
    ]
    assert [case.name for case in opponents.measurable(timed, "large-images", "torch-compile")] == [
        "resnet18-128, batch 8"
    ]
    monkeypatch.setattr(opponents, "check_installed", lambda against: None)
    with pytest.raises(ValueError, match=r"in inference only, and the suite 'train' has none: try cnn bench inference"):
        bench("train", against="openvino", rounds=1, seconds=0)
    assert not opponents.in_own_process("torch")
    assert not opponents.in_own_process(None)


def test_the_suites_that_are_not_in_all():
    small, memory = choose("small-images")
    assert (len(small), memory) == (12, [])
    assert {(case.subject, case.batch) for case in small} == {
        (net, batch) for net in ("small-cnn", "lenet5", "resnet20", "mobilenet") for batch in (1, 64, 256)
    }
    assert [case.name for case in choose("ResNet18")[0]] == ["resnet18, batch 1", "resnet18, batch 8"]
    everything = {case.subject for case in choose("all")[0]}
    assert not everything & {"resnet18", "resnet18-128", "mobilenet-224"}


def test_resnet18_has_the_shapes_of_the_paper():
    shapes = resnet18().build((3, 224, 224))
    sides = [shape for shape in shapes.values() if len(shape) == 3 and shape[1] > 1]
    assert (sides[0], sides[-1]) == ((64, 112, 112), (512, 7, 7))
    assert list(shapes.values())[-1] == (1000,)
