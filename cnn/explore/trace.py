"""Trace: one sample through a net: every activation, the loss, and the gradient of the loss in each of them."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.containers.chain import hide_internal_frames
from cnn.core.modes import Mode
from cnn.core.text import fields_text
from cnn.errors import InputError, ShapeError
from cnn.explore.walk import QUIET, TOO_LARGE, Node, Walk
from cnn.layers import LogSoftmax
from cnn.layers.softmax import softmax
from cnn.loss import CrossEntropyLoss, LossFunc, NLLLoss
from cnn.loss.bce_loss import BinaryLoss
from cnn.loss.loss_func import check_one_number
from cnn.loss.targets import ClassificationLoss
from cnn.module import Array, Module


@dataclass(repr=False)
class Trace:
    """What `trace` returns.

    Attributes
    ----------
    nodes : dict of str to Node
        Every activation by the name of its layer, in the order of the computation, the sample, "input", first; with the
        gradient of the loss in it. `Node` says which nodes a layer reads.
    logits : ndarray, (1, K, ...)
        What the last Softmax reads; of a model without one, its outputs.
    probabilities : ndarray or None, (1, K, ...)
        None for a model without classes.
    target : ndarray
        The class id, (1,); one for each position of outputs (1, K, H, W); of a model without classes what its loss
        compares the outputs with.
    loss : float
    grads : dict of str to ndarray
        The gradient of the loss in every parameter, frozen ones included.
    """

    nodes: dict[str, Node]
    logits: Array
    probabilities: Array | None
    target: Array
    loss: float
    grads: dict[str, Array]

    def __repr__(self) -> str:
        return fields_text(self)


@hide_internal_frames
def trace(model: Module, x: Any, y: Any = None) -> Trace:
    """Run one sample through a model in evaluation mode, layer by layer, and the loss back through it.

    The loss is L = -log p[y], the cross-entropy of the class y, without class weights or smoothing, also if the model
    was trained with them. A model that has another loss, such as MSELoss, is traced with that. The model does not
    change: a copy of it runs.

    Parameters
    ----------
    model : Module
        A Sequential, or another module with one output.
    x : array_like, (1, ...)
        One sample as the model reads it, for example ``model.preprocess(pixels)``.
    y : int or array_like, optional
        The class whose loss it is, or one for each position of outputs (1, K, H, W); by default what the model
        predicts. For a model without classes the target of its loss.

    Returns
    -------
    Trace

    Raises
    ------
    InputError, ShapeError
        If the sample or y does not fit the model, or an output, a gradient or the loss is NaN or infinity.

    Examples
    --------
    >>> from cnn import zoo
    >>> found = trace(zoo.lenet5(), np.ones((1, 1, 28, 28), np.float32), 3)
    >>> list(found.nodes)[:4], found.nodes["3"].reads
    (['input', '0', '1', '2'], ('2',))
    >>> found.nodes["0"].output.shape, found.nodes["0"].grad.shape, found.grads["0.weight"].shape
    ((1, 6, 28, 28), (1, 6, 28, 28), (6, 1, 5, 5))
    """
    walk = Walk(model, x)
    if len(walk.logits) != 1:
        raise ShapeError(f"a trace is of one sample, got {len(walk.logits)}: pass x[:1]")
    own = getattr(model, "loss_func", None)
    if isinstance(own, LossFunc) and not isinstance(own, ClassificationLoss):
        loss_func, target = copy.deepcopy(own), _target(own, walk.logits, y)
        check_one_number(own)
        probabilities = own.probabilities(walk.logits) if isinstance(own, BinaryLoss) else None
    else:
        loss_func, target = CrossEntropyLoss(from_logits=True), _class_ids(walk.logits, y)
        with np.errstate(**QUIET):
            probabilities = softmax(walk.logits, 1) if walk.softmax is None else walk.last.output
        if isinstance(walk.softmax, LogSoftmax):
            probabilities = np.exp(probabilities)
    loss, grad = _loss_and_grad(loss_func, walk.logits, target)
    walk.backward(grad)
    if walk.softmax is not None:  # which the loss skips
        of_outputs = NLLLoss() if isinstance(walk.softmax, LogSoftmax) else CrossEntropyLoss()
        walk.last.grad = _loss_and_grad(of_outputs, walk.last.output, target)[1]
    grads = {
        name: np.zeros_like(parameter.data) if parameter.grad is None else parameter.grad
        for name, parameter in walk.model.named_parameters()
    }
    return Trace(walk.nodes, walk.logits, probabilities, target, loss, grads)


def _loss_and_grad(loss_func: LossFunc, prediction: Array, target: Array) -> tuple[float, Array]:
    with Mode(saving=True), np.errstate(**QUIET):  # also inside no_grad()
        loss, grad = float(loss_func(prediction, target)), loss_func.backward()
    if not np.isfinite(loss):
        raise InputError(f"the loss is {loss} for this sample: {TOO_LARGE}")
    return loss, grad


def _class_ids(logits: Array, y: Any) -> Array:
    """Return the class id for each position of the logits."""
    if logits.ndim < 2:
        raise ShapeError(f"the model gives {logits.shape}, expected scores of classes, (1, K)")
    if y is None:
        return logits.argmax(axis=1)
    shape = (1, *logits.shape[2:])
    ids = np.asarray(y)
    expected = f"y must be a class id, 0 to {logits.shape[1] - 1}"
    if ids.shape not in ((), (1,), shape[1:], shape):
        places = f", or one for each position, {shape[1:]}" if shape[1:] else ""
        raise InputError(f"{expected}{places}, got an array of shape {ids.shape}")
    if ids.dtype.kind not in "iu" or not (ids.min() >= 0 and ids.max() < logits.shape[1]):
        raise InputError(
            f"{expected}, got {ids.tolist() if ids.ndim < 2 else f'{ids.dtype}, {ids.min()} to {ids.max()}'}"
        )
    return np.broadcast_to(ids.astype(np.int64), shape).copy()


def _target(loss_func: LossFunc, outputs: Array, y: Any) -> Array:
    """Return the target of a model without classes, in the shape of its outputs."""
    if y is None:
        raise InputError(f"y is needed, because the model has no classes: what {loss_func!r} compares its outputs with")
    try:
        return np.broadcast_to(np.asarray(y, outputs.dtype), outputs.shape).copy()
    except ValueError:
        shape = np.shape(y)
        raise ShapeError(f"y must have the shape of the outputs, {outputs.shape}, got {shape}") from None
