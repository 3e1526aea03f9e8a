"""Facts about each layer: its sizes, its cost, the pixels that it sees, and units that are never active."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnn.explore.fields import Field, receptive_fields
from cnn.explore.sizes import size_formulas
from cnn.explore.walk import Node
from cnn.layers import Hardsigmoid, ReLU, ReLU6
from cnn.module import Array, Parameter

GATES = (ReLU, ReLU6, Hardsigmoid)  # whose output is 0, with gradient 0, over a range of inputs


@dataclass
class Facts:
    """Facts about a node.

    Attributes
    ----------
    shape : tuple of int
        Of the output for one sample.
    formulas : dict of str to str
        How its sizes follow from those of the input, see `cnn.explore.sizes.size_formulas`.
    parameters, multiply_adds : int
        Those of the layer itself, for one sample; a shared parameter counts where it is met first.
    field : Field or None
        The receptive field; None if it is not known.
    """

    shape: tuple[int, ...]
    formulas: dict[str, str]
    parameters: int
    multiply_adds: int
    field: Field | None


def facts(nodes: dict[str, Node]) -> dict[str, Facts]:
    """Return the facts about each node of a trace.

    Parameters
    ----------
    nodes : dict of str to Node
        `Trace.nodes`.

    Returns
    -------
    dict of str to Facts
        By the same names.

    Examples
    --------
    >>> from cnn import zoo
    >>> from cnn.explore import trace
    >>> found = facts(trace(zoo.lenet5(), np.ones((1, 1, 28, 28), np.float32)).nodes)["3"]
    >>> found.shape, found.formulas["width"], found.parameters, found.multiply_adds
    ((16, 10, 10), '(14 + 2*0 - 5)/1 + 1 = 10', 2416, 240000)
    >>> found.field
    Field(size=(14, 14), stride=(2, 2), offset=(-2, -2))
    """
    fields = receptive_fields(nodes)
    counted: set[int] = set()
    found = {}
    for name, node in nodes.items():
        own = [] if node.layer is None else _own_parameters(node)
        new = [parameter for parameter in own if id(parameter) not in counted]
        counted.update(id(parameter) for parameter in new)
        found[name] = Facts(
            shape=node.output.shape[1:],
            formulas=size_formulas(node, [nodes[each].output for each in node.reads]),
            parameters=sum(parameter.size for parameter in new),
            multiply_adds=0 if node.layer is None else node.layer.multiply_adds((1, *node.output.shape[1:])),
            field=fields[name],
        )
    return found


def dead_share(node: Node, outputs: Sequence[Array]) -> float | None:
    """Return which share of the units of a ReLU is zero for all of these samples; None for a layer of another kind.

    A unit is one number of the output, such as a pixel of a channel. One that is zero for every sample gets no gradient
    from any of them.

    Parameters
    ----------
    node : Node
        Of a trace.
    outputs : sequence of ndarray, (N, ...)
        Outputs of its layer for one or more samples.

    Examples
    --------
    >>> node = Node("1", ReLU(), ("0",), np.zeros((1, 4)))
    >>> dead_share(node, [np.array([[0.0, 0, 1, 0]]), np.array([[0.0, 2, 0, 0]])])
    0.5
    """
    if not isinstance(node.layer, GATES):
        return None
    active = np.any([np.any(y != 0, axis=0) for y in outputs], axis=0)
    return float(1 - active.mean()) if math.prod(active.shape) else 0.0


def _own_parameters(node: Node) -> list[Parameter]:
    """Return the parameters that belong to a node: those of the branches of a container are at other nodes."""
    layer = node.layer
    if layer is None or type(layer).__module__.startswith("cnn.containers."):
        return []
    return layer.parameters()
