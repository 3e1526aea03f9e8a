"""Walk: a forward and a backward pass through a copy of a model, layer by layer, that keeps every activation.

The layers compute everything. A walk only looks on: as the clock of `cnn.core.modes.timing` it is handed each call of a
layer's forward and backward, with what goes in, and runs it. The copy is in evaluation mode; the model itself does not
change, whatever happens on the way.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.containers.chain import Chain
from cnn.containers.graph import Graph
from cnn.core.modes import Mode
from cnn.core.text import fields_text
from cnn.errors import InputError
from cnn.kernels import one_blas_thread
from cnn.layers import Identity, LogSoftmax, Softmax
from cnn.loss import LossFunc
from cnn.loss.targets import ClassificationLoss
from cnn.model.lint import mark_as_built
from cnn.model.pairing import check_axis
from cnn.module import Array, Module, evaluating
from cnn.sequential import Sequential
from cnn.training.inputs import as_samples

INPUT = "input"  # the name of the node that holds the samples

TOO_LARGE = "the numbers became too large: train again with a lower learning rate, or scale the inputs"
QUIET: Any = {"over": "ignore", "invalid": "ignore"}  # of NumPy: numbers that become too large are said in a sentence


@dataclass(repr=False)
class Node:
    """An activation: the samples, or the output of a layer.

    Attributes
    ----------
    name : str
        That of the layer in `Module.named_modules`; "input" for the samples.
    layer : Module or None
        The layer, or the container that adds, multiplies or concatenates its branches; None for the samples.
    reads : tuple of str
        The names of the nodes that the layer reads.
    output : ndarray, (N, ...)
    grad : ndarray or None
        The derivative of a number, such as the loss, in each number of ``output``; None before the backward pass.
    """

    name: str
    layer: Module | None
    reads: tuple[str, ...]
    output: Array
    grad: Array | None = None

    def __repr__(self) -> str:
        return fields_text(self)


def evaluated_copy(model: Module) -> Any:
    """Return a copy of a model in evaluation mode, without an optimizer, of which every parameter gets a gradient."""
    shell = copy.copy(model)
    if isinstance(shell, Sequential):
        shell.optimizer = None  # its state may be as large as the model; and without it the input gets a gradient, too
    copied = copy.deepcopy(shell)
    copied.zero_grad()
    for module in copied.modules():
        module.clear_saved()
    mark_as_built(copied)
    return copied.unfreeze().eval()


def is_container(module: Module) -> bool:
    """Whether a module runs others as the library's containers do. A user's own module counts as one layer."""
    return bool(module.children()) and type(module).forward.__module__.startswith("cnn.")


def without_softmax(model: Any) -> tuple[Any, Module | None]:
    """Return a model without the Softmax or LogSoftmax at its end, and that layer; or the model, and None.

    Softmax and cross-entropy together have a stable formula, which starts from what the Softmax reads.
    """
    if type(model) in (Softmax, LogSoftmax):
        return Identity(), model
    if isinstance(model, Chain) and is_container(model):
        *before, last = model.layers
        last, softmax = without_softmax(last)
        return (model if softmax is None else Sequential([*before, last])), softmax
    if isinstance(model, Graph) and isinstance(model.outputs, str):
        *before, (name, module, inputs) = model.nodes
        if before and name == model.outputs and type(module) in (Softmax, LogSoftmax) and inputs[0] != INPUT:
            return Graph(before, outputs=inputs[0]), module
    return model, None


class Walk:
    """A forward pass of samples through a copy of a model, and backward passes from any gradient.

    Parameters
    ----------
    model : Module
    x : array_like, (N, ...)
        Samples as the model reads them.

    Attributes
    ----------
    nodes : dict of str to Node
        Every activation in the order of the computation, the samples first.
    logits : ndarray
        What the Softmax or LogSoftmax at the end reads; of a model without one, its outputs.
    softmax : Module or None
        That last layer.
    model : Module
        The copy; its parameters hold the gradients after `backward`.

    Raises
    ------
    InputError
        If the samples do not fit, a layer gives NaN or infinity, or the model has several outputs.
    """

    def __init__(self, model: Module, x: Any) -> None:
        self.model = evaluated_copy(model)
        x = as_samples(x, self.model)
        self.nodes = {INPUT: Node(INPUT, None, (), x)}
        self._made_by = {id(x): INPUT}  # the array -> the name of its node, which keeps the array
        self._names = {id(module): name for name, module in self.model.named_modules()}
        self._originals = dict(model.named_modules())
        self._inside_layer = False
        loss_func = getattr(model, "loss_func", None)
        has_own_loss = isinstance(loss_func, LossFunc) and not isinstance(loss_func, ClassificationLoss)
        self._body, self.softmax = (self.model, None) if has_own_loss else without_softmax(self.model)
        mark_as_built(self._body)
        self.logits = self._run(self._clock, self._body, "forward", self._body, x)
        if not isinstance(self.logits, np.ndarray):
            raise InputError(f"one output is needed, but the model returns {type(self.logits).__name__}")
        if self.softmax is not None:
            check_axis(self.softmax, self._names[id(self.softmax)], self.logits.shape)
            self._run(self._clock, self.softmax, "forward", self.softmax, self.logits)
        self._check_numbers()

    def backward(self, grad: Array) -> None:
        """Fill in the gradient of every node, and of every parameter of the copy, from that of the logits.

        A last Softmax has none: its gradient is that of the loss in its outputs.

        Raises
        ------
        InputError
            If a gradient is NaN or infinity.
        """
        self.nodes[INPUT].grad = self._run(self._clock, self._body, "backward", self._body.backward, grad)
        for node in self.nodes.values():
            if node.grad is not None and not np.isfinite(node.grad).all():
                raise InputError(
                    f"the gradient in the output of layer {node.name} is NaN or infinity for this sample: {TOO_LARGE}"
                )

    def logits_of(self, x: Array) -> Array:
        """Return the logits of other samples, (N, ...) -> (N, K, ...), and keep nothing else."""
        with evaluating(), one_blas_thread(), np.errstate(**QUIET):
            return self._body(x)

    @property
    def last(self) -> Node:
        """The last activation."""
        return next(reversed(self.nodes.values()))

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        # a forward hook means that activations are watched, so that no layers run fused
        modes = Mode(saving=True, evaluating=False, forward_hook=lambda module, y: None, clock=self._clock)
        with modes, one_blas_thread(), np.errstate(**QUIET):
            return function(*args)

    def _clock(self, layer: Any, what: str, run: Any, array: Any) -> Any:
        if self._inside_layer:  # a user's module runs a container of the library
            return run(array)
        self._inside_layer = not is_container(layer)
        result = run(array)
        self._inside_layer = False
        name = self._names.get(id(layer))
        if name is None:  # a container that was made for this walk
            return result
        if what == "forward":
            return self._keep(name, array, result)
        if name in self.nodes:
            self.nodes[name].grad = array
        return result

    def _keep(self, name: str, x: Any, y: Any) -> Any:
        """Keep an output as a node; return the array to pass on."""
        layer = self._originals[name]
        known = id(y) in self._made_by
        if not isinstance(y, np.ndarray) or (known and is_container(layer)):
            return y  # the output of layers in a row is that of the last one
        if known:
            y = y.view()  # Identity returns the array that it was given: this tells the two apart
        if is_container(layer):
            reads = self._branches(name)
        else:
            inputs = x if isinstance(x, list) else [x]
            reads = tuple(self._made_by[id(a)] for a in inputs if id(a) in self._made_by)
        self._made_by[id(y)] = name
        self.nodes[name] = Node(name, layer, reads, y)
        return y

    def _branches(self, name: str) -> tuple[str, ...]:
        """Return the nodes inside a container of branches that nothing inside it reads."""
        inside = [node for node in self.nodes.values() if node.name.startswith(f"{name}." if name else "")]
        read = {each for node in inside for each in node.reads}
        return tuple(node.name for node in inside if node.name not in read and node.layer is not None)

    def _check_numbers(self) -> None:
        for node in self.nodes.values():
            if np.isfinite(node.output).all():
                continue
            held = [tensor.data for _, tensor in node.layer.named_tensors()] if node.layer is not None else []
            cause = TOO_LARGE
            if not all(np.isfinite(data).all() for data in held):
                cause = "its weights hold NaN or infinity: load those of an earlier epoch, or train again"
            raise InputError(f"layer {node.name}, {node.layer!r}, gives NaN or infinity for this sample: {cause}")
