"""Profile: how long each layer of a model takes, forward and backward, and what it gets out of the machine."""

import copy
import statistics
import threading
import time
from typing import Any

import numpy as np

from cnn.containers.fusion.step import FusedStep
from cnn.core.modes import timing
from cnn.kernels import get_num_threads, one_blas_thread
from cnn.model.summary import Table, bytes_text
from cnn.module import Array

ROUNDS = 10
SIDE = 1024  # of the square matrices whose product shows what the machine can do


class Profile(Table):
    """A table of the layers with their times for one batch; layers that run as one have one row.

    ``print`` shows it as text; a notebook as HTML.

    Attributes
    ----------
    rows : list of dict
        For each its name, the layer, milliseconds forward and backward, operations and bytes.
    rate : float
        GFLOP/s of large matrix products on this machine now, with as many threads.
    """

    headings = ("", "layer", "forward ms", "backward ms", "GFLOP/s", "of products' rate", "memory")
    left = 2

    def __init__(self, model: Any, x: Array) -> None:
        model = copy.deepcopy(model)  # running statistics, gradients and random generators stay what they are
        names = {id(module): name for name, module in model.named_modules()}
        spent: dict[int, dict[str, list[float]]] = {}
        seen: dict[int, tuple[Any, Array, Array]] = {}
        inner: list[float] = []  # seconds of the layers inside the one at hand

        def clock(layer: Any, what: str, function: Any, array: Array) -> Any:
            inner.append(0.0)
            began = time.perf_counter()
            result = function(array)
            seconds = time.perf_counter() - began
            own = seconds - inner.pop()
            if inner:
                inner[-1] += seconds
            spent.setdefault(id(layer), {}).setdefault(what, []).append(own)
            if what == "forward":
                seen[id(layer)] = layer, array, result
            return result

        y = model(x)  # what is done once is done here
        grad = np.ones_like(y)
        for _ in range(ROUNDS):
            with timing(clock):
                model(x)
                model.backward(grad)
            model.zero_grad()
        self.rate = rate_of_products()
        self.batch, self.threads = len(x), get_num_threads()
        self.rows = [
            self._row(names, *seen[key], {what: 1000 * statistics.median(t) for what, t in times.items()})
            for key, times in spent.items()
        ]

    @staticmethod
    def _row(names: dict[int, str], layer: Any, x: Array, y: Array, times: dict[str, float]) -> dict[str, Any]:
        layers = layer.layers if isinstance(layer, FusedStep) else (layer,)
        own = [p for one in layers if not one.children() for p in one.parameters()]
        passes = 1
        if "backward" in times:  # the gradients of the weights and of the input cost as much as the output
            passes += 1 + layers[0].needs_input_grad
        return {
            "name": names[id(layers[0])] + (f" to {names[id(layers[-1])]}" if len(layers) > 1 else ""),
            "layer": ", ".join(type(one).__name__ for one in layers),
            "forward": times["forward"],
            "backward": times.get("backward", 0.0),
            "operations": 2 * passes * layer.multiply_adds(x.shape if isinstance(layer, FusedStep) else y.shape),
            "bytes": x.nbytes + y.nbytes + sum(p.data.nbytes for p in own),
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's texts, row by row, the sum last."""
        total = {key: sum(row[key] for row in self.rows) for key in ("forward", "backward", "operations", "bytes")}
        return [self._texts(row) for row in [*self.rows, {"name": "", "layer": "in all", **total}]]

    def _texts(self, row: dict[str, Any]) -> tuple[str, ...]:
        rate = row["operations"] / (row["forward"] + row["backward"]) / 1e6
        figures = (f"{rate:.1f}", f"{rate / self.rate:.0%}") if row["operations"] else ("", "")
        return (
            row["name"],
            row["layer"],
            f"{row['forward']:.3f}",
            f"{row['backward']:.3f}",
            *figures,
            bytes_text(row["bytes"]),
        )

    def notes(self) -> str:
        """Return what the figures mean."""
        return (
            f"A batch of {self.batch}, {self.threads} threads, medians of {ROUNDS} rounds. Large matrix products "
            f"reach {self.rate:.0f} GFLOP/s here; a convolution may reach more by Winograd's way, which multiplies "
            "less often than is counted. Memory: input, output and parameters."
        )


def rate_of_products() -> float:
    """Return how many GFLOP/s square matrix products reach, one in each thread at once; the best of a few."""
    a = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    threads = get_num_threads()

    def multiply() -> None:
        np.matmul(a, a)

    times = []
    with one_blas_thread():
        for _ in range(4):
            others = [threading.Thread(target=multiply) for _ in range(threads - 1)]
            began = time.perf_counter()
            for other in others:
                other.start()
            multiply()
            for other in others:
                other.join()
            times.append(time.perf_counter() - began)
    return threads * 2 * SIDE**3 / min(times) / 1e9
