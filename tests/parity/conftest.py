"""All tests in this folder compare with PyTorch: `pytest -m "not parity"` skips them and runs without PyTorch."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path, config):
    """Do not import these files if they are deselected: PyTorch may not be installed."""
    if collection_path.is_relative_to(HERE) and "not parity" in (config.option.markexpr or ""):
        return True
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.parity)
