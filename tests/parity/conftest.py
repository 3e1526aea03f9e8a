"""Everything in this folder compares with PyTorch: `pytest -m "not parity"` leaves it out, and runs without PyTorch."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path, config):
    """Do not even import these files where they are deselected: PyTorch may be missing then."""
    if collection_path.is_relative_to(HERE) and "not parity" in (config.option.markexpr or ""):
        return True
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.parity)
