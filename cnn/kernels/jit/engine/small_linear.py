"""The gradients of a small linear layer, optionally with ReLU, in one call: calls take longer than the arithmetic."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.compilation import floats, floats_from, kernel

(N, IN, OUT, X, WEIGHT, Y, GRAD, X_GRAD, W_GRAD, B_GRAD, SCRATCH) = range(11)
FLOAT32 = np.dtype(np.float32)
MAX_MULTIPLY_ADDS = 50_000  # for up to this many, this is faster than two products on several threads


@kernel
def backward(a, part, slot):
    """Compute all gradients, row by row of the batch."""
    n, inputs, outputs, w_grad, b_grad = a[N], a[IN], a[OUT], floats(a[W_GRAD]), floats(a[B_GRAD])
    g = floats(a[SCRATCH])
    for p in range(outputs * inputs):
        w_grad[p] = 0
    for o in range(outputs):
        b_grad[o] = 0
    for row in range(n):
        grad, x = floats_from(floats(a[GRAD]), row * outputs), floats_from(floats(a[X]), row * inputs)
        if a[Y]:
            y = floats_from(floats(a[Y]), row * outputs)
            for o in range(outputs):
                g[o] = types.float32(0) if y[o] <= 0 else grad[o]
        else:
            for o in range(outputs):
                g[o] = grad[o]
        for o in range(outputs):
            b_grad[o] += g[o]
            line, factor = floats_from(w_grad, o * inputs), g[o]
            for i in range(inputs):
                line[i] += factor * x[i]
        if a[X_GRAD]:
            x_grad = floats_from(floats(a[X_GRAD]), row * inputs)
            for i in range(inputs):
                x_grad[i] = 0
            for o in range(outputs):
                line, factor = floats_from(floats(a[WEIGHT]), o * inputs), g[o]
                for i in range(inputs):
                    x_grad[i] += factor * line[i]


def gradients(
    grad: Array, x: Array, y: Array | None, weight: Array, needs_input_grad: bool
) -> tuple[Array | None, Array, Array]:
    """Return the gradients of input, weight and bias; ``y`` is the output of ReLU, if there is one, in C order.

    The caller has checked that all are float32, and that their shapes belong together.
    """
    (n, inputs), outputs = x.shape, len(weight)
    grad, x, weight = np.ascontiguousarray(grad), np.ascontiguousarray(x), np.ascontiguousarray(weight)
    x_grad = np.empty(x.shape, FLOAT32) if needs_input_grad else None
    w_grad, vectors = np.empty(weight.shape, FLOAT32), np.empty((2, outputs), FLOAT32)
    arguments = {N: n, IN: inputs, OUT: outputs, X: x, WEIGHT: weight, Y: 0 if y is None else y, GRAD: grad}
    arguments |= {X_GRAD: 0 if x_grad is None else x_grad, W_GRAD: w_grad, B_GRAD: vectors, SCRATCH: vectors[1]}
    thread_pool.run(backward, arguments, 1, 0)
    return x_grad, w_grad, vectors[0]
