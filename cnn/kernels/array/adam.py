"""Array kernel for the function in optim/adam.py."""

import math
from typing import Any

import numpy as np

from cnn.kernels.array.chunks import flat_views, in_chunks
from cnn.kernels.array.parallel_for import Array


def adam(
    weights: list[Array],
    grads: list[Array],
    states: list[dict[str, Any]],
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Any:
    """Take the same steps chunk by chunk, with as little memory as possible."""
    if any(grad.dtype != w.dtype or flat_views(w, grad) is None for w, grad in zip(weights, grads, strict=True)):
        return NotImplemented
    for w, grad, state in zip(weights, grads, states, strict=True):
        _update(w, grad, state, lr, betas, eps)
    return None


def _update(w: Array, grad: Array, state: dict[str, Any], lr: float, betas: tuple[float, float], eps: float) -> None:
    m, v = (state[name].astype(w.dtype, copy=False) if name in state else np.zeros_like(w) for name in ("m", "v"))
    arrays = flat_views(w, grad, m, v)
    assert arrays is not None  # m and v have the memory layout of w
    b1, b2 = betas
    t = state.get("t", 0) + 1
    state.update(t=t, m=m, v=v)

    def update(w: Array, grad: Array, m: Array, v: Array, step: Array, root: Array) -> None:
        np.subtract(grad, m, out=step)
        step *= 1 - b1
        m += step
        v *= b2
        np.multiply(grad, 1 - b2, out=step)
        step *= grad
        v += step
        np.sqrt(v, out=root)
        root /= math.sqrt(1 - b2**t)
        root += eps
        np.multiply(m, lr / (1 - b1**t), out=step)
        step /= root
        w -= step

    in_chunks(update, arrays, [w.dtype, w.dtype], nanoseconds=2.5)
