"""ONNX losses and optimizers as ours, and what its layers do in training. Only names and arguments are mapped, with
these exceptions.

Adam's cases are at step T = 0, where ONNX applies no bias correction: our Adam gets a very large step count, at which
the correction is 1. Our NLLLoss rejects inputs that are not log-probabilities, and no case of ONNX has
log-probabilities, so that check is disabled here. norm_coefficient is weight_decay; beta of Momentum, the factor of the
gradient, is one minus dampening.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from cnn import loss, optim
from cnn.layers import BatchNorm1d, BatchNorm2d, Dropout, LogSoftmax
from cnn.module import Array, Parameter
from cnn.optim import Optimizer
from cnn.verify.check import LeftOut
from cnn.verify.onnx_models import NO_LAYER
from cnn.verify.onnx_vectors import Node, Vector

LATE = 10**9  # a step count at which b^t is 0


def log_likelihood(vector: Vector) -> dict[str, Array]:
    """NegativeLogLikelihoodLoss, whose cases have arbitrary numbers instead of log-probabilities."""
    with mock.patch("cnn.loss.nll_loss.check_log_probabilities", create=True):
        return _loss(vector, loss.NLLLoss)


def cross_entropy(vector: Vector) -> dict[str, Array]:
    """SoftmaxCrossEntropyLoss; its optional second output is LogSoftmax of the logits."""
    found = _loss(vector, lambda **settings: loss.CrossEntropyLoss(from_logits=True, **settings))
    for name in vector.outputs[1:]:
        found[name] = LogSoftmax(dim=1)(vector.arrays[vector.inputs[0]])
    return found


def _loss(vector: Vector, make: Callable[..., loss.LossFunc]) -> dict[str, Array]:
    (node,) = vector.nodes
    x, target, *weight = (vector.arrays[name] for name in node.inputs)
    settings = {name: node.attributes[name] for name in ("ignore_index", "reduction") if name in node.attributes}
    y = make(weight=weight[0] if weight else None, **settings)(x, target)
    return {vector.outputs[0]: np.asarray(y, x.dtype)}  # a mean of ours is a Python float


def optimizer_step(vector: Vector) -> dict[str, Array]:
    """One step of Adam, Adagrad or Momentum from the given state; the outputs are parameters, then their states."""
    (node,) = vector.nodes
    a, (rate, step, *arrays) = node.attributes, (vector.arrays[name] for name in node.inputs)
    count = {"Adam": 4, "Adagrad": 3, "Momentum": 3}[node.op]
    columns = [arrays[i :: len(arrays) // count] for i in range(len(arrays) // count)]  # X, G, ... of a parameter
    parameters = [Parameter(column[0]) for column in columns]
    lr, decay, t = float(rate), a.get("norm_coefficient", 0.0), int(step)
    made: Optimizer
    kept: tuple[str, ...]
    states: list[dict[str, Any]]
    if node.op == "Adam":
        if t or a.get("norm_coefficient_post", 0.0):
            raise LeftOut(NO_LAYER)
        betas = (a.get("alpha", 0.9), a.get("beta", 0.999))
        made = optim.Adam(parameters, lr=lr, betas=betas, eps=a.get("epsilon", 1e-6), weight_decay=decay)
        states = [{"t": LATE, "m": column[2].copy(), "v": column[3].copy()} for column in columns]
        kept = ("m", "v")
    elif node.op == "Adagrad":
        lr_decay = a.get("decay_factor", 0.0)
        made = optim.Adagrad(parameters, lr=lr, lr_decay=lr_decay, weight_decay=decay, eps=a.get("epsilon", 1e-6))
        states = [{"t": t, "s": column[2].copy()} for column in columns]
        kept = ("s",)
    else:
        nesterov = a["mode"] == "nesterov"
        factor = 1.0 if t == 0 else a["beta"]  # the first step takes the whole gradient
        momentum, dampening = a["alpha"], 1 - factor
        made = optim.SGD(parameters, lr, momentum, dampening, weight_decay=decay, nesterov=nesterov)
        states = [{"b": column[2].copy()} for column in columns]
        kept = ("b",)
    made._state = states
    for parameter, column in zip(parameters, columns, strict=True):
        parameter.accumulate_grad(column[1])
    made.step()
    found = [parameter.data for parameter in parameters]
    found += [state[name] for name in kept for state in made._state]
    return dict(zip(vector.outputs, found, strict=True))


class LegacyMasks:
    """NumPy's legacy random generator, which ONNX used for its masks, with the method name of the new generator."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)  # the generator that ONNX used

    def random(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return uniform random numbers, in float64 as ONNX's are."""
        return self.state.uniform(0, 1, shape)


def dropout(vector: Vector) -> dict[str, Array]:
    """Dropout, in training mode if its third input is true; before opset 12 always in evaluation mode."""
    (node,) = vector.nodes
    x, *others = (vector.arrays.get(name) for name in node.inputs)
    ratio, training = (*others, None, None)[:2]
    made = Dropout(node.attributes.get("ratio", 0.5) if ratio is None else ratio.item())
    made.train(training is not None and bool(training))
    made.rng = LegacyMasks(node.attributes.get("seed", 0))  # type: ignore[assignment]
    return {vector.outputs[0]: made(np.asarray(x))}


def batch_norm(vector: Vector) -> dict[str, Array]:
    """BatchNormalization in training. ONNX's momentum is one minus ours, and its running variance is biased."""
    (node,) = vector.nodes
    x, scale, bias, mean, var = (vector.arrays[name] for name in node.inputs)
    kept = node.attributes.get("momentum", 0.9)
    kind = BatchNorm2d if x.ndim == 4 else BatchNorm1d
    made = kind(len(scale), eps=node.attributes.get("epsilon", 1e-5), momentum=1 - kept)
    made.load_state_dict(
        {"weight": scale, "bias": bias, "running_mean": mean, "running_var": var, "num_batches_tracked": 0}
    )
    y, n = made(x), x.size // x.shape[1]
    old = np.float32(kept) * var
    running_var = old + (made.state_dict()["running_var"] - old) * np.float32((n - 1) / n)
    return dict(zip(vector.outputs, (y, made.state_dict()["running_mean"], running_var), strict=True))


def trains(node: Node) -> bool:
    """Whether an operator is a loss, an optimizer, or a layer that the importer takes in evaluation mode only."""
    return node.op in TRAINING and (node.op != "BatchNormalization" or bool(node.attributes.get("training_mode", 0)))


TRAINING: dict[str, tuple[str, Callable[[Vector], dict[str, Array]]]] = {
    "Adagrad": ("Adagrad", optimizer_step),
    "Adam": ("Adam", optimizer_step),
    "BatchNormalization": ("BatchNorm2d", batch_norm),
    "Dropout": ("Dropout", dropout),
    "Momentum": ("SGD", optimizer_step),
    "NegativeLogLikelihoodLoss": ("NLLLoss", log_likelihood),
    "SoftmaxCrossEntropyLoss": ("CrossEntropyLoss", cross_entropy),
}
