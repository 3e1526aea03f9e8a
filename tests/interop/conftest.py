"""Tests of ONNX files run them elsewhere: `pytest -m "not parity"` skips them and needs no onnx, onnxruntime or OpenCV."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def is_onnx_test(path):
    return path.parent == HERE and path.name.startswith("test_onnx")


def pytest_ignore_collect(collection_path, config):
    """Do not import these files if they are deselected: what they need may not be installed."""
    if is_onnx_test(collection_path) and "not parity" in (config.option.markexpr or ""):
        return True
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if is_onnx_test(item.path):
            item.add_marker(pytest.mark.parity)
