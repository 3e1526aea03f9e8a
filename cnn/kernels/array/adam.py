"""Twin of the function in optim/adam.py."""

import math
from typing import Any

import numpy as np

from cnn.kernels.array.flat import flat, in_pieces
from cnn.kernels.array.shared import Array


def adam(
    weights: list[Array],
    grads: list[Array],
    states: list[dict[str, Any]],
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Any:
    """The same steps, a piece after the other, in as little memory as can be."""
    if any(grad.dtype != w.dtype or flat(w, grad) is None for w, grad in zip(weights, grads, strict=True)):
        return NotImplemented
    for w, grad, state in zip(weights, grads, states, strict=True):
        _one(w, grad, state, lr, betas, eps)
    return None


def _one(w: Array, grad: Array, state: dict[str, Any], lr: float, betas: tuple[float, float], eps: float) -> None:
    m, v = (state[name].astype(w.dtype, copy=False) if name in state else np.zeros_like(w) for name in ("m", "v"))
    arrays = flat(w, grad, m, v)
    assert arrays is not None  # m and v lie as w does
    b1, b2 = betas
    t = state.get("t", 0) + 1
    state.update(t=t, m=m, v=v)

    def piece(w: Array, grad: Array, m: Array, v: Array, step: Array, root: Array) -> None:
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

    in_pieces(piece, arrays, [w.dtype, w.dtype], nanoseconds=2.5)
