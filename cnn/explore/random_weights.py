"""A copy of a net that has learned nothing, as a check of saliency maps."""

import inspect
from typing import Any

import numpy as np

from cnn.core.rng import generator
from cnn.explore.walk import evaluated_copy
from cnn.module import Buffer, Module, Parameter


def randomized(model: Module, seed: np.random.Generator | int) -> Any:
    """Return a copy of a model with new random weights, to check saliency maps.

    A map that looks the same for a net that has learned nothing shows the image, not the net. Every layer of the
    library gets weights, and norms get statistics, as a new layer of its kind has them. The parameters of your own
    layers are drawn from a normal distribution with their mean and standard deviation.

    Parameters
    ----------
    model : Module
        It does not change.
    seed : numpy.random.Generator or int
        Draws the weights.

    Returns
    -------
    Module
        In evaluation mode, without an optimizer.

    Source
    ------
    Adebayo et al. 2018, Sanity checks for saliency maps, arXiv 1810.03292, section 3.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> layer = Linear(2, 1, rng=0)
    >>> bool((randomized(layer, 1).weight.data == layer.weight.data).any())
    False
    """
    rng, copied = generator(seed), evaluated_copy(model)
    for module in copied.modules():
        tensors = {name: value for name, value in vars(module).items() if isinstance(value, Buffer)}
        if not tensors:
            continue
        if type(module).__module__.startswith("cnn.layers."):
            arguments = module.arguments()
            if "rng" in inspect.signature(type(module)).parameters:
                arguments["rng"] = rng
            new = vars(type(module)(**arguments))
            for name, tensor in tensors.items():
                tensor.data = new[name].data
            continue
        for tensor in tensors.values():
            if isinstance(tensor, Parameter):
                tensor.data = rng.normal(tensor.data.mean(), tensor.data.std(), tensor.shape)
    return copied
