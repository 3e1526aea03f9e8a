"""The usual two parameter groups: with weight decay and without."""

from typing import Any

from cnn.module import Module
from cnn.optim.shared import at_least_zero, check_model


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups in which biases and norms, all parameters with fewer than 2 axes, do not decay.

    Weight decay keeps a layer from relying on a few large weights. A bias or the scale of a norm is one number for a
    whole channel, and shrinking it only makes the fit worse.

    Parameters
    ----------
    model : Module
        The model to train.
    weight_decay : float
        For the matrices and convolution weights, at least 0.

    Source
    ------
    T. He et al. 2019, Bag of tricks for image classification with convolutional neural networks, arXiv 1812.01187,
    section 3.1.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> from cnn.optim import AdamW
    >>> optimizer = AdamW(decay_groups(Linear(3, 2), weight_decay=0.05), lr=0.01)
    >>> [(group.weight_decay, [p.shape for p in group.params]) for group in optimizer.param_groups]
    [(0.05, [(2, 3)]), (0.0, [(2,)])]
    """
    check_model(model)
    weight_decay = at_least_zero(weight_decay, "weight_decay")
    parameters = model.parameters()
    return [
        {"params": [p for p in parameters if len(p.shape) >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if len(p.shape) < 2], "weight_decay": 0.0},
    ]
