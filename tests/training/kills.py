"""Kill training runs with SIGKILL at random moments, resume them, and compare the result with an uninterrupted run.

``python -m tests.training.kills --runs 20`` tries 20 runs; the test in test_kills.py tries three.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EPOCHS = 4
OTHER_FILES = ("history.jsonl", "history.csv", "model.safetensors")  # besides the last checkpoint


def train(folder: Path) -> None:
    """Train with everything that has a state, resume if the folder has checkpoints, and save the model at the end."""
    import cnn
    from cnn.data import DataLoader, HorizontalFlip, Normalize, RandomCrop, RandomErasing
    from cnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Softmax
    from cnn.loss import CrossEntropyLoss
    from cnn.optim import Adam, CosineAnnealingLR
    from cnn.training import Averaged, Checkpoint, CSVLog, EarlyStopping, JSONLinesLog, Scheduled

    cnn.manual_seed(5)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 900)
    x = rng.integers(0, 90, (900, 1, 16, 16)).astype(np.uint8)
    for label in range(3):
        x[y == label, :, 4 * label : 4 * label + 6] += np.uint8(120)
    validation = x[:100] / np.float32(255), y[:100]
    augmented = RandomCrop(2), HorizontalFlip(), RandomErasing(), Normalize(mean=0.3, std=0.3)
    loader = DataLoader(x, y, batch_size=20, rng=1, transforms=augmented)
    model = cnn.Sequential(
        [
            *(Conv2d(1, 8, 3, padding=1, bias=False), BatchNorm2d(8), ReLU(), MaxPool2d(2)),
            *(Conv2d(8, 16, 3, padding=1), ReLU(), MaxPool2d(2), Dropout(0.2)),
            *(Flatten(), Linear(256, 32), ReLU(), Dropout(0.5), Linear(32, 3), Softmax()),
        ],
        loss_func=CrossEntropyLoss(),
        optimizer=Adam(lr=0.003),
    )
    schedule = CosineAnnealingLR(model.optimizer, EPOCHS * len(loader))
    model.fit(
        loader,
        validation_data=validation,
        epochs=EPOCHS,
        verbose_freq=0,
        resume=folder / "checkpoints" if (folder / "checkpoints").is_dir() else None,
        callbacks=[
            Scheduled(schedule, every="step"),
            Averaged(decay=0.9),
            EarlyStopping(patience=10),
            JSONLinesLog(folder / "history.jsonl"),
            CSVLog(folder / "history.csv"),
            Checkpoint(folder / "checkpoints", steps=3, keep=2, best="val_loss"),
        ],
    )
    model.save(folder / "model.safetensors")


def start(folder: Path) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.kills", "--train", str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]") -> None:
    _, text = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"training failed with {process.returncode}:\n{text.decode()}")


def results(folder: Path) -> dict[str, bytes]:
    """Return the content of the files that must be identical."""
    last = sorted((folder / "checkpoints").glob("step-*"))[-1]
    paths = [last, folder / "checkpoints" / "best.safetensors", *(folder / name for name in OTHER_FILES)]
    return {path.name: path.read_bytes() for path in paths}


def kill_some(folder: Path, duration: float, rng: random.Random) -> int:
    """Start training and kill it, up to four times, unless it ends earlier; return the number of kills."""
    for kills in range(rng.choice([1, 1, 2, 2, 3, 4])):
        process = start(folder)
        # sometimes soon after the previous kill
        time.sleep(rng.uniform(0.2, 1.0) * duration if rng.random() < 0.8 else rng.uniform(0, 0.3) * duration)
        if process.poll() is not None:
            finish(process)
            return kills
        process.kill()
        process.communicate()
    return kills + 1


def try_kills(runs: int, seed: int, out: Path) -> int:
    """Kill and resume this many training runs; return the number of kills."""
    finish(start(out / "uninterrupted"))  # compiles, if need be
    finish(start(out / "again"))
    expected = results(out / "uninterrupted")
    assert results(out / "again") == expected, "two uninterrupted runs differ"
    began = time.monotonic()
    finish(start(out / "timed"))
    duration = time.monotonic() - began
    rng, kills = random.Random(seed), 0
    for run in range(runs):
        folder = out / f"run-{run}"
        killed = 0
        while not killed:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that ended before it was killed
            killed = kill_some(folder, duration, rng)
        kills += killed
        finish(start(folder))
        found = results(folder)
        different = [name for name in expected if found.get(name) != expected[name]]
        assert not different, f"run {run} ends with a different {different}"
        assert set(found) == set(expected)
        print(f"run {run + 1}: identical files, {kills} kills so far", flush=True)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train is not None:
        train(args.train)
        return
    with tempfile.TemporaryDirectory() as folder:
        kills = try_kills(args.runs, args.seed, Path(folder))
    print(f"{args.runs} training runs, {kills} kills: all end with the same bytes as the uninterrupted run")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
