"""Diagnosis of a model in training: one forward and backward pass of a copy of the model, and what it shows."""

import copy
import math
from typing import Any, NamedTuple

import numpy as np

from cnn.core import rng
from cnn.core.modes import without_warnings
from cnn.errors import InputError
from cnn.kernels import one_blas_thread
from cnn.layers import ReLU, ReLU6
from cnn.module import Array, Module, Parameter, forward_hook
from cnn.training.divergence import first_non_finite
from cnn.training.inputs import as_samples, check_labels
from cnn.training.train_step import loss_and_grad

MIN_SAMPLES = 32  # with fewer samples, many units that are not dead are 0 by chance

Gradients = dict[str, tuple[float, float]]


class Findings(NamedTuple):
    """What one forward and backward pass of a copy of a model showed.

    Attributes
    ----------
    loss : float
        Of the batch, in training mode.
    classes : int
        Size of the outputs' axis 1.
    dead : dict of str to float
        For each ReLU the fraction of its units, or channels, that are 0 for every sample at every position. Empty for
        batches of fewer than 32 samples.
    gradients : dict of str to pair of float
        For each layer with parameters the norm of the gradients and the norm of the parameters.
    not_finite : str
        Where NaN or infinity arose; empty if the loss is finite.
    """

    loss: float
    classes: int
    dead: dict[str, float]
    gradients: Gradients
    not_finite: str


def examine(model: Any, x: Any, y: Any) -> Findings:
    """Run forward, loss and backward on a copy of the model: its statistics, gradients and generators do not change.

    State that custom layers keep elsewhere, such as NumPy's global random state, is not protected.

    Parameters
    ----------
    model : Module
        With an attribute ``loss_func``. Its mode, training or evaluation, is used as it is.
    x, y : array_like
        N samples (N, ...) as in training, and their targets.

    Raises
    ------
    InputError
        If the samples do not fit the model or the targets its loss.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import CrossEntropyLoss
    >>> from cnn.optim import SGD
    >>> layers = [Linear(2, 2, rng=0)]
    >>> model = Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.5))
    >>> x, y = np.float32([[1, 0], [0, 1]] * 8), np.array([0, 1] * 8)
    >>> list(examine(model, x, y).gradients)
    ['0']
    """
    if getattr(model, "loss_func", None) is None:
        raise InputError("gradients need a model with a loss: Sequential(layers=..., loss_func=CrossEntropyLoss())")
    default = rng.state_dict()
    clone = copy.deepcopy(model, {id(getattr(model, "optimizer", None)): None})  # its state is large and not needed
    clone.zero_grad()
    x = as_samples(x, clone, "x")
    y = check_labels(clone, x, y, "y")
    names = {id(module): name for name, module in clone.named_modules()}
    dead: dict[str, float] = {}

    def record_dead_units(module: Module, out: Array) -> None:
        is_relu = isinstance(module, (ReLU, ReLU6)) and id(module) in names
        if is_relu and out.ndim > 1 and out.size and len(out) >= MIN_SAMPLES:
            alive = out.any(axis=(0, *range(2, out.ndim)))
            dead[names[id(module)]] = 1 - int(np.count_nonzero(alive)) / alive.size

    with one_blas_thread():
        with forward_hook(record_dead_units):
            loss, outputs = without_warnings(loss_and_grad)(clone, x, y)
        not_finite = "" if math.isfinite(loss) else first_non_finite(clone, x)
        gradients = _layer_norms(clone)
    if rng.state_dict() != default:  # a layer has used it
        rng.load_state_dict(default)
    return Findings(loss, outputs.shape[1] if outputs.ndim > 1 else 1, dead, gradients, not_finite)


def gradient_norms(model: Any, x: Any, y: Any) -> Gradients:
    """Return for each layer the norm of its gradients and the norm of its weights; the model does not change.

    Their ratio is the relative change of the layer per unit of learning rate. Between the layers of a net that trains
    well it differs by a few orders of magnitude.

    Parameters
    ----------
    model, x, y
        As in `examine`; the errors are the same, too.

    Returns
    -------
    dict of str to pair of float
        By the dotted names of the layers that have parameters, in the order of the model.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import MSELoss
    >>> model = Sequential([Linear(2, 1, bias=False)], loss_func=MSELoss())
    >>> model.layers[0].weight.data = [[3.0, 4.0]]
    >>> gradient, weight = gradient_norms(model, np.ones((1, 2)), np.array([[5.0]]))["0"]
    >>> print(round(gradient**2, 4), weight)  # the gradient of (7 - 5)² is (4, 4)
    32.0 5.0
    >>> model.layers[0].weight.grad is None
    True
    """
    return examine(model, x, y).gradients


def _layer_norms(model: Module) -> Gradients:
    found = {}
    for name, module in model.named_modules():
        own = [p for p in vars(module).values() if isinstance(p, Parameter) and p.grad is not None]
        if own:
            found[name] = _norm([p.grad for p in own if p.grad is not None]), _norm([p.data for p in own])
    return found


def _norm(arrays: list[Array]) -> float:
    return math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays))
