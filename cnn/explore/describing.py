"""What the header of a page says about the net: its layers, how they are connected, and facts about them."""

from typing import Any

from cnn.containers.container import Container
from cnn.explore.arithmetic import EXPLANATIONS
from cnn.explore.facts import dead_share, facts
from cnn.explore.trace import Trace
from cnn.explore.walk import Node
from cnn.layers import AvgPool2d, Conv2d, MaxPool2d
from cnn.loss import LossFunc
from cnn.loss.targets import ClassificationLoss
from cnn.module import Array, Buffer, Module


def describe(model: Module, found: Trace, active: dict[str, list[Array]]) -> dict[str, Any]:
    """Return the net and its layers as lists, dicts, strings and numbers.

    Parameters
    ----------
    model : Module
        The net.
    found : Trace
        Of one image.
    active : dict of str to list of ndarray
        For the layers that can have dead units: which units were not zero, for each image.
    """
    about = facts(found.nodes)
    nodes = []
    for name, node in found.nodes.items():
        inputs = [found.nodes[each].output for each in node.reads]
        fact = about[name]
        nodes.append(
            {
                "name": name,
                "kind": "" if node.layer is None else type(node.layer).__name__,
                "text": _text(node),
                "reads": list(node.reads),
                "shape": list(fact.shape),
                "formulas": fact.formulas,
                "parameters": fact.parameters,
                "multiply_adds": fact.multiply_adds,
                "field": None
                if fact.field is None
                else {key: list(pair) for key, pair in fact.field._asdict().items()},
                "dead": dead_share(node, active[name]) if name in active else None,
                "arithmetic": type(node.layer) in EXPLANATIONS,
                "settings": _settings(node, inputs),
                "tensors": tensor_names(node),
            }
        )
    own = getattr(model, "loss_func", None)
    is_own = isinstance(own, LossFunc) and not isinstance(own, ClassificationLoss)
    return {
        "model": {
            "text": repr(model),
            "classes": getattr(model, "class_names", None),
            "preprocessing": getattr(model, "preprocessing", None),
            "loss": repr(own) if is_own else "cross-entropy",
        },
        "nodes": nodes,
        "logits": next(name for name, node in reversed(found.nodes.items()) if node.output is found.logits),
    }


def _text(node: Node) -> str:
    if node.layer is None:
        return ""
    return type(node.layer).__name__ if isinstance(node.layer, Container) else repr(node.layer)


def _settings(node: Node, inputs: list[Array]) -> dict[str, Any]:
    """Return the constructor arguments of a layer of the library, and the padding of all four sides of a window."""
    layer = node.layer
    if layer is None or not type(layer).__module__.startswith("cnn.layers."):
        return {}
    settings = {name: _plain(value) for name, value in layer.arguments().items()}
    if isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
        settings["pads"] = _plain(layer.geometry(*inputs[0].shape[2:]).pads)
    return settings


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def tensor_names(node: Node) -> dict[str, str]:
    """Return the names in the state_dict of the weights that a layer itself holds."""
    held = {} if node.layer is None else vars(node.layer)
    names = [name for name, value in held.items() if isinstance(value, Buffer) and value.dtype.kind == "f"]
    return {name: f"{node.name}.{name}" if node.name else name for name in names}
