"""docs/results.md says what the stored results say."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"


def table(script):
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--table"]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout.strip()


@pytest.mark.parametrize("script", ["recipes.py", pytest.param("search.py", marks=pytest.mark.parity)])
def test_the_tables_are_those_of_the_stored_results(script):
    assert table(script) in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def accuracies(recipe, library):
    paths = sorted(RESULTS.glob(f"{recipe}-{library}-*.json"))
    return [json.loads(path.read_text(encoding="utf-8"))["test_accuracy"] for path in paths]


@pytest.mark.parametrize("recipe", ["best", "fast", "default"])
def test_pytorch_reaches_the_same(recipe):
    """Within two standard errors of the difference."""
    ours, theirs = accuracies(recipe, "cnn"), accuracies(recipe, "torch")
    error = (statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)) ** 0.5
    assert abs(statistics.mean(ours) - statistics.mean(theirs)) <= 2 * error
