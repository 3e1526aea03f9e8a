"""Early warnings during training: a first loss that is too high, dead units, vanishing or exploding gradients.

All checks run on a copy of the model, so they do not change the training results in any bit.
"""

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.core.parameter import plain_array
from cnn.errors import InputError
from cnn.init import fan_in_and_out
from cnn.loss import CrossEntropyLoss, NLLLoss
from cnn.module import Array, Module, Parameter
from cnn.training.content import has_keys, items, text
from cnn.training.examine import Gradients, examine, gradient_norms
from cnn.training.stopping import is_first_step

if TYPE_CHECKING:
    from cnn.training.step import Step

__all__ = [
    "Health", "TrainingWarning", "dead_note", "examine", "first_loss_note", "gradient_norms", "gradient_note",
]  # fmt: skip

FIRST_STEPS = (1, 10, 100)  # steps of the first epoch after which Health checks the model, besides the end of epochs

# Thresholds for warnings. The measured values are from zoo nets (small_cnn, mlp, lenet5, vgg, mobilenet, densenet,
# inception, resnet up to depth 110) on random images, spirals and Fashion-MNIST, before, during and after training that
# went well.
MAX_DEAD = 0.9  # fraction of a layer's units. Up to 0.45 on Fashion-MNIST, up to 0.81 where all images look alike
# Norm of the gradient over norm of the weights. Up to 32 at the start of resnet(110), 7 elsewhere; 3e3 and more with
# lr=100
MAX_GRADIENT_RATIO = 1e3
# That ratio of one layer over that of another. Up to 6e3. Above 1e5, a learning rate that changes the first layer by a
# thousandth changes the other by less than the precision of float32, 6e-8.
MAX_LAYER_RATIO = 1e5
TINY_LOSS = 1e-6  # below this loss nothing is left to learn, so gradients may be 0


class TrainingWarning(UserWarning):
    """Training runs, but almost certainly does not go well."""


def first_loss_note(model: Any, x: Array, loss: float, classes: int) -> str | None:
    """Return a warning if the loss of an untrained model is too high, with the cause if it can be found, or None.

    A net without information gives every class the probability 1 / K, and its loss is ln K. Random initial weights
    make the logits differ: with the standard deviation s the loss is ln K + s² / 2, and s is at most about 1. So a loss
    above twice ln K, or above ln K + 2 (s = 2) if that is larger, shows a net that is overconfident before training.

    Parameters
    ----------
    model : Module
        Only CrossEntropyLoss and NLLLoss are checked, without class weights and with reduction="mean". Label smoothing
        does not change the expected loss.
    x : ndarray
        Samples as in training.
    loss : float
        The loss of the first step.
    classes : int
        K, the number of classes.
    """
    loss_func = model.loss_func
    if type(loss_func) not in (CrossEntropyLoss, NLLLoss) or loss_func.weight or loss_func.reduction != "mean":
        return None
    expected = math.log(classes)
    if not loss > expected + max(expected, 2):
        return None
    begin = f"the first loss is {loss:.3g}, but an untrained net with {classes} classes should have {expected:.3g}"
    if math.sqrt(np.square(x, dtype=np.float64).mean()) > 10:
        return (
            f"{begin}: the inputs range from {x.min():.4g} to {x.max():.4g}; scale them to 0 to 1, or to mean 0 and "
            "standard deviation 1"
        )
    # He et al. 2015, arXiv 1502.01852, equation 10: the weights of a ReLU net should have variance 2 / fan_in
    sizes = {
        name: math.sqrt(fan_in_and_out(p.shape)[0] * np.square(p.data, dtype=np.float64).mean() / 2)
        for name, p in model.named_parameters()
        if p.data.ndim > 1 and p.size
    }
    large = [name for name, size in sizes.items() if size > 5]
    if large:
        worst = max(large, key=lambda name: sizes[name])
        path, _, attribute = worst.rpartition(".")
        return (
            f"{begin}: the {attribute} of {_layer(model, path)}{_more(large)} is {sizes[worst]:.2g} times as large as "
            "usual; use the default initialisation of the layers, or cnn.init"
        )
    return f"{begin}: check that the inputs are scaled, and that the initial weights are those that layers draw"


def dead_note(model: Any, dead: dict[str, float]) -> str | None:
    """Return a warning if nearly all units of a ReLU are 0 for every sample, so that they pass no gradient, or None.

    Parameters
    ----------
    model : Module
        Whose layers they are.
    dead : dict of str to float
        The result of `examine`. If all samples of the batch look alike, half of the units may be 0 in a healthy net.
    """
    found = [name for name, share in dead.items() if share > MAX_DEAD]
    if not found:
        return None
    first = found[0]  # later layers may be dead only because they get its zeros
    return (
        f"{100 * dead[first]:.0f} % of the units of {_layer(model, first)}{_more(found)} are 0 for every sample, and "
        "such units no longer learn: try a smaller learning rate, and check the biases of the layer before"
    )


def gradient_note(model: Any, gradients: Gradients, loss: float) -> str | None:
    """Return a warning if gradients are not finite, 0, much larger than the weights or very uneven, or None.

    Only layers with a weight of at least two axes are compared: the gradient of a scale or a bias may be tiny.

    Parameters
    ----------
    model : Module
        Whose layers they are.
    gradients : dict of str to pair of float
        The result of `gradient_norms`.
    loss : float
        The loss of the same batch.
    """
    modules = dict(model.named_modules())
    ratios: dict[str, float] = {}
    for name, (gradient, weight) in gradients.items():
        matrices = [p for p in vars(modules[name]).values() if isinstance(p, Parameter) and p.data.ndim > 1]
        if matrices:
            # weights of usual size have a norm of sqrt(rows), or half of it; for zeros a tenth of it is used
            ratios[name] = gradient / max(weight, 0.1 * math.sqrt(sum(p.shape[0] for p in matrices)))
    if not ratios:
        return None
    not_finite = [name for name, ratio in ratios.items() if not math.isfinite(ratio)]
    if not_finite:  # the last one is the first in the order of backward
        return (
            f"the gradient of {_layer(model, not_finite[-1])}{_more(not_finite)} is NaN or infinite, although the loss "
            f"is {loss:.3g}: check its backward and the layers after it"
        )
    zero = [name for name, ratio in ratios.items() if ratio == 0]
    if zero and (len(zero) < len(ratios) or loss > TINY_LOSS):
        return (
            f"the gradient of {_layer(model, zero[-1])}{_more(zero)} is exactly 0, so it learns nothing: check the "
            "layers after it"
        )
    smallest, largest = (choose(ratios, key=lambda name: ratios[name]) for choose in (min, max))
    if ratios[largest] > MAX_GRADIENT_RATIO and model.loss_func.reduction == "mean":
        return (
            f"the gradient of {_layer(model, largest)} is {ratios[largest]:.1e} times as large as its weights: try a "
            "smaller learning rate, smaller initial weights, or targets of a smaller scale"
        )
    if ratios[smallest] == 0 or ratios[largest] / ratios[smallest] <= MAX_LAYER_RATIO:
        return None
    order = list(ratios)
    vanish = order.index(smallest) < order.index(largest)
    return (
        f"gradients {'vanish' if vanish else 'explode'} in the backward pass: relative to the weights, that of "
        f"{_layer(model, smallest)} is {ratios[largest] / ratios[smallest]:.0e} times smaller than that of "
        f"{_layer(model, largest)}. Try a BatchNorm after each layer, ReLU instead of Sigmoid or Tanh, initial "
        "weights from kaiming_normal, or fewer layers"
    )


def _layer(model: Module, name: str) -> str:
    """Return the name and the repr of a layer; the repr of a container is shortened."""
    module = dict(model.named_modules())[name]
    text = f"{type(module).__name__}(...)" if module.children() else repr(module)
    return f"layer {name}, {text}" if name else text


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


class Health:
    """A callback that warns early of problems in training; each kind of problem is reported once.

    It checks the model after steps 1, 10 and 100 and at the end of each epoch. A check takes as long as two or three
    training steps on its samples, because layers are not fused in it. It changes nothing: with and without it, training
    gives the same bits.

    Parameters
    ----------
    x, y : array_like
        N samples (N, ...) as in training, and their targets, for example the first 64 of the training set. At least 2;
        dead units are only checked with 32 or more.

    Attributes
    ----------
    notes : list of str
        The warnings of this training run so far.

    Raises
    ------
    InputError
        At the first step, if they do not fit the model.

    Warns
    -----
    TrainingWarning
        If the first loss is far above ln(classes), nearly all units of a ReLU are dead, gradients vanish, explode, are
        0 or not finite, or the loss is not finite. The warning names the layer.

    Source
    ------
    Karpathy 2019, A recipe for training neural networks (verify the loss at the start); Glorot and Bengio 2010,
    Understanding the difficulty of training deep feedforward neural networks (gradients of layers compared); Lu et al.
    2019, Dying ReLU and initialization, arXiv 1903.06733.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear, ReLU
    >>> x, y = np.random.default_rng(0).normal(size=(64, 2)), np.arange(64) % 2
    >>> model = Sequential([Linear(2, 8, rng=0), ReLU(), Linear(8, 2, rng=1)], CrossEntropyLoss(from_logits=True))
    >>> health = Health(x, y)
    >>> health(SimpleNamespace(epoch=1, step=1, loss=0.7, metrics=None, model=model))  # as the training loop does
    >>> health.notes
    []
    """

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = plain_array(x), plain_array(y)
        if self.x.ndim == 0 or len(self.x) < 2:
            raise InputError(f"Health needs at least 2 samples, better 64, got an array of shape {self.x.shape}")
        self._notes: dict[str, str] = {}

    @property
    def notes(self) -> list[str]:
        return list(self._notes.values())

    def __repr__(self) -> str:
        return f"Health({len(self.x)} samples, notes={self.notes!r})"

    def __call__(self, step: "Step") -> None:
        if is_first_step(step):
            self._notes = {}
        if step.metrics is None and not (step.epoch == 1 and step.step in FIRST_STEPS):
            return
        model = step.model
        found = examine(model, self.x, self.y)
        if found.not_finite:
            self._warn("not finite", f"the loss of the samples of Health is {found.loss}: {found.not_finite}")
            return
        if is_first_step(step):
            # the step's loss is that of the initial model; for a batch of one sample it may be high by chance
            loss = min(step.loss, found.loss)
            self._warn("first loss", first_loss_note(model, self.x, loss, found.classes))
        dead = dead_note(model, found.dead)
        self._warn("dead units", dead)
        if dead is None:  # dead units would explain unusual gradients
            self._warn("gradients", gradient_note(model, found.gradients, found.loss))

    def _warn(self, kind: str, note: str | None) -> None:
        if note is None or kind in self._notes:
            return
        self._notes[kind] = note
        warnings.warn(note, TrainingWarning, stacklevel=3)

    def state_dict(self) -> dict[str, Any]:
        return {"told": [[kind, note] for kind, note in self._notes.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        has_keys(state, "state", ("told",))
        told = items(state["told"], "told", lambda pair, name: items(pair, name, text, 2))
        self._notes = dict(told)
