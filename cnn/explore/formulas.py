"""The arithmetic of layers without windows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.containers.branches import Sum
from cnn.containers.joins import Add
from cnn.explore.view import Explained, View, activation, at, bias_value, position, quoted
from cnn.explore.walk import INPUT


def linear(view: View) -> Explained:
    """The products of all inputs and the weights of one output, and the bias."""
    if len(view.index) != 1:
        return None
    [k], [a] = view.index, view.inputs
    (weight, w), (bias, b) = view.tensor("weight"), view.tensor("bias")
    products = weight[k] * a
    values = {"inputs": a, "weights": weight[k], "products": products}
    values |= {"largest first": np.argsort(-np.abs(products), kind="stable")} | bias_value(bias, k)
    code = [f"a = {activation(view.reads[0])}[0]", "w = model.state_dict()"]
    code.append(f"print({w}[{k}] @ a" + (f" + {b}[{k}])" if b else ")"))
    return values, np.append(products, [] if bias is None else bias[k]), code


def batch_norm(view: View) -> Explained:
    """The number, shifted and scaled with the running statistics of its channel."""
    c, [a], eps = view.index[0], view.inputs, view.layer.eps
    (mean, m), (var, v) = view.tensor("running_mean"), view.tensor("running_var")
    if mean is None:  # statistics of the batch
        return None
    (weight, w), (bias, b) = view.tensor("weight"), view.tensor("bias")
    scale = (1 if weight is None else weight[c]) / math.sqrt(var[c] + eps)
    terms = [scale * a[view.index], -scale * mean[c]] + ([] if bias is None else [bias[c]])
    values = {"input": a[view.index], "mean": mean[c], "var": var[c], "eps": np.array(eps)}
    values |= {} if weight is None else {"weight": weight[c], "bias": bias[c]}
    code = [
        "w = model.state_dict()",
        f"z = ({at(view.reads[0], view.index)} - {m}[{c}]) / np.sqrt({v}[{c}] + {eps!r})",
        f"print(z * {w}[{c}] + {b}[{c}])" if w else "print(z)",
    ]
    return values, terms, code


def affine(view: View) -> Explained:
    """The number, scaled and shifted by those of its channel."""
    c, [a] = view.index[0], view.inputs
    (weight, w), (bias, b) = view.tensor("weight"), view.tensor("bias")
    values = {"input": a[view.index], "weight": weight[c], "bias": bias[c]}
    code = ["w = model.state_dict()", f"print({at(view.reads[0], view.index)} * {w}[{c}] + {b}[{c}])"]
    return values, [weight[c] * a[view.index], bias[c]], code


def softmax(view: View) -> Explained:
    """An exponential as a share of the sum of all."""
    [a] = view.inputs
    axis = view.layer.dim % (a.ndim + 1) - 1
    if axis < 0:
        return None
    others = [slice(None) if i == axis else n for i, n in enumerate(view.index)]
    z = a[tuple(others)]
    e, k = np.exp(z - z.max()), view.index[axis]
    where = ", ".join(":" if isinstance(n, slice) else str(n) for n in others)
    code = [f"z = {activation(view.reads[0])}[0, {where}]", "e = np.exp(z - z.max())", f"print(e[{k}] / e.sum())"]
    return {"inputs": z, "exponentials": e, "sum": e.sum()}, e[k] / e.sum(), code


def flatten(view: View) -> Explained:
    """The number that was moved here."""
    [a] = view.inputs
    index = tuple(int(i) for i in np.unravel_index(view.index[0], a.shape))
    return {"index": np.array(index)}, a[index], [f"print({at(view.reads[0], index)})"]


def curve(function: Callable[[Any, Any], Any], text: str) -> Callable[[View], Explained]:
    """Return the explanation of a layer that makes each number from one number a."""

    def explain(view: View) -> Explained:
        a = view.inputs[0][view.index]
        code = [f"a = {at(view.reads[0], view.index)}", f"print({text.format(layer=view.layer)})"]
        return {"input": a}, function(view.layer, a), code

    return explain


def join(view: View) -> Explained:
    """Branches that are added or multiplied; a branch of one pixel counts for all."""
    indices = [tuple(min(i, n - 1) for i, n in zip(view.index, a.shape, strict=True)) for a in view.inputs]
    numbers = np.array([a[index] for a, index in zip(view.inputs, indices, strict=True)])
    is_sum = isinstance(view.layer, (Sum, Add))
    names = ["x" if name == INPUT else f"a[{quoted(name)}]" for name in view.reads]
    texts = [f"{name}[{position(index)}]" for name, index in zip(names, indices, strict=True)]
    code = ["a = model.activations(x)", f"print({(' + ' if is_sum else ' * ').join(texts)})"]
    return {"inputs": numbers}, numbers if is_sum else numbers.prod(), code


def concatenation(view: View) -> Explained:
    """The number of the branch that this channel comes from."""
    channel, *rest = view.index
    for branch, (name, a) in enumerate(zip(view.reads, view.inputs, strict=True)):
        if channel < len(a):
            index = (channel, *rest)
            return {"branch": np.array(branch), "channel": np.array(channel)}, a[index], [f"print({at(name, index)})"]
        channel -= len(a)
    return None
