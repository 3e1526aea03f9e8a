"""Which last layers go with which loss."""

from cnn.layers import Conv2d, Linear, MaxPool2d, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, LossFunc
from cnn.module import Module

NO_PROBABILITIES = (Linear, Conv2d, MaxPool2d, ReLU)  # layers whose outputs do not add up to one


def check_pairing(last: Module, name: str, loss_func: LossFunc | None) -> None:
    """Raise an error that names the fix if a net that ends with ``last``, at position ``name``, cannot go with the
    loss.

    Softmax before a loss that reads logits would be applied twice: such a net trains, slowly and to worse figures, and
    nothing would say so. The other way round the loss would take logarithms of negative numbers.
    """
    if type(loss_func) is not CrossEntropyLoss:
        return
    if loss_func.from_logits and isinstance(last, Softmax):
        raise ValueError(
            f"layer {name}, {last!r}, gives probabilities, but CrossEntropyLoss(from_logits=True) reads logits: remove "
            "the Softmax, or use CrossEntropyLoss()"
        )
    if not loss_func.from_logits and isinstance(last, NO_PROBABILITIES):
        raise ValueError(
            f"CrossEntropyLoss() reads probabilities, but layer {name}, {last!r}, gives none: add Softmax() at the "
            "end, or use CrossEntropyLoss(from_logits=True)"
        )
