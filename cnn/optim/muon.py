"""Muon: momentum with orthogonalised steps, which are equally large in all directions of a weight matrix."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cnn.core.checks import boolean, integer, is_finite
from cnn.errors import ShapeError
from cnn.kernels import one_blas_thread
from cnn.module import Array, Parameter
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import at_least_zero, below_one, short_repr, state_array
from cnn.optim.state import ARRAY


def orthogonalised(g: Array, coefficients: tuple[float, float, float], steps: int, eps: float) -> Array:
    """Approximate U V^T of the singular value decomposition g = U S V^T: all singular values are pushed towards 1.

    Each Newton-Schulz step, x = a x + b (x x^T) x + c (x x^T)² x, changes the singular values only: by a polynomial.
    """
    a, b, c = coefficients
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / max(float(np.linalg.norm(x)), eps)  # so that no singular value is above 1
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


class Muon(Optimizer):
    """Momentum with an orthogonalised step: rare directions of a matrix are learned as fast as dominant ones.

    m = momentum m + (1 - momentum) g,  u = m, or with nesterov  u = (1 - momentum) g + momentum m
    w = (1 - lr weight_decay) w - lr scale orthogonalised(u)

    For matrices only; the weight of a convolution, (K, C, KH, KW), is treated as the matrix (K, C KH KW). Train biases,
    norms and, as the source advises, the first and the last layer with `AdamW`.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train, each with at least 2 axes; see `Optimizer`.
    lr : float
        Learning rate, at least 0.
    weight_decay : float
        At least 0; each step subtracts lr times weight_decay times the weight.
    momentum : float
        Decay rate of m, at least 0 and below 1.
    nesterov : bool
        Whether to use Nesterov momentum.
    ns_coefficients : three floats
        a, b and c, the coefficients of the polynomial.
    eps : float
        The smallest norm to divide by, at least 0.
    ns_steps : int
        Number of Newton-Schulz steps, 1 to 99.
    adjust_lr_fn : str or None
        The scale, for a matrix (rows, columns). "original", the same as None: sqrt(max(1, rows / columns));
        "match_rms_adamw": 0.2 sqrt(max(rows, columns)), which suits learning rates chosen for AdamW.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    ShapeError
        If a parameter has fewer than 2 axes.

    Source
    ------
    Jordan 2024, Muon: an optimizer for hidden layers in neural networks, kellerjordan.github.io/posts/muon;
    match_rms_adamw: Liu et al. 2025, Muon is scalable for LLM training, arXiv 2502.16982, section 2.2. Numbers as
    torch.optim.Muon, except that it rounds the polynomial to bfloat16 and this keeps the dtype of the weights.

    Examples
    --------
    >>> weight = Parameter(np.zeros((2, 2)))
    >>> weight.accumulate_grad(np.array([[100.0, 0.0], [0.0, 1.0]]))
    >>> Muon([weight], lr=1.0).step()
    >>> weight.data.round(1) + 0  # both directions equally
    array([[-0.7,  0. ],
           [ 0. , -0.7]])
    """

    STATE: ClassVar = {"m": ARRAY}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.nesterov = nesterov
        self.ns_coefficients = ns_coefficients
        self.eps = eps
        self.ns_steps = ns_steps
        self.adjust_lr_fn = adjust_lr_fn
        super().__init__(params, lr)

    def check(self) -> None:
        super().check()
        self.weight_decay = at_least_zero(self.weight_decay, "weight_decay")
        self.momentum = below_one(self.momentum, "momentum")
        self.nesterov = boolean(self.nesterov, "nesterov")
        self.eps = at_least_zero(self.eps, "eps")
        self.ns_steps = integer(self.ns_steps, "ns_steps", 1)
        if self.ns_steps >= 100:
            raise ValueError(f"ns_steps must be below 100 (5 are usual), got {self.ns_steps}")
        if not isinstance(self.ns_coefficients, (tuple, list)) or len(self.ns_coefficients) != 3:
            raise ValueError(f"ns_coefficients must be three numbers, got {short_repr(self.ns_coefficients)}")
        if any(isinstance(c, int) and not is_finite(c) for c in self.ns_coefficients):
            raise ValueError("ns_coefficients must be finite numbers, got larger ones")
        a, b, c = self.ns_coefficients
        self.ns_coefficients = (float(a), float(b), float(c))
        if self.adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f'adjust_lr_fn must be "original" or "match_rms_adamw", got {short_repr(self.adjust_lr_fn)}'
            )
        for parameter in self.params:
            if len(parameter.shape) < 2:
                raise ShapeError(
                    f"Muon trains matrices, not a parameter of shape {parameter.shape}: give it the parameters with at "
                    "least 2 axes, [p for p in model.parameters() if len(p.shape) >= 2], and train the rest with AdamW"
                )

    def _array_shape(self, parameter: Parameter) -> tuple[int, ...]:
        return (parameter.shape[0], parameter.size // max(parameter.shape[0], 1))

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w, grad = (array.reshape(len(array), -1) for array in (parameter.data, grad))
        m = state_array(state, "m", w)
        m += (1 - self.momentum) * (grad - m)
        step = grad + self.momentum * (m - grad) if self.nesterov else m
        with one_blas_thread():
            step = orthogonalised(step, self.ns_coefficients, self.ns_steps, self.eps)
        rows, columns = w.shape
        scale = math.sqrt(max(1, rows / columns))
        if self.adjust_lr_fn == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        w *= 1 - self.lr * self.weight_decay
        w -= self.lr * scale * step
