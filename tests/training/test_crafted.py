"""Crafted checkpoints and model files: each works or raises one clear error; none crashes, hangs or raises raw errors."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="it stops what hangs with a timer signal")


def test_hundreds_of_crafted_files(tmp_path):
    script = Path(__file__).with_name("crafted.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "0", "1"], capture_output=True, text=True, timeout=300
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    results = [(json.loads(case), *json.loads(result)) for case, result in (line.split("\t") for line in lines)]
    raw = [(case["case"], message) for case, kind, message in results if kind == "raw"]
    assert raw == []
    counts = Counter((case["kind"], kind) for case, kind, _ in results)
    assert counts["checkpoint", "error"] > 300
    assert counts["model", "error"] > 300
    assert counts["checkpoint", "works"] > 30  # it does not refuse everything
    assert counts["model", "works"] > 30
    for case, kind, message in results:
        if kind == "error" and case["kind"] == "model":
            assert "model.safetensors" in message, case
        if kind == "error" and message.startswith("ValueError") and case["kind"] == "checkpoint":
            pytest.fail(f"{case}: not a CheckpointError: {message}")
