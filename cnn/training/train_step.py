"""The training step: forward, loss, backward, and an update of the weights. `Sequential.train_step` and the loop of
`fit` both run it; `loss_and_grad` is its first half, for training loops written by hand.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.kernels import one_blas_thread
from cnn.loss import LossFunc
from cnn.loss.loss_func import check_loss_grad
from cnn.module import Array


def loss_and_grad(model: Any, x: Array, y: Array, loss_func: LossFunc | None = None) -> tuple[float, Array]:
    """Run forward, loss and backward: the model's own ``loss_and_grad``, if it has one.

    ``loss_func`` replaces the model's own loss, for training with weights.

    Returns
    -------
    loss : float
    outputs : ndarray
        The model's outputs; logits for a Sequential that ends with Softmax and trains with CrossEntropyLoss.
    """
    own = getattr(model, "loss_and_grad", None)
    if own is None:
        outputs = model(x)
        loss_func = model.loss_func if loss_func is None else loss_func
        loss = loss_func(outputs, y)
        grad = loss_func.backward()
        if type(grad) is not np.ndarray or grad.dtype != outputs.dtype or grad.shape != outputs.shape:
            check_loss_grad(loss_func, grad, outputs)
        model.backward(grad)
        return loss, outputs
    if own == getattr(model, "_default_loss_and_grad", None):  # that of Sequential, without the time of the Softmax
        loss, outputs = model._objective.loss_and_grad(model, x, y, loss_func)
        return loss, outputs
    loss, outputs = own(x, y) if loss_func is None else own(x, y, loss_func)
    return loss, outputs


def train_step(
    model: Any,
    x: Array,
    y: Array,
    before_update: Callable[[float], object] | None = None,
    loss_func: LossFunc | None = None,
) -> tuple[float, Array]:
    """Run one training step; return the loss and the outputs before it, as `loss_and_grad` does.

    Parameters
    ----------
    model : Module
        With attributes ``loss_func`` and ``optimizer``.
    x, y : ndarray
        A batch of samples (N, ...) in the model's dtype, and its targets.
    before_update : callable, optional
        Called with the loss after backward and before the weights change; if it raises an error, they do not change.
    loss_func : LossFunc, optional
        Instead of the model's own, for training with weights.
    """
    with one_blas_thread():
        loss, outputs = loss_and_grad(model, x, y, loss_func)
        if before_update is not None:
            before_update(loss)
        model.optimizer.step()
    model.zero_grad()
    return loss, outputs
