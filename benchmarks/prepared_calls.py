"""What prepared calls save for one image: the layers one after another; the recorded jobs while a user holds an array
of the model, so that all weights are compared at each call; and the recorded jobs alone; in turn.

Then what chunks save for batches: the whole batch at once, and chunks of several sizes.

python benchmarks/prepared_calls.py              # two threads, two minutes
python benchmarks/prepared_calls.py 4

Needs: pip install "cnn[fast]"
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import cnn
from cnn import zoo
from cnn.containers.fusion import prepared
from cnn.core import changes
from cnn.module import no_grad

NETS = {
    "small-cnn": (zoo.small_cnn, (1, 28, 28)),
    "LeNet-5": (zoo.lenet5, (1, 28, 28)),
    "ResNet-20": (zoo.resnet, (3, 32, 32)),
    "MobileNet-like": (zoo.mobilenet, (3, 32, 32)),
    "MobileNet-like, 224 x 224": (lambda: zoo.mobilenet((3, 224, 224)), (3, 224, 224)),
    "EfficientNet-Lite0, 224 x 224": (zoo.efficientnet_lite0, (3, 224, 224)),
}
ROUNDS, SECONDS = 9, 0.1
CHUNKS = (1 << 40, 2 << 20, 4 << 20, 8 << 20)  # bytes of the arrays between the layers
BATCHES = (
    *((name, batch) for name in ("small-cnn", "ResNet-20", "MobileNet-like") for batch in (64, 256)),
    ("MobileNet-like, 224 x 224", 8),
)


def median_of_turn(call: Callable[[], object]) -> float:
    """Return the median time of calls for some time, in ms; the first third does not count."""
    elapsed: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(elapsed) < 6:
        began = time.perf_counter()
        call()
        elapsed.append(1000 * (time.perf_counter() - began))
    return statistics.median(elapsed[len(elapsed) // 3 :])


def times(model: cnn.Sequential, x: np.ndarray) -> list[float]:
    """Return the medians of the three ways, in ms."""

    def layers() -> None:
        changes.note()  # as if a setting had changed, so that no recorded jobs may be used
        model(x)

    turns: list[list[float]] = [[], [], []]
    with no_grad():
        for _ in range(ROUNDS):
            turns[0].append(median_of_turn(layers))
            array = model.parameters()[0].data
            turns[1].append(median_of_turn(lambda: model(x)))
            del array
            turns[2].append(median_of_turn(lambda: model(x)))
    return [statistics.median(turn) for turn in turns]


def times_of_chunks(make: Callable[[], cnn.Sequential], x: np.ndarray) -> list[float]:
    """Return the medians for chunks of each of `CHUNKS`, in ms an image."""
    models = [make().eval() for _ in CHUNKS]
    turns: list[list[float]] = [[] for _ in CHUNKS]
    before = prepared.CHUNK_BYTES
    with no_grad():
        for _ in range(ROUNDS):
            for model, nbytes, turn in zip(models, CHUNKS, turns, strict=True):
                prepared.CHUNK_BYTES = nbytes
                turn.append(median_of_turn(lambda model=model: model(x)) / len(x))
    prepared.CHUNK_BYTES = before
    return [statistics.median(turn) for turn in turns]


def main(threads: int = 2) -> None:
    """Print a row for each net, and one for each batch."""
    cnn.set_num_threads(threads)
    print(f"one image, {threads} threads, ms: layers, jobs with compared weights, jobs; jobs / layers")
    for name, (make, shape) in NETS.items():
        x = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
        one, compared, alone = times(make().eval(), x)
        print(f"{name:30} {one:8.3f} {compared:8.3f} {alone:8.3f} {alone / one:6.2f}")
    print("ms an image of a batch: the whole batch at once, chunks of 2, 4 and 8 MB")
    for name, batch in BATCHES:
        make, shape = NETS[name]
        x = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
        print(f"{name:26} {batch:3}", *(f"{found:8.3f}" for found in times_of_chunks(make, x)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
