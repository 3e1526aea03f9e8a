"""Training from a file that is larger than memory might be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CODE = """
import sys
import numpy as np
import cnn
from cnn.data import DataLoader, Normalize
from cnn.layers import AvgPool2d, Flatten, Linear
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD

def anonymous():
    text = open("/proc/self/status").read()
    return int(text.split("RssAnon:")[1].split()[0]) // 1024  # MiB

y = np.arange(1024) % 2
loader = DataLoader(sys.argv[1], y, batch_size=4, rng=0, transforms=[Normalize(0.5, 0.25)])
layers = [AvgPool2d(64), Flatten(), Linear(1024, 2, rng=0)]
model = cnn.Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=SGD(lr=0.01))
most = 0
for step in cnn.training.train(model, loader, epochs=1):
    most = max(most, anonymous())
print(step.step, most)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_four_gigabytes(tmp_path):
    path = tmp_path / "images.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1024, 1, 2048, 2048))  # a sparse file
    del images
    assert path.stat().st_size > 4 * 1024**3
    done = subprocess.run([sys.executable, "-c", CODE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps, most = map(int, done.stdout.split())
    print(f"{steps} steps, at most {most} MiB of anonymous memory")
    assert steps == 256
    assert most < 1024
