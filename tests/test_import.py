"""What `import cnn` loads, and the public names."""

import pkgutil
import subprocess
import sys

import cnn

LAZY = [
    "safetensors",
    "threadpoolctl",
    "pooch",
    "requests",
    "rich",
    "matplotlib",
    "PIL",
    "numba",
    "torch",
    "onnx",
    "scipy",
    "mpi4py",
    "starlette",
    "uvicorn",
]


def test_import_loads_only_numpy():
    """All other dependencies are imported when they are used."""
    code = f"import sys, cnn; print(*[name for name in {LAZY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == []


def test_every_module_imports_and_public_names_are_sorted():
    for info in pkgutil.walk_packages(cnn.__path__, "cnn."):
        if info.name == "cnn.__main__":
            continue
        module = __import__(info.name, fromlist=["__all__"])
        names = list(getattr(module, "__all__", []))
        assert all(hasattr(module, name) for name in names), info.name
        if info.ispkg and names:
            assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name)), info.name
