"""The training step: forward, loss, backward, and an update of the weights. `Sequential.train_step` and the loop of
`fit` both run it; `loss_and_grad` is its first half, for training loops written by hand.
"""

from collections.abc import Callable
from typing import Any

from cnn.kernels import one_blas_thread
from cnn.module import Array

ToPrediction = Callable[[Array], Array] | None  # turns the input of the loss into the model's outputs; None: it is them


def own_objective(model: Any, method: str) -> Any:
    """Return the `Objective` of a Sequential, or None for any other model, and for one with its own ``method``."""
    return model._objective if getattr(getattr(model, method, None), "__module__", "") == "cnn.sequential" else None


def loss_and_grad(model: Any, x: Array, y: Array) -> tuple[float, Array, ToPrediction]:
    """Run forward, loss and backward: the model's own ``loss_and_grad``, if it has one.

    Returns
    -------
    loss : float
    outputs : ndarray
        The input of the loss; logits for a Sequential that ends with Softmax and trains with CrossEntropyLoss.
    to_prediction : callable or None
        Turns ``outputs`` into the model's outputs, which only the accuracy needs. None: they are the same.
    """
    objective = own_objective(model, "loss_and_grad")
    if objective is not None:  # Sequential.loss_and_grad, without the time that the Softmax takes
        return *objective.loss_and_grad(model, x, y), objective.to_prediction
    if hasattr(model, "loss_and_grad"):
        return *model.loss_and_grad(x, y), None
    outputs = model(x)
    loss = model.loss_func(outputs, y)
    model.backward(model.loss_func.backward())
    return loss, outputs, None


def train_step(
    model: Any, x: Array, y: Array, before_update: Callable[[float], object] | None = None
) -> tuple[float, Array, ToPrediction]:
    """Run one training step; return the loss before it, the input of the loss, and what makes that a prediction.

    Parameters
    ----------
    model : Module
        With attributes ``loss_func`` and ``optimizer``.
    x, y : ndarray
        A batch of samples (N, ...) in the model's dtype, and its targets.
    before_update : callable, optional
        Called with the loss after backward and before the weights change; if it raises an error, they do not change.
    """
    with one_blas_thread():
        loss, outputs, to_prediction = loss_and_grad(model, x, y)
        if before_update is not None:
            before_update(loss)
        model.optimizer.step()
    model.zero_grad()
    return loss, outputs, to_prediction
