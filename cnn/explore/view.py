"""View: one number of a layer's output, what the layer reads, and the code for that."""

import json
from typing import Any

import numpy as np

from cnn.explore.walk import INPUT, Node
from cnn.module import Array

Index = tuple[int, ...]
Values = dict[str, Any]
Explained = tuple[Values, Any, list[str]] | None  # values, terms and code of an `Arithmetic`


class View:
    """One number of a layer's output, and what the layer reads.

    Parameters
    ----------
    nodes : dict of str to Node
    node : Node
    index : tuple of int
        Of the number in the output for the sample.
    """

    def __init__(self, nodes: dict[str, Node], node: Node, index: Index) -> None:
        self.layer: Any = node.layer
        self.name, self.reads, self.index = node.name, node.reads, index
        self.inputs = [nodes[name].output[0].astype(np.float64) for name in node.reads]
        self.size = node.output.shape[2:]

    def tensor(self, name: str) -> tuple[Any, str]:
        """Return a parameter or buffer of the layer in float64, and its code; (None, "") if the layer has none."""
        tensor = getattr(self.layer, name)
        if tensor is None:
            return None, ""
        return tensor.data.astype(np.float64), f"w[{quoted(f'{self.name}.{name}' if self.name else name)}]"


def activation(name: str) -> str:
    """Return the code for the output of a layer, or for the sample."""
    return "x" if name == INPUT else f"model.activations(x)[{quoted(name)}]"


def quoted(name: str) -> str:
    """Return the code for a name, in double quotes; that of a node may hold any character but a dot."""
    return json.dumps(name, ensure_ascii=False)


def at(name: str, index: Index) -> str:
    """Return the code for one number of it."""
    return f"{activation(name)}[{position(index)}]"


def position(index: Index) -> str:
    """Return the code for an index, with the batch axis."""
    return ", ".join(map(str, (0, *index)))


def bias_value(bias: Array | None, k: int) -> Values:
    """Return the bias of one output, if there is one."""
    return {} if bias is None else {"bias": bias[k]}
