"""Graph: modules that read each other's outputs by name, for nets that are neither a row nor parallel branches."""

from collections.abc import Sequence
from typing import Any

from cnn.containers.branches import added
from cnn.containers.chain import Chain, hide_internal_frames
from cnn.containers.container import Container, check_output
from cnn.containers.joins import Join
from cnn.core import modes
from cnn.errors import InputError
from cnn.kernels import one_blas_thread
from cnn.module import Array, Module, Parameter, no_grad

INPUT = "input"  # the name of what the graph reads


class Row:
    """Neighbours of which each reads only the one before, so that they may run fused; or one join.

    Attributes
    ----------
    names : list of str
        Of the nodes. The row's output has the name of the last.
    inputs : tuple of str
        The names of what the first node reads: one, but for a join.
    module : Chain or Join
    """

    def __init__(self, names: list[str], layers: list[Module], inputs: tuple[str, ...]) -> None:
        self.names, self.inputs = names, inputs
        self.module: Any = layers[0] if isinstance(layers[0], Join) else Chain(layers)
        self._has_parameters = bool(self.module.parameters())

    def trains(self) -> bool:
        """Whether it has a parameter to train."""
        if not Parameter.some_frozen:
            return self._has_parameters
        return any(parameter.requires_grad for parameter in self.module.parameters())


class Graph(Container):
    """Modules that read each other's outputs by name.

    Forward runs them in order, and keeps an output until its last reader has run. Backward runs them from the end: an
    output that several modules read gets the sum of their gradients, because the loss depends on it in several ways
    (the chain rule for several variables). Neighbours in a row run fused, as in a Sequential. Before the first
    parameter that is trained there is no backward, unless the gradient of the input is needed.

    A Graph alone has no loss: ``Sequential([graph, ...], loss_func=..., optimizer=...)`` trains it.

    Parameters
    ----------
    nodes : list of (name, module, inputs)
        In an order in which each reads only the graph's "input" and nodes before it. ``inputs`` is a name, or for a
        `Join` such as `Add` and `Concatenate` a list of names.
    outputs : str or list of str
        The node whose output is that of the graph; or several, then forward returns a tuple, and backward takes one
        gradient for each, or None where there is none.

    Shape
    -----
    (N, ...) -> what the output nodes give.

    Raises
    ------
    ValueError
        If a name is not valid or not unique, a node reads one that comes later or does not exist, or nothing reads it.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn.containers.joins import Add
    >>> from cnn.layers import Linear, ReLU
    >>> nodes = [("a", Linear(2, 2), "input"), ("b", ReLU(), "a"), ("sum", Add(), ["a", "b", "input"])]
    >>> graph = Graph(nodes, outputs="sum")
    >>> graph(np.ones((1, 2), np.float32)).shape
    (1, 2)
    >>> list(graph.state_dict())
    ['a.weight', 'a.bias']
    """

    def __init__(self, nodes: Sequence[tuple[str, Module, Any]], outputs: str | Sequence[str]) -> None:
        self.nodes = [
            (name, module, [inputs] if isinstance(inputs, str) else list(inputs)) for name, module, inputs in nodes
        ]
        self.outputs = outputs if isinstance(outputs, str) else list(outputs)
        self._names = [outputs] if isinstance(outputs, str) else list(outputs)
        if self.nodes:
            _check_nodes(self.nodes, self._names)
        self.validate_children()
        self._rows = _rows(self.nodes, self._names)
        self._last_reader = {name: i for i, row in enumerate(self._rows) for name in row.inputs}

    def children(self) -> dict[str, Module]:
        return {name: module for name, module, _ in self.nodes}

    def clear_saved(self) -> None:
        """Discard what forward saved, in the rows, too."""
        super().clear_saved()
        for row in self._rows:
            row.module.clear_saved()

    @hide_internal_frames
    def forward(self, x: Array) -> Any:
        """(N, ...) -> the output, or a tuple of outputs"""
        with one_blas_thread():
            return self._run(self.widened(x))

    def _run(self, x: Array) -> Any:
        saving, ran = modes.state.saving, list[Any]()
        needs_grad = {INPUT: self.needs_input_grad}
        values = {INPUT: x}
        if saving:
            self.__dict__["_saved"] = None
        for i, row in enumerate(self._rows):
            read = [values[name] for name in row.inputs]
            for name in row.inputs:
                if self._last_reader[name] == i and name not in self._names:
                    values.pop(name, None)
            wanted = [needs_grad[name] for name in row.inputs]
            needs_grad[row.names[-1]] = is_needed = any(wanted) or row.trains()
            if is_needed or not saving:
                y = self._run_row(row, read, wanted[0], saving)
            else:
                with no_grad():
                    y = self._run_row(row, read, False, False)
            if saving and is_needed:
                ran.append((row, wanted))
            values[row.names[-1]] = y
        self.save_for_backward(ran)
        outputs = tuple(values[name] for name in self._names)
        return outputs[0] if isinstance(self.outputs, str) else outputs

    def _run_row(self, row: Any, read: list[Array], needs_input_grad: bool, saving: bool) -> Array:
        module = row.module
        try:
            if isinstance(module, Join):
                clock = modes.state.clock
                y = row.module(read) if clock is None else clock(module, "forward", module, read)
                check_output(y)
                return y
            if saving:
                module.__dict__["needs_input_grad"] = needs_input_grad
            return module.run_layers(read[0])
        except InputError as error:
            raise _named(error, row) from None

    @hide_internal_frames
    def backward(self, grad: Any) -> Array | None:
        """The gradient of the output, or of each output -> that of the input, (N, ...), or None if it is not needed"""
        (ran,) = self.saved()
        given = [grad] if isinstance(self.outputs, str) else list(grad)
        if len(given) != len(self._names):
            raise InputError(f"backward needs {len(self._names)} gradients, one for each output, got {len(given)}")
        grads: dict[str, Array] = {}
        for name, one in zip(self._names, given, strict=True):
            _add(grads, name, one)
        with one_blas_thread():
            while ran:
                row, wanted = ran.pop()
                grad_of_output = grads.pop(row.names[-1], None)
                if grad_of_output is None:  # of an output without a gradient
                    _clear(row.module)
                    continue
                for name, needed, part in zip(
                    row.inputs, wanted, self._run_row_backward(row, grad_of_output), strict=True
                ):
                    if needed:
                        _add(grads, name, part)
        return grads.get(INPUT) if self.needs_input_grad else None

    def _run_row_backward(self, row: Row, grad: Array) -> list[Any]:
        module: Any = row.module
        try:
            if isinstance(module, Join):
                clock = modes.state.clock
                if clock is None:
                    return module.backward(grad)
                return list(clock(module, "backward", module.backward, grad))
            return [module.run_backward(grad)]
        except InputError as error:
            raise _named(error, row) from None


def _add(grads: dict[str, Array], name: str, grad: Array | None) -> None:
    """Add to the gradient of a value; the arrays belong to others, so none is changed."""
    if grad is not None:
        grads[name] = added(grads[name], grad) if name in grads else grad


def _clear(module: Module) -> None:
    for each in module.modules():
        each.clear_saved()


def _named(error: InputError, row: Row) -> InputError:
    """Return an error of a row with the name of the node in place of its number."""
    if isinstance(row.module, Join):
        return error.at(row.names[0], row.module)
    number, _, rest = error.path.partition(".")
    return type(error)(error.problem, ".".join(filter(None, [row.names[int(number)], rest])), error.layer)


def _check_nodes(nodes: list[Any], outputs: list[str]) -> None:
    """Raise an error unless every node has a name of its own and reads what comes before it, and each is read."""
    known = [INPUT]
    for name, module, inputs in nodes:
        if not isinstance(name, str) or not name or "." in name or name in known:
            raise ValueError(f"each node needs a name of its own, without dots and not {INPUT!r}, got {name!r}")
        for each in inputs:
            if each not in known:
                later = any(each == other for other, _, _ in nodes)
                problem = "which comes later: put it before" if later else "which is neither 'input' nor a node"
                raise ValueError(f"node {name} reads {each!r}, {problem}")
        if not inputs or (len(inputs) > 1 and not isinstance(module, Join)):
            raise ValueError(
                f"node {name}, {module!r}, reads {len(inputs)} values, but takes one: join them with Add(), "
                "Multiply() or Concatenate() first"
            )
        known.append(name)
    read = {each for _, _, inputs in nodes for each in inputs} | set(outputs)
    for name in outputs:
        if name not in known[1:]:
            raise ValueError(f"output {name!r} is not the name of a node")
    unread = [name for name in known if name not in read]
    if unread or not outputs or len(set(outputs)) < len(outputs):
        problem = f"nothing reads {unread[0]}: leave it out" if unread else "outputs must name nodes, each once"
        raise ValueError(problem)


def _rows(nodes: list[Any], outputs: list[str]) -> list[Row]:
    """Join neighbours of which each reads only the one before, and is its only reader."""
    readers: dict[str, int] = {}
    for _, _, inputs in nodes:
        for each in inputs:
            readers[each] = readers.get(each, 0) + 1
    parts: list[tuple[list[str], list[Module], tuple[str, ...]]] = []
    by_last: dict[str, int] = {}
    for name, module, inputs in nodes:
        before = by_last.get(inputs[0])
        is_row = before is not None and not isinstance(module, Join) and not isinstance(parts[before][1][0], Join)
        if before is not None and is_row and readers[inputs[0]] == 1 and inputs[0] not in outputs:
            parts[before][0].append(name)
            parts[before][1].append(module)
            by_last[name] = by_last.pop(inputs[0])
        else:
            by_last[name] = len(parts)
            parts.append(([name], [module], tuple(inputs)))
    return [Row(*part) for part in parts]
