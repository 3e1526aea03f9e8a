"""Which last layers fit which loss, and which optimizer fits a model."""

from typing import Any

from cnn.errors import ShapeError
from cnn.layers import Conv2d, Linear, LogSoftmax, MaxPool2d, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from cnn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, LossFunc, NLLLoss
from cnn.module import Module, Parameter
from cnn.optim import Optimizer

MATCHING_LOSS = {Softmax: "CrossEntropyLoss()", LogSoftmax: "NLLLoss()", Sigmoid: "BCELoss()"}
UNNORMALIZED = (Linear, Conv2d, ReLU, ReLU6, Tanh)  # whose outputs are neither probabilities nor log-probabilities
EXPECTED_INPUTS = {  # what a loss expects, last layers that do not give it, a layer that does, the loss without it
    "CrossEntropyLoss()": (
        "probabilities",
        (*UNNORMALIZED, MaxPool2d, Sigmoid, LogSoftmax),
        "Softmax()",
        "CrossEntropyLoss(from_logits=True)",
    ),
    "NLLLoss()": (
        "log-probabilities",
        (*UNNORMALIZED, MaxPool2d, Sigmoid, Softmax),
        "LogSoftmax(dim=1)",
        "CrossEntropyLoss(from_logits=True)",
    ),
    "BCELoss()": ("probabilities", (*UNNORMALIZED, LogSoftmax), "Sigmoid()", "BCEWithLogitsLoss()"),
    "CrossEntropyLoss(from_logits=True)": ("logits", (Softmax, Sigmoid), None, ""),
    "BCEWithLogitsLoss()": ("logits", (Softmax, Sigmoid), None, ""),
}


def check_pairing(last: Module, name: str, loss_func: LossFunc | None) -> None:
    """Raise an error that names the fix if ``last``, the last layer, at position ``name``, does not fit the loss.

    Softmax before a loss that reads logits would be applied twice, and so would Sigmoid: such a net trains slowly and
    reaches worse metrics, without any message. In the opposite case the loss would take logarithms of negative numbers.
    """
    if type(loss_func) not in (BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss):
        return
    loss = f"{type(loss_func).__name__}({'from_logits=True' if getattr(loss_func, 'from_logits', False) else ''})"
    reads, wrong, right, without = EXPECTED_INPUTS[loss]
    if not isinstance(last, wrong):
        return
    own = next((text for kind, text in MATCHING_LOSS.items() if isinstance(last, kind)), "")
    if right is None:
        gives, fix = "probabilities", f"remove the {type(last).__name__}"
    else:
        gives, fix = "none", f"put {right} in its place" if own else f"add {right} at the end"
    raise ValueError(f"{loss} reads {reads}, but layer {name}, {last!r}, gives {gives}: {fix}, or use {own or without}")


def check_axis(last: Module, name: str, shape: tuple[int, ...]) -> None:
    """Raise an error if ``last``, a Softmax before cross-entropy, is not along axis 1 of logits of this shape."""
    if isinstance(last, Softmax) and last.dim % len(shape) != 1:
        raise ShapeError(
            f"layer {name}, {last!r}, works along axis {last.dim % len(shape)} of {shape}, but the classes are on axis "
            "1: use Softmax(dim=1)"
        )


def check_optimizer(optimizer: Any, parameters: list[Parameter]) -> None:
    """Hand the parameters of a model to an optimizer that has none.

    Raises
    ------
    TypeError
        If it is not an optimizer.
    ValueError
        If it trains the parameters of another model.
    """
    if isinstance(optimizer, type):
        raise TypeError(f"optimizer is the class {optimizer.__name__}: write {optimizer.__name__}()")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer, such as Adam(), got {optimizer!r}")
    if not optimizer.params:
        optimizer.set_params(parameters)
    elif not {id(p) for p in parameters} & {id(p) for p in optimizer.params}:
        raise ValueError(
            f"this {type(optimizer).__name__} trains the parameters of another model: make one for each model"
        )
