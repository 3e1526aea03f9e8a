"""Settings for all tests: what hypothesis draws is the same in every run, so a failure can be seen again."""

import os
import signal

import pytest
from hypothesis import settings

from cnn.core.interrupts import SIGNALS

pytest.register_assert_rewrite("tests.conformance", "tests.gradcheck")

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.register_profile("random", derandomize=False, deadline=None, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(autouse=True)
def usual_terminal():
    """Let no setting of the terminal or the machine that runs the tests decide how progress is shown."""
    with pytest.MonkeyPatch.context() as patch:  # of its own: a test's monkeypatch ends before the fixtures it needs
        for name in ("CI", "NO_PROGRESS", "COLUMNS"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm")
        yield


@pytest.fixture
def archives(pytestconfig):
    """Return the folder where downloaded packages stay between runs: pytest's own, in the repository."""
    return pytestconfig.cache.mkdir("models")


@pytest.fixture
def restored_handlers():
    """The test restores the signal handlers."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
