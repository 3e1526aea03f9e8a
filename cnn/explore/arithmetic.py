"""Arithmetic: how one number of a layer's output is made from the numbers that the layer reads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnn.containers.branches import Concat, Product, Residual, Sum
from cnn.containers.joins import Add, Concatenate, Multiply
from cnn.core.text import fields_text
from cnn.errors import InputError
from cnn.explore import formulas, windows
from cnn.explore.trace import Trace
from cnn.explore.view import Explained, Index, Values, View, activation
from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    Affine,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from cnn.module import Array

_same = formulas.curve(lambda layer, a: a, "a")
EXPLANATIONS: dict[type, Callable[[View], Explained]] = {
    Conv2d: windows.convolution,
    Linear: formulas.linear,
    MaxPool2d: windows.pool_window,
    AvgPool2d: windows.pool_window,
    AdaptiveMaxPool2d: windows.pool_region,
    AdaptiveAvgPool2d: windows.pool_region,
    BatchNorm1d: formulas.batch_norm,
    BatchNorm2d: formulas.batch_norm,
    Affine: formulas.affine,
    Softmax: formulas.softmax,
    Flatten: formulas.flatten,
    ReLU: formulas.curve(lambda layer, a: max(a, 0), "max(a, 0)"),
    ReLU6: formulas.curve(lambda layer, a: min(max(a, 0), 6), "min(max(a, 0), 6)"),
    LeakyReLU: formulas.curve(
        lambda layer, a: a if a > 0 else layer.negative_slope * a, "a if a > 0 else {layer.negative_slope!r} * a"
    ),
    Hardtanh: formulas.curve(
        lambda layer, a: min(max(a, layer.min_val), layer.max_val),
        "min(max(a, {layer.min_val!r}), {layer.max_val!r})",
    ),
    Hardsigmoid: formulas.curve(
        lambda layer, a: min(max(layer.alpha * a + layer.beta, 0), 1),
        "min(max({layer.alpha!r} * a + {layer.beta!r}, 0), 1)",
    ),
    Hardswish: formulas.curve(lambda layer, a: a * min(max(a + 3, 0), 6) / 6, "a * min(max(a + 3, 0), 6) / 6"),
    SiLU: formulas.curve(lambda layer, a: a / (1 + np.exp(-a)), "a / (1 + np.exp(-a))"),
    Tanh: formulas.curve(lambda layer, a: np.tanh(a), "np.tanh(a)"),
    Sigmoid: formulas.curve(lambda layer, a: 1 / (1 + np.exp(-a)), "1 / (1 + np.exp(-a))"),
    **dict.fromkeys((Identity, Dropout, Dropout2d), _same),
    **dict.fromkeys((Sum, Residual, Add, Product, Multiply), formulas.join),
    **dict.fromkeys((Concat, Concatenate), formulas.concatenation),
}


@dataclass(repr=False)
class Arithmetic:
    """How one number is made.

    Attributes
    ----------
    values : dict of str to ndarray
        The numbers that enter, and those in between, by name, such as "window", "kernel" and "products".
    terms : ndarray, (n,)
        Numbers whose sum is the output; a single one where nothing is added. The net adds up n of them in float32,
        which is wrong by up to n / 2**24 of the sum of their sizes.
    value : float
        The number that the layer gave.
    code : str
        Up to three lines of Python that print the number, for ``model`` and the sample ``x``.
    """

    values: Values
    terms: Array
    value: float
    code: str

    def __repr__(self) -> str:
        return fields_text(self)


def arithmetic(trace: Trace, name: str, index: Index) -> Arithmetic | None:
    """Return how one number of a layer's output is made; None if this kind of layer has no such view.

    Parameters
    ----------
    trace : Trace
        Of `cnn.explore.trace`.
    name : str
        Of a node in ``trace.nodes``.
    index : tuple of int
        (channel, row, column) of an image, (feature,) of a row of numbers.

    Returns
    -------
    Arithmetic or None

    Raises
    ------
    InputError
        If there is no such node, or no such number.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.explore import trace
    >>> model = Sequential([Linear(2, 1)])
    >>> model.layers[0].weight.data, model.layers[0].bias.data = [[3.0, -1.0]], [0.5]
    >>> found = arithmetic(trace(model, np.array([[10.0, 20.0]]), 0), "0", (0,))
    >>> found.terms, found.value
    (array([ 30. , -20. ,   0.5]), 10.5)
    >>> print(found.code)
    a = x[0]
    w = model.state_dict()
    print(w["0.weight"][0] @ a + w["0.bias"][0])
    """
    if name not in trace.nodes:
        raise InputError(f"there is no node {name!r}; there is {', '.join(trace.nodes)}")
    node = trace.nodes[name]
    shape = node.output.shape[1:]
    if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise InputError(f"index must be one of a number in an output of shape {shape}, got {index}")
    explain = EXPLANATIONS.get(type(node.layer))
    if explain is None:
        return None
    found = explain(View(trace.nodes, node, tuple(int(i) for i in index)))
    if found is None:
        return None
    values, terms, code = found
    return Arithmetic(values, np.asarray(terms, np.float64).ravel(), float(node.output[0][index]), "\n".join(code))


def loss_arithmetic(trace: Trace) -> Arithmetic | None:
    """Return how the cross-entropy is made from the logits; None if the loss is another, or has many pixels.

    L = log(sum over k of exp(z[k] - m)) - (z[y] - m),  m the largest logit

    Parameters
    ----------
    trace : Trace
        Of `cnn.explore.trace`.

    Returns
    -------
    Arithmetic or None

    Examples
    --------
    >>> from cnn.explore import trace
    >>> found = loss_arithmetic(trace(Identity(), np.log([[0.25, 0.75]]), 0))
    >>> print(round(found.value, 4), round(found.terms.sum(), 4))
    1.3863 1.3863
    """
    if trace.target.dtype.kind != "i" or trace.logits.ndim != 2:
        return None
    name = next(name for name, node in reversed(trace.nodes.items()) if node.output is trace.logits)
    y, z = int(trace.target[0]), trace.logits[0].astype(np.float64)
    shifted = z - z.max()
    terms = [np.log(np.exp(shifted).sum()), -shifted[y]]
    code = [f"z = {activation(name)}[0]", "z = z - z.max()", f"print(np.log(np.exp(z).sum()) - z[{y}])"]
    values = {"logits": z, "exponentials": np.exp(shifted), "probabilities": np.exp(shifted) / np.exp(shifted).sum()}
    return Arithmetic(values, np.array(terms), trace.loss, "\n".join(code))
