"""What a pixel much larger than all others costs a Winograd convolution: in accuracy, and in time.

A layer of 32 to 64 channels on images of 14 x 14 normal numbers; docs/decisions/009-uneven-images.md has the results.
Printed are the largest error of the outputs that do not see the pixel, relative to the sum of |x w| there, and the time
if no image, one image or all 64 images have such a pixel.

Run it from the repository: python benchmarks/uneven_images.py
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

import cnn
from cnn.layers import Conv2d
from cnn.module import no_grad

SIZE, ROW, COLUMN = 14, 6, 6
VALUES = (1.0, 100.0, 1e4, 1e6, np.nan)


def largest_error(layer: Conv2d, images: np.ndarray, value: float) -> float:
    """Set one pixel of one channel of the first image; return the error of the outputs that do not see it."""
    reference = Conv2d(32, 64, 3, padding=1, bias=False).to(np.float64)
    reference.weight.data = layer.weight.data
    exact = reference(images[:1].astype(np.float64))
    reference.weight.data = abs(layer.weight.data)
    total = reference(abs(images[:1].astype(np.float64)))
    changed = images.copy()
    changed[0, 3, ROW, COLUMN] = value
    unseen = np.ones((SIZE, SIZE), bool)
    unseen[ROW - 1 : ROW + 2, COLUMN - 1 : COLUMN + 2] = False
    with np.errstate(invalid="ignore"):
        errors = abs(layer(changed)[:1] - exact) / total
    return float(errors[..., unseen].max())


def milliseconds(call: Callable[[], object], repeats: int = 30) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((64, 32, SIZE, SIZE)).astype(np.float32)
    cnn.set_num_threads(1)
    for backend in ("jit", "array"):
        cnn.kernels.use(backend)
        layer = Conv2d(32, 64, 3, padding=1, bias=False, rng=0)
        errors = [largest_error(layer, images[:16], value) for value in VALUES]
        print(
            f"{backend}: error with a pixel of",
            ", ".join(f"{v:g}: {e:.1e}" for v, e in zip(VALUES, errors, strict=True)),
        )
        for name, uneven in (("no", 0), ("one", 1), ("all", 64)):
            x = images.copy()
            x[:uneven, 3, ROW, COLUMN] = 1e4

            def train(x: np.ndarray = x, layer: Conv2d = layer) -> None:
                layer.backward(layer(x))
                layer.zero_grad()

            def infer(x: np.ndarray = x, layer: Conv2d = layer) -> None:
                with no_grad():
                    layer(x)

            train()
            both, forward = milliseconds(train), milliseconds(infer)
            print(f"  {name} uneven: {both:.1f} ms forward and backward, {forward:.1f} ms forward")


if __name__ == "__main__":
    main()
