"""The gradient of one weight: the sum of what it saw times the gradient of what it made."""

from typing import Any

import numpy as np

from cnn.errors import InputError
from cnn.explore.arithmetic import Arithmetic
from cnn.explore.trace import Trace
from cnn.explore.view import quoted
from cnn.explore.windows import window_slice, window_text
from cnn.layers import Conv2d, Linear


def weight_arithmetic(trace: Trace, name: str, index: tuple[int, ...]) -> Arithmetic | None:
    """Return how the gradient of one weight is made; None if this kind of layer has no such view.

    dL/dw[k, c, u, v] = sum over i, j of  x[c, s i + d u - p, s j + d v - p] g[k, i, j]  for a Conv2d,
    dL/dw[k, i] = x[i] g[k] for a Linear, with x what the layer reads, and g the gradient in its output.

    Parameters
    ----------
    trace : Trace
        Of `cnn.explore.trace`.
    name : str
        Of a layer with a weight.
    index : tuple of int
        Of a number in the weight.

    Returns
    -------
    Arithmetic or None
        With "seen", "made" and "products" as values; the code also needs ``y``, the class.

    Raises
    ------
    InputError
        If there is no such layer, or no such weight.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.explore import trace
    >>> layer = Linear(2, 2)
    >>> layer.weight.data, layer.bias.data = np.zeros((2, 2)), np.zeros(2)
    >>> found = weight_arithmetic(trace(Sequential([layer]), np.array([[10.0, 20.0]]), 0), "0", (1, 0))
    >>> found.values["seen"], found.values["made"], found.value
    (array(10.), array(0.5), 5.0)
    """
    if name not in trace.nodes:
        raise InputError(f"there is no node {name!r}; there is {', '.join(trace.nodes)}")
    node, tensor = trace.nodes[name], f"{name}.weight" if name else "weight"
    layer: Any = node.layer
    if type(layer) not in (Conv2d, Linear) or tensor not in trace.grads or node.grad is None or node.output.ndim == 3:
        return None
    shape = layer.weight.shape
    if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise InputError(f"index must be one of a number in a weight of shape {shape}, got {index}")
    k, read = index[0], node.reads[0]
    x, made = trace.nodes[read].output[0].astype(np.float64), node.grad[0, k].astype(np.float64)
    code = ["t = cnn.explore.trace(model, x, y)"]
    if type(layer) is Linear:
        seen: Any = x[index[1]]
        code.append(f"t.nodes[{quoted(read)}].output[0, {index[1]}] * t.nodes[{quoted(name)}].grad[0, {k}]")
    else:
        channel = index[1] + k // (layer.out_channels // layer.groups) * (layer.in_channels // layer.groups)
        geometry = layer.geometry(*x.shape[1:])
        places = zip(index[2:], geometry.dilation, made.shape, geometry.stride, strict=True)
        rows, columns = (window_slice(d * u, count, s) for u, d, count, s in places)
        seen = np.pad(x[channel], geometry.pads)[rows, columns]
        code.append(f"a = np.pad(t.nodes[{quoted(read)}].output[0, {channel}], {geometry.pads})")
        code.append(f"(a[{window_text(rows)}, {window_text(columns)}] * t.nodes[{quoted(name)}].grad[0, {k}]).sum()")
    code[-1] = f"print({code[-1]})"
    products = seen * made
    values = {"seen": np.asarray(seen), "made": np.asarray(made), "products": products}
    return Arithmetic(values, np.ravel(products), float(trace.grads[tensor][index]), "\n".join(code))
