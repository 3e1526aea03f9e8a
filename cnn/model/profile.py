"""Profile: how long each layer of a model takes, forward and backward, and the GFLOP/s that it reaches."""

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
MATRIX_SIZE = 1024  # of the square matrices whose product measures the speed of the machine


class Profile(Table):
    """A table of the layers with their times for one batch; layers that run fused share one row.

    ``print`` shows it as text; a notebook as HTML.

    Attributes
    ----------
    rows : list of dict
        For each layer its name, its class, milliseconds forward and backward, operations and bytes.
    rate : float
        GFLOP/s of large matrix products on this machine now, with the same number of threads.

    Examples
    --------
    >>> from cnn import zoo
    >>> table = zoo.lenet5().profile(np.zeros((4, 1, 28, 28), np.float32))
    >>> table.rows[0]["layer"], table.rows[0]["forward"] > 0
    ('Conv2d', True)
    """

    headings = ("", "layer", "forward ms", "backward ms", "GFLOP/s", "of products' rate", "memory")
    text_columns = 2

    def __init__(self, model: Any, x: Array) -> None:
        # a copy, so that running statistics, gradients and random generators of the original do not change
        model = copy.deepcopy(model)
        names = {id(module): name for name, module in model.named_modules()}
        spent: dict[int, dict[str, list[float]]] = {}
        seen: dict[int, tuple[Any, Array, Array]] = {}
        inner: list[float] = []  # seconds of the layers inside each layer that is running

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

        y = model(x)  # work that is done only once happens here, before the clock runs
        grad = np.ones_like(y)
        for _ in range(ROUNDS):
            with timing(clock):
                model(x)
                model.backward(grad)
            model.zero_grad()
        self.rate = matmul_rate()
        self.batch, self.threads = len(x), get_num_threads()
        self.rows = [
            self._row(names, *seen[key], {what: 1000 * statistics.median(t) for what, t in times.items()})
            for key, times in spent.items()
        ]

    @staticmethod
    def _row(names: dict[int, str], layer: Any, x: Any, y: Array, times: dict[str, float]) -> dict[str, Any]:
        inputs = x if isinstance(x, list) else [x]  # a join of a Graph has several
        layers = layer.layers if isinstance(layer, FusedStep) else (layer,)
        own = [p for one in layers if not one.children() for p in one.parameters()]
        shape = inputs[0].shape if isinstance(layer, FusedStep) else y.shape
        passes = 1
        if "backward" in times:  # the gradients of the weights and of the input cost as much as the output
            passes += 1 + layers[0].needs_input_grad
        return {
            "name": names[id(layers[0])] + (f" to {names[id(layers[-1])]}" if len(layers) > 1 else ""),
            "layer": ", ".join(type(one).__name__ for one in layers),
            "forward": times["forward"],
            "backward": times.get("backward", 0.0),
            "operations": 2 * passes * layer.multiply_adds(shape),
            "bytes": sum(a.nbytes for a in inputs) + y.nbytes + sum(p.data.nbytes for p in own),
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's cells, row by row, the total last."""
        total = {key: sum(row[key] for row in self.rows) for key in ("forward", "backward", "operations", "bytes")}
        return [self._cells(row) for row in [*self.rows, {"name": "", "layer": "in all", **total}]]

    def _cells(self, row: dict[str, Any]) -> tuple[str, ...]:
        rate = row["operations"] / (row["forward"] + row["backward"]) / 1e6
        rates = (f"{rate:.1f}", f"{rate / self.rate:.0%}") if row["operations"] else ("", "")
        return (
            row["name"],
            row["layer"],
            f"{row['forward']:.3f}",
            f"{row['backward']:.3f}",
            *rates,
            bytes_text(row["bytes"]),
        )

    def notes(self) -> str:
        """Return an explanation of the numbers."""
        return (
            f"A batch of {self.batch}, {self.threads} threads, medians of {ROUNDS} rounds. Large matrix products "
            f"reach {self.rate:.0f} GFLOP/s here; a convolution may exceed this with the Winograd algorithm, which "
            "needs fewer multiplications than are counted. Memory: input, output and parameters."
        )


def matmul_rate() -> float:
    """Return the GFLOP/s of square matrix products, one in each thread at the same time; the best of a few runs."""
    a = np.random.default_rng(0).random((MATRIX_SIZE, MATRIX_SIZE), np.float32)
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
    return threads * 2 * MATRIX_SIZE**3 / min(times) / 1e9
