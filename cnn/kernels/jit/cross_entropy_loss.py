"""Compiled implementation of a function in loss/cross_entropy_loss.py."""

import math

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.compilation import doubles, floats, floats_from, indices, kernel

(N, K, LOGITS, IDS, GRAD, LOSS) = range(6)
BLOCK = 128  # exponentials that are added in float32 before their sum is added in float64
MAX_ELEMENTS = 1 << 20  # of the logits: for more, the plain function, which may use several threads, is as fast


@kernel
def forward(a, part, slot):
    """Compute the sum of the losses and the gradient of their mean; the sum is -1 if an id is not that of a class."""
    n, k, loss, ids = a[N], a[K], doubles(a[LOSS]), indices(a[IDS])
    loss[0] = 0
    for row in range(n):
        if ids[row] < 0 or ids[row] >= k:
            loss[0] = -1
            return
        x, grad = floats_from(floats(a[LOGITS]), row * k), floats_from(floats(a[GRAD]), row * k)
        largest = x[0]
        for i in range(1, k):
            largest = x[i] if x[i] > largest else largest
        all_blocks = 0.0
        for first in range(0, k, BLOCK):
            block = types.float32(0)
            for i in range(first, min(first + BLOCK, k)):
                grad[i] = math.exp(x[i] - largest)
                block += grad[i]
            all_blocks += block
        total = types.float32(all_blocks)
        loss[0] += types.float64(math.log(total) - (x[ids[row]] - largest))
        factor = types.float32(1) / (total * types.float32(n))
        for i in range(k):
            grad[i] *= factor
        grad[ids[row]] -= types.float32(1) / types.float32(n)


def mean_and_gradient(logits: Array, ids: Array) -> tuple[float, Array] | None:
    """(N, K), (N,) -> float, (N, K)"""
    if not ids.flags.c_contiguous:
        return NotImplemented
    if logits.ndim != 2 or ids.shape != logits.shape[:1] or not 0 < logits.size < MAX_ELEMENTS:
        return NotImplemented
    logits = np.ascontiguousarray(logits)
    grad, loss = np.empty(logits.shape, np.float32), np.empty(1)
    n, k = logits.shape
    thread_pool.run(forward, {N: n, K: k, LOGITS: logits, IDS: ids, GRAD: grad, LOSS: loss}, 1, 0)
    return (float(loss[0]) / n, grad) if loss[0] >= 0 else None
