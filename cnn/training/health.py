"""What a training should be told early: a first loss that is too high, dead units, gradients that vanish or explode.

All of it is found on a copy of the model, so that looking changes nothing of the training: not a bit.
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
from cnn.training.examine import Gradients, examine, gradient_norms
from cnn.training.stopping import is_first_step

if TYPE_CHECKING:
    from cnn.training.step import Step

__all__ = [
    "Health", "TrainingWarning", "dead_note", "examine", "first_loss_note", "gradient_norms", "gradient_note",
]  # fmt: skip

FIRST_STEPS = (1, 10, 100)  # of the first epoch, after which Health looks as well

# Where notes begin, with what was measured on zoo nets (small_cnn, mlp, lenet5, vgg, mobilenet, densenet, inception,
# resnet to depth 110) on random images, spirals and Fashion-MNIST, before, during and after training that went well.
DEAD = 0.9  # share of a layer's units. Up to 0.45 on Fashion-MNIST, up to 0.81 where all images look alike
LARGE = 1e3  # gradient, in weights. Up to 32 at the start of resnet(110), 7 elsewhere; 3e3 and more with lr=100
# Gradient of one layer, in weights, by that of another: up to 6e3. Beyond, a rate that moves the first by a thousandth
# moves the other by less than float32 can tell from nothing, 6e-8.
UNEVEN = 1e5
TINY = 1e-6  # a loss at which nothing is left to learn, so that gradients may be 0


class TrainingWarning(UserWarning):
    """A training that runs, and is almost surely not going well."""


def first_loss_note(model: Any, x: Array, loss: float, classes: int) -> str | None:
    """Say that the loss of an untrained model is too high, and why, if it can be told.

    A net that knows nothing gives every class the probability 1 / K, and its loss is ln K. Initial weights scatter the
    scores about equality: with standard deviation s the loss is ln K + s² / 2, and s is about 1 at most. So above twice
    ln K, or ln K + 2 (s = 2) where that is more, the net is sure of what it cannot know.

    Parameters
    ----------
    model : Module
        With any loss but CrossEntropyLoss and NLLLoss, or with class weights, or a loss that is a sum, there is nothing
        to say. Label smoothing does not change what is expected.
    x : ndarray
        Samples as the model gets them.
    loss : float
        The first.
    classes : int
        K.
    """
    loss_func = model.loss_func
    if type(loss_func) not in (CrossEntropyLoss, NLLLoss) or loss_func.weight or loss_func.reduction != "mean":
        return None
    expected = math.log(classes)
    if not loss > expected + max(expected, 2):
        return None
    begin = f"the first loss is {loss:.3g}, and a net that knows nothing of {classes} classes has {expected:.3g}"
    if math.sqrt(np.square(x, dtype=np.float64).mean()) > 10:
        return (
            f"{begin}: the inputs reach from {x.min():.4g} to {x.max():.4g}; scale them to 0 to 1, or to mean 0 and "
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
            "usual; take other initial weights, as the layers themselves or cnn.init draw them"
        )
    return f"{begin}: are the inputs scaled, and the initial weights as layers draw them?"


def dead_note(model: Any, dead: dict[str, float]) -> str | None:
    """Say that nearly all units of a ReLU are 0 for every sample; no gradient passes through them.

    Parameters
    ----------
    model : Module
        Whose layers they are.
    dead : dict of str to float
        As `examine` finds it; for batches in which all samples look alike, half of them is no bad sign.
    """
    found = [name for name, share in dead.items() if share > DEAD]
    if not found:
        return None
    first = found[0]  # what comes later reads its zeros, and may be ill of that alone
    return (
        f"{100 * dead[first]:.0f} % of the units of {_layer(model, first)}{_more(found)} are 0 for every sample, and "
        "such units learn no more: try a smaller learning rate and look at the biases before them"
    )


def gradient_note(model: Any, gradients: Gradients, loss: float) -> str | None:
    """Say that gradients are not finite, 0, far larger than the weights, or far from each other, and in which layers.

    Only layers are compared that have a weight of two axes or more: a factor or a shift may have hardly a gradient.

    Parameters
    ----------
    model : Module
        Whose layers they are.
    gradients : dict of str to pair of float
        As `gradient_norms` finds it.
    loss : float
        Of the same batch.
    """
    modules = dict(model.named_modules())
    ratios: dict[str, float] = {}
    for name, (gradient, weight) in gradients.items():
        matrices = [p for p in vars(modules[name]).values() if isinstance(p, Parameter) and p.data.ndim > 1]
        if matrices:
            # of usual size they have a norm of sqrt(rows), or half; those that began as zeros count as a tenth of it
            ratios[name] = gradient / max(weight, 0.1 * math.sqrt(sum(p.shape[0] for p in matrices)))
    if not ratios:
        return None
    wrong = [name for name, ratio in ratios.items() if not math.isfinite(ratio)]
    if wrong:  # the last is the first that backward met
        return (
            f"the gradient of {_layer(model, wrong[-1])}{_more(wrong)} is NaN or infinite, though the loss is "
            f"{loss:.3g}: look at its backward and at what comes after it"
        )
    zero = [name for name, ratio in ratios.items() if ratio == 0]
    if zero and (len(zero) < len(ratios) or loss > TINY):
        return (
            f"the gradient of {_layer(model, zero[-1])}{_more(zero)} is exactly 0, so it learns nothing: look at what "
            "comes after it"
        )
    smallest, largest = (choose(ratios, key=lambda name: ratios[name]) for choose in (min, max))
    if ratios[largest] > LARGE and model.loss_func.reduction == "mean":
        return (
            f"the gradient of {_layer(model, largest)} is {ratios[largest]:.1e} times as large as its weights: try a "
            "smaller learning rate, smaller initial weights, or targets of a smaller scale"
        )
    if ratios[smallest] == 0 or ratios[largest] / ratios[smallest] <= UNEVEN:
        return None
    order = list(ratios)
    vanish = order.index(smallest) < order.index(largest)
    return (
        f"gradients {'vanish' if vanish else 'explode'} on their way back: relative to the weights, that of "
        f"{_layer(model, smallest)} is {ratios[largest] / ratios[smallest]:.0e} times smaller than that of "
        f"{_layer(model, largest)}. Try a BatchNorm after each layer, ReLU in place of Sigmoid or Tanh, initial "
        "weights of kaiming_normal, or fewer layers"
    )


def _layer(model: Module, name: str) -> str:
    """Name a layer; one that holds others would print them all."""
    module = dict(model.named_modules())[name]
    said = f"{type(module).__name__}(...)" if module.children() else repr(module)
    return f"layer {name}, {said}" if name else said


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


class Health:
    """A callback that says early what is almost surely wrong with a training, each kind of note once.

    It looks after steps 1, 10 and 100 and at the end of each epoch. A look takes as long as two or three training steps
    on its samples, as layers do not run as one in it, and changes nothing: with it or without, a training has the same
    bits.

    Parameters
    ----------
    x, y : array_like
        N samples (N, ...) as the model gets them in training, and their targets, for example the first 64 of the
        training set. At least 2; dead units are looked for with 32 or more.

    Attributes
    ----------
    notes : list of str
        What was said so far in this training.

    Raises
    ------
    InputError
        With the first step, if they do not fit the model.

    Warns
    -----
    TrainingWarning
        For a first loss far above ln(classes), a ReLU whose units are nearly all dead, gradients that vanish, explode,
        or are 0 or not finite, and a loss that is not finite; it names the layer.

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
    >>> health(SimpleNamespace(epoch=1, step=1, loss=0.7, metrics=None, model=model))  # as the training does
    >>> health.notes
    []
    """

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = plain_array(x), plain_array(y)
        if self.x.ndim == 0 or len(self.x) < 2:
            raise InputError(f"Health needs at least 2 samples, better 64, got an array of shape {self.x.shape}")
        self._told: dict[str, str] = {}

    @property
    def notes(self) -> list[str]:
        return list(self._told.values())

    def __repr__(self) -> str:
        return f"Health({len(self.x)} samples, notes={self.notes!r})"

    def __call__(self, step: "Step") -> None:
        if is_first_step(step):
            self._told = {}
        if step.metrics is None and not (step.epoch == 1 and step.step in FIRST_STEPS):
            return
        model = step.model
        found = examine(model, self.x, self.y)
        if found.not_finite:
            self._tell("not finite", f"the loss of the samples of Health is {found.loss}: {found.not_finite}")
            return
        if is_first_step(step):
            # the step's loss is that of the model as it began; of a batch of one it may be high by chance
            loss = min(step.loss, found.loss)
            self._tell("first loss", first_loss_note(model, self.x, loss, found.classes))
        dead = dead_note(model, found.dead)
        self._tell("dead units", dead)
        if dead is None:  # which would explain what gradients do
            self._tell("gradients", gradient_note(model, found.gradients, found.loss))

    def _tell(self, kind: str, note: str | None) -> None:
        if note is None or kind in self._told:
            return
        self._told[kind] = note
        warnings.warn(note, TrainingWarning, stacklevel=3)

    def state_dict(self) -> dict[str, Any]:
        return {"told": [[kind, note] for kind, note in self._told.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._told = dict(state["told"])
