"""The main job, on the real data: train from scratch, evaluate, predict."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from cnn.data import FASHION_MNIST, fashion_mnist
from tests.cli.example_files import json_lines

pytestmark = [pytest.mark.slow, pytest.mark.data]

PEAK = """
import sys
from cnn.cli.main import main
status = main(sys.argv[1:])
try:
    import resource  # not on Windows
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
except ImportError:
    pass
sys.exit(status)
"""


def cnn(*arguments, cwd):
    return subprocess.run([sys.executable, "-c", PEAK, *arguments], cwd=cwd, capture_output=True, text=True, check=True)


def test_the_default_training_reaches_091_and_its_run_folder_can_predict(tmp_path):
    trained = cnn("train", "fashion-mnist", "--json", "--out", "run", cwd=tmp_path)
    result = json.loads(trained.stdout[trained.stdout.index("{") : trained.stdout.rindex("}") + 1])
    assert len(result["history"]) <= 5
    assert result["test_accuracy"] >= 0.91
    if sys.platform == "linux":  # the unit of ru_maxrss is that of Linux
        assert int(trained.stderr.split()[-1]) < 1.5 * 1024**2
    files = {path.name for path in (tmp_path / "run").iterdir()}
    plots = {"curves.png", "confusion.png", "mistakes.png"}
    assert files == {"checkpoints", "config.json", "history.jsonl", "times.jsonl", "model.safetensors", *plots}

    evaluated = json.loads(cnn("evaluate", "run", "--json", cwd=tmp_path).stdout)
    assert evaluated["accuracy"] == result["test_accuracy"]

    _, _, x_test, y_test = fashion_mnist()
    names = []
    for i in range(20):
        names.append(f"{i}.png")
        Image.fromarray(x_test[i, 0]).resize((280, 280), Image.Resampling.BICUBIC).save(tmp_path / names[-1])
    predicted = json_lines(cnn("predict", "run", *names, "--json", cwd=tmp_path).stdout)
    top = [image["classes"][0]["name"] for image in predicted]
    correct = [name == FASHION_MNIST.class_names[label] for name, label in zip(top, y_test[:20], strict=True)]
    assert sum(correct) >= 17
