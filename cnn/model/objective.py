"""Objective: the loss that a model is trained on, combined with a final Softmax.

Softmax and cross-entropy together have a numerically stable formula (`CrossEntropyLoss`, from_logits=True). So if a
model ends with Softmax and its loss is CrossEntropyLoss(), training and evaluation stop before the Softmax and pass
logits to the loss. pairing.py says which other last layers fit which loss.
"""

from typing import Any

import numpy as np

from cnn.containers.chain import Chain
from cnn.layers import LogSoftmax, Softmax
from cnn.layers.softmax import softmax
from cnn.loss import CrossEntropyLoss, LossFunc, NLLLoss
from cnn.loss.bce_loss import BinaryLoss
from cnn.loss.loss_func import check_loss_grad, check_one_number
from cnn.loss.targets import ClassificationLoss, ElementwiseLoss
from cnn.model.pairing import check_axis, check_pairing
from cnn.module import Array, Module


class Objective:
    """The loss of a model, paired with the model's last layer.

    Parameters
    ----------
    model : Chain
    loss_func : LossFunc or None

    Attributes
    ----------
    reads_logits : bool
        Whether the model's last layer is a Softmax that is combined with the loss.

    Raises
    ------
    TypeError
        If ``loss_func`` is not a loss.
    ValueError
        If the last layer of the model does not fit the loss.
    """

    def __init__(self, model: Chain, loss_func: LossFunc | None) -> None:
        if isinstance(loss_func, type):
            raise TypeError(f"loss_func is the class {loss_func.__name__}: write {loss_func.__name__}()")
        if loss_func is not None and not isinstance(loss_func, LossFunc):
            raise TypeError(f"loss_func must be a LossFunc, such as CrossEntropyLoss(), got {loss_func!r}")
        self.loss_func = loss_func
        self.last, self.position = last_layer(model)
        check_pairing(self.last, self.position, loss_func)
        self.reads_logits = type(loss_func) is CrossEntropyLoss and type(self.last) is Softmax

    def required(self) -> LossFunc:
        """Return the loss, or raise an error that names the fix."""
        if self.loss_func is None:
            raise ValueError("this model has no loss: Sequential(layers=..., loss_func=CrossEntropyLoss())")
        if self.loss_func.reduction == "none":
            check_one_number(self.loss_func)
        return self.loss_func

    def run(self, model: Any, x: Array, y: Any, loss_func: LossFunc | None = None) -> tuple[float, Array, LossFunc]:
        """Run forward and loss: the model's own, or ``loss_func``, which adds weights to it.

        Returns
        -------
        loss : float
        outputs : ndarray
            The input of the loss; `prediction` turns it into the model's outputs.
        loss_func : LossFunc
            Its backward gives the gradient of ``outputs``.
        """
        loss_func = self.required() if loss_func is None else loss_func
        outputs = model.run_forward(x, to_logits=self.reads_logits)
        if self.reads_logits:
            if self.last.dim % outputs.ndim != 1:  # type: ignore[attr-defined]
                check_axis(self.last, self.position, outputs.shape)
            loss_func = loss_func.for_logits()  # type: ignore[attr-defined]
        return loss_func.forward(outputs, y), outputs, loss_func

    def loss_and_grad(self, model: Any, x: Array, y: Any, loss_func: LossFunc | None = None) -> tuple[float, Array]:
        """Run forward, loss and backward; return the loss and its input."""
        loss, outputs, loss_func = self.run(model, x, y, loss_func)
        grad = loss_func.backward()
        if type(grad) is not np.ndarray or grad.dtype != outputs.dtype or grad.shape != outputs.shape:
            check_loss_grad(loss_func, grad, outputs)
        model.run_backward(grad)
        return loss, outputs

    def prediction(self, outputs: Array) -> Array:
        """Return the outputs of the model, Softmax included, from the input of the loss."""
        return softmax(outputs, 1) if self.reads_logits else outputs

    @property
    def has_classes(self) -> bool:
        """Whether the model is a classifier."""
        if isinstance(self.loss_func, ElementwiseLoss):
            return False
        return isinstance(self.loss_func, ClassificationLoss) or isinstance(self.last, (Softmax, LogSoftmax))

    def check_classes(self) -> None:
        """Raise an error that names the fix if the model has neither classes nor labels."""
        if not self.has_classes and not isinstance(self.loss_func, BinaryLoss):
            raise ValueError(
                f"a model with loss_func={self.loss_func!r} and no final Softmax has no classes: use predict"
            )

    def decisions(self, outputs: Array) -> Array:
        """Return class ids, labels of 0 and 1, or for a regression the outputs, from the outputs of the model."""
        if isinstance(self.loss_func, BinaryLoss):
            return (self.loss_func.probabilities(outputs) >= 0.5).astype(np.int64)
        return outputs.argmax(axis=1) if self.has_classes else outputs

    def probabilities(self, outputs: Array) -> Array:
        """Return probabilities of classes, or of each label, from the outputs of the model."""
        if isinstance(self.loss_func, BinaryLoss):
            return self.loss_func.probabilities(outputs)
        if isinstance(self.loss_func, NLLLoss) or isinstance(self.last, LogSoftmax):
            return np.exp(outputs)
        from_logits = isinstance(self.loss_func, CrossEntropyLoss) and self.loss_func.from_logits
        return softmax(outputs, 1) if from_logits else outputs


def last_layer(model: Chain) -> tuple[Module, str]:
    """Return the last layer of a chain, or of the chain that is its last layer, and its dotted name."""
    layer: Module = model
    names = []
    while isinstance(layer, Chain):
        names.append(str(len(layer.layers) - 1))
        layer = layer.layers[-1]
    return layer, ".".join(names)
