"""Settings for all tests: what hypothesis draws is the same in every run, so a failure can be seen again."""

import os

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.conformance", "tests.gradcheck")

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.register_profile("random", derandomize=False, deadline=None, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch):
    """Let no setting of the terminal or the machine that runs the tests decide how progress is shown."""
    for name in ("CI", "NO_PROGRESS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def archives(pytestconfig):
    """Return the folder where downloaded packages stay between runs: pytest's own, in the repository."""
    return pytestconfig.cache.mkdir("models")
