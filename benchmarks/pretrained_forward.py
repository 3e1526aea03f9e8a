"""How long EfficientNet-Lite0 takes for one image of 224 x 224: in turn with onnxruntime, which runs its ONNX file.

A turn is several calls, of which the first ones do not count: the threads of the other program still poll for work, and
take the cores.

python benchmarks/pretrained_forward.py              # two threads each, one image
python benchmarks/pretrained_forward.py 1 16         # one thread, batches of 16

Needs: pip install "cnn[fast,onnx,pretrained]" onnxruntime
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

import cnn
from cnn import zoo
from cnn.interop import onnx

ROUNDS, WARM, CALLS = 15, 5, 10  # turns of each; calls in a turn that do not count, and that do


def seconds(run: Callable[[], np.ndarray]) -> float:
    """Return the median time of the calls of a turn."""
    elapsed = []
    for _ in range(WARM + CALLS):
        began = time.perf_counter()
        run()
        elapsed.append(time.perf_counter() - began)
    return statistics.median(elapsed[WARM:])


def main(threads: int = 2, batch: int = 1) -> None:
    """Print the median times of both, the ratio, and how far their outputs differ."""
    cnn.set_num_threads(threads)
    model = zoo.efficientnet_lite0(pretrained=True).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lite0.onnx")
        onnx.save(model, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).uniform(-1, 1, (batch, 3, 224, 224)).astype(np.float32)
    runs: dict[str, Callable[[], np.ndarray]] = {
        "cnn": lambda: model.predict_proba(x),
        "onnxruntime": lambda: session.run(None, {"input": x})[0],
    }
    outputs = {name: run() for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(1000 * seconds(run))
    for name, values in times.items():
        print(f"{name:12} {statistics.median(values):7.2f} ms (fastest {min(values):.2f})")
    ratio = statistics.median(a / b for a, b in zip(*times.values(), strict=True))
    apart = np.abs(outputs["cnn"] - outputs["onnxruntime"]).max() / outputs["onnxruntime"].max()
    print(f"cnn / onnxruntime {ratio:.2f}; batch {batch}, {threads} threads, {ROUNDS} turns; apart {apart:.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
