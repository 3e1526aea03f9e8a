"""Twin of the function in optim/adam.py: one walk over weights, gradient and what is remembered."""

import math
from typing import Any

import numpy as np
from numba import types

from cnn.kernels.jit import crew
from cnn.kernels.jit.arrays import Array, address
from cnn.kernels.jit.compiled import doubles, floats, kernel

(COUNT, W, GRAD, M, V, SETTINGS, PARTS) = range(7)


@kernel
def update(a, part):  # type: ignore[no-untyped-def]
    """A part of the weights."""
    w, g, m, v, settings = floats(a[W]), floats(a[GRAD]), floats(a[M]), floats(a[V]), doubles(a[SETTINGS])
    new_m, old_v, new_v = types.float32(settings[0]), types.float32(settings[1]), types.float32(settings[2])
    root, eps, rate = types.float32(settings[3]), types.float32(settings[4]), types.float32(settings[5])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        mean = m[i] + new_m * (g[i] - m[i])
        square = v[i] * old_v + new_v * g[i] * g[i]
        m[i] = mean
        v[i] = square
        w[i] -= rate * mean / (math.sqrt(square) / root + eps)


def adam(
    w: Array, grad: Array, state: dict[str, Any], lr: float, betas: tuple[float, float], eps: float
) -> Array | None:
    """One step of the weights ``w``, in place."""
    if "m" not in state or state["m"].dtype != np.float32 or not (w.flags.c_contiguous and grad.flags.c_contiguous):
        return NotImplemented  # the plain function starts what is remembered
    b1, b2 = betas
    t = state["t"] = state["t"] + 1
    settings = np.array([1 - b1, b2, 1 - b2, math.sqrt(1 - b2**t), eps, lr / (1 - b1**t)])
    parts = crew.parts_of_numbers(w.size)
    arrays = (address(w), address(grad), address(state["m"]), address(state["v"]), address(settings))
    crew.run(update, np.array([w.size, *arrays, parts], np.int64), parts, w.size * 1.0)
    return None
