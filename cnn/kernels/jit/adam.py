"""Compiled implementation of the function in optim/adam.py: one pass over the weights, gradients and moments of all
parameters.
"""

import math
from typing import Any

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.compilation import doubles, doubles_from, floats, indices, indices_from, kernel
from cnn.kernels.memory import addresses

(PARAMETERS, TABLE, SETTINGS, TOTAL, PARTS) = range(5)
(COUNT, W, GRAD, M, V) = range(5)  # a row of the table
TABLE_COLUMNS = 5
SETTINGS_COLUMNS = 6


@kernel
def update(a, part, slot):
    """Update a part of all weights, counted as if they were one concatenated array."""
    first, last = part * a[TOTAL] // a[PARTS], (part + 1) * a[TOTAL] // a[PARTS]
    before = 0
    for p in range(a[PARAMETERS]):
        row = indices_from(indices(a[TABLE]), p * TABLE_COLUMNS)
        s = doubles_from(doubles(a[SETTINGS]), p * SETTINGS_COLUMNS)
        new_m, old_v, new_v = types.float32(s[0]), types.float32(s[1]), types.float32(s[2])
        root, eps, rate = types.float32(s[3]), types.float32(s[4]), types.float32(s[5])
        w, g, m, v = floats(row[W]), floats(row[GRAD]), floats(row[M]), floats(row[V])
        for i in range(max(first - before, 0), min(last - before, row[COUNT])):
            mean = m[i] + new_m * (g[i] - m[i])
            square = v[i] * old_v + new_v * g[i] * g[i]
            m[i] = mean
            v[i] = square
            w[i] -= rate * mean / (math.sqrt(square) / root + eps)
        before += row[COUNT]


def adam(
    weights: list[Array],
    grads: list[Array],
    means: list[Array],
    squares: list[Array],
    steps: list[int],
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Any:
    """Make one step of the weights, in place."""
    (b1, b2), table, settings = betas, [], []
    for w, grad, m, v, t in zip(weights, grads, means, squares, steps, strict=True):
        if not (w.flags.carray and m.flags.carray and v.flags.carray):  # in C order, aligned and writeable
            return NotImplemented
        flags = grad.flags
        if not (flags.c_contiguous and flags.aligned):
            return NotImplemented
        if not w.shape == grad.shape == m.shape == v.shape:
            return NotImplemented
        table += [w.size, *addresses((w, grad, m, v))]
        settings += [1 - b1, b2, 1 - b2, math.sqrt(1 - b2**t), eps, lr / (1 - b1**t)]
    total = sum(table[::TABLE_COLUMNS])
    parts = thread_pool.elementwise_parts(total)
    arguments = {PARAMETERS: len(weights), TABLE: np.array(table, np.int64), SETTINGS: np.array(settings)}
    arguments |= {TOTAL: total, PARTS: parts}
    thread_pool.run(update, arguments, parts, total * 1.0)
    return None
