"""Nodes that become one before each of them becomes a layer: a norm with the statistics of the batch.

`save` writes such a norm as InstanceNormalization of one sample that holds the whole batch. On the way the batch axis
is not the first one, which no layer keeps.
"""

from collections import Counter

import numpy as np

from cnn.interop.onnx.reading import File, Node

NORM = ("Transpose", "Reshape", "InstanceNormalization", "Reshape", "Transpose")
NORM_OF_BATCH = "norm of the batch"  # no operator of ONNX has a name with spaces


def joined(file: File) -> list[Node]:
    """Return the nodes of a file, with one in place of the five that are a norm with the statistics of the batch."""
    readers = Counter(name for node in file.nodes for name in node.inputs) + Counter(file.outputs)
    made_by = {output: node for node in file.nodes for output in node.outputs}
    nodes: dict[int, Node] = {id(node): node for node in file.nodes}
    for last in file.nodes:
        row = [last]
        while len(row) < len(NORM) and row[0].op == NORM[-len(row)] and row[0].inputs:
            name = row[0].inputs[0]
            if name not in made_by or readers[name] != 1:
                break
            row.insert(0, made_by[name])
        if tuple(node.op for node in row) == NORM and (found := _norm(row, file)):
            for node in row[:-1]:
                del nodes[id(node)]
            nodes[id(last)] = found
    return list(nodes.values())


def _norm(row: list[Node], file: File) -> Node | None:
    """Return one node in place of five: (N, C, ...) -> (C, N, ...) -> (1, C, N ...), and back."""
    there, flat, norm, back, here = row
    order = there.attributes.get("perm")
    if not isinstance(order, (list, tuple)) or here.attributes.get("perm") != order:
        return None
    if list(order) != [1, 0, *range(2, len(order))]:
        return None
    shapes = [file.constants.get(node.inputs[1]) if len(node.inputs) == 2 else None for node in (flat, back)]
    if any(shape is None or shape.ndim != 1 or not len(shape) or shape.dtype.kind != "i" for shape in shapes):
        return None
    first, second = ([int(n) for n in np.asarray(shape)] for shape in shapes)
    channels = second[0]
    if first != [1, channels, -1] or second[1:2] != [-1] or len(second) != len(order) or min(second[2:], default=1) < 1:
        return None
    attributes = {**norm.attributes, "sample": (channels, *second[2:])}
    return Node(norm.name, NORM_OF_BATCH, [there.inputs[0], *norm.inputs[1:]], here.outputs, attributes)
