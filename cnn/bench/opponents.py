"""The libraries that this one is compared with: what they are called, what they can do, whether they are installed."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys

from cnn.bench.cases import INFERENCE, TRAIN, Case

TORCH, TORCH_COMPILE, ONNXRUNTIME, OPENVINO, NOTHING = "torch", "torch-compile", "onnxruntime", "openvino", "nothing"
OPPONENTS = (TORCH, TORCH_COMPILE, ONNXRUNTIME, OPENVINO, NOTHING)
NAMES = {
    TORCH: "PyTorch",
    TORCH_COMPILE: "compiled PyTorch",
    ONNXRUNTIME: "ONNX Runtime",
    OPENVINO: "OpenVINO",
    NOTHING: "PyTorch",  # the one that is left out
}
ONLY = {TORCH_COMPILE: TRAIN, ONNXRUNTIME: INFERENCE, OPENVINO: INFERENCE}  # the kind of case; the others do all
PACKAGES = {TORCH_COMPILE: ("torch",), ONNXRUNTIME: ("onnx", "onnxruntime"), OPENVINO: ("onnx", "openvino")}


def in_own_process(against: str | None) -> bool:
    """Return whether this library and the opponent are measured in processes of their own."""
    return against in PACKAGES


def check_installed(against: str) -> None:
    """Raise a ValueError with the command that installs what is missing."""
    missing = [name for name in PACKAGES[against] if importlib.util.find_spec(name) is None]
    if missing:
        wanted = ['"cnn[onnx]"' if name == "onnx" else name for name in missing]
        verb = "is" if len(missing) == 1 else "are"
        raise ValueError(
            f"--against {against} needs {' and '.join(missing)}, which {verb} not installed: "
            f"pip install {' '.join(wanted)}"
        )
    if against == TORCH_COMPILE and not cpp_compiler():
        raise ValueError(
            "--against torch-compile needs a C++ compiler, and none was found: install one (on Debian: apt install "
            "g++), or set the environment variable CXX to the path of yours"
        )


def version(against: str) -> str:
    """Return the version of an opponent that is installed."""
    return importlib.metadata.version(PACKAGES[against][-1])


def cpp_compiler() -> str | None:
    """Return the path of the C++ compiler that PyTorch would use, or None."""
    wanted = os.environ.get("CXX")
    usual = ["cl"] if sys.platform == "win32" else ["clang++"] if sys.platform == "darwin" else ["g++"]
    return next((path for name in ([wanted] if wanted else usual) if (path := shutil.which(name))), None)


def measurable(cases: list[Case], suite: str, against: str) -> list[Case]:
    """Return the cases that an opponent can do.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = [case for case in cases if case.kind == ONLY[against]]
    if not found:
        kind = {TRAIN: "training", INFERENCE: "inference"}[ONLY[against]]
        raise ValueError(
            f"{NAMES[against]} is compared in {kind} only, and the suite {suite!r} has none: "
            f"try cnn bench {ONLY[against]} --against {against}"
        )
    return found


def program_names(case: Case, against: str) -> tuple[str, ...]:
    """Return the names of the programs of a case: one for each memory format of PyTorch, one for the others."""
    if against != TORCH_COMPILE:
        return (against,)
    from cnn.bench import pytorch  # only when needed: importing PyTorch takes a second

    return pytorch.formats(case)
