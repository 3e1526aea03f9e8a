"""Optimizer: what every optimizer is."""

import copy
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from cnn.errors import ShapeError
from cnn.module import Array, Parameter
from cnn.optim.shared import at_least_zero, chosen


class Optimizer:
    """Change parameters along their gradients.

    A subclass writes ``update(parameter, grad, state)``, in which ``state`` is a dict of its own for each parameter,
    empty at first.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        What to train. Left out, the `Sequential` that is given the optimizer hands over its parameters. Dicts are
        groups with settings of their own, such as ``{"params": layer.parameters(), "lr": 1e-4}``.
    lr : float
        Learning rate, at least 0.

    Attributes
    ----------
    param_groups : list of Optimizer
        One for each group: a copy of this optimizer with the settings and ``params`` of the group; without groups, this
        optimizer itself. ``group["lr"]`` and ``group.lr`` are the same. A setting changed here, as in
        ``optimizer.lr = 0.01``, changes in all groups that were given none of their own. ``optimizer.lr`` is the rate
        of these groups (of the first of them, if a schedule or a hand made them differ).

    Examples
    --------
    >>> import numpy as np
    >>> class GradientDescent(Optimizer):
    ...     def update(self, parameter, grad, state):
    ...         parameter.data -= self.lr * grad
    >>> weight, bias = Parameter([1.0]), Parameter([1.0])
    >>> optimizer = GradientDescent([{"params": [weight]}, {"params": [bias], "lr": 0.5}], lr=0.1)
    >>> weight.accumulate_grad(np.array([2.0]))
    >>> bias.accumulate_grad(np.array([2.0]))
    >>> optimizer.step()
    >>> weight, bias
    (Parameter([0.8]), Parameter([0.]))
    """

    _groups: tuple["Optimizer", ...] = ()
    _own: tuple[str, ...] = ()  # in a group: what it was given itself
    _checked = False  # whether check has seen all settings as they are now
    initial_lr: float | None = None  # that of the group before its first schedule

    def __init__(self, params: Iterable[Any] | None = None, lr: float = 1e-3) -> None:
        self.lr = lr
        self.takes_all = params is None  # of the model that it is given to
        self.params: list[Parameter] = []
        self._state: list[dict[str, Any]] = []
        self.check()
        if params is not None:
            self.take(params)
            if not self.params:
                raise ValueError("params is an empty list: pass model.parameters(), or leave it out to train all")

    def check(self) -> None:
        """Raise an error unless settings and parameters are right; a subclass checks its own here, for every group.

        Called when the optimizer is made, and by the first step after a setting was changed.
        """

    @property
    def lr(self) -> float:
        return next((group.lr for group in self._groups if "lr" not in group._own), self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = at_least_zero(value, "lr")

    def __repr__(self) -> str:
        groups = [f"{len(self._groups)} groups"] if self._groups else []
        return f"{type(self).__name__}({', '.join(chosen(self) + groups)})"

    @property
    def param_groups(self) -> list["Optimizer"]:
        return list(self._groups) or [self]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.generic):  # as a setting it would turn float32 weights into float64
            value = value.item()
        super().__setattr__(name, value)
        if name.startswith("_") or name == "params":
            return
        if name != "lr":  # which is checked already
            super().__setattr__("_checked", False)
        for group in self._groups:
            if name not in group._own:
                setattr(group, name, value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def take(self, params: Iterable[Any]) -> None:
        """Take over the parameters to train, each once, or groups of them."""
        if not isinstance(params, Iterable):
            kind = type(params).__name__
            raise TypeError(f"params must be model.parameters(), got {kind}; a learning rate is given as lr=...")
        params = list(params)
        self._groups = ()
        if any(isinstance(item, dict) for item in params):
            self._groups = tuple(self._group(item) for item in params)
            params = [parameter for group in self._groups for parameter in group.params]
        unique = {id(parameter): parameter for parameter in params}
        if any(isinstance(item, (list, tuple)) for item in params):
            raise TypeError("params must be a list of Parameters, it is a list in a list: remove the outer []")
        if not all(isinstance(parameter, Parameter) for parameter in unique.values()):
            raise TypeError("params must be Parameters: pass model.parameters()")
        if self._groups and len(unique) < len(params):
            twice = next(p for p in params if sum(p is q for q in params) > 1)
            raise ValueError(f"a parameter of shape {twice.shape} is in two groups: leave it in one of them")
        self.params = list(unique.values())
        self.reset()
        self.check()

    def _group(self, group: Any) -> "Optimizer":
        """Return a copy of this optimizer with the parameters and settings of a group."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError('each group must be a dict, such as {"params": layer.parameters(), "lr": 1e-4}')
        settings = {name: value for name, value in group.items() if name != "params"}
        known = [name for name in inspect.signature(type(self)).parameters if name != "params"]
        if unknown := [name for name in settings if name not in known]:
            kind = type(self).__name__
            raise ValueError(f"{kind} has no setting {unknown[0]!r}: a group may have {', '.join(['params', *known])}")
        copied = copy.copy(self)
        copied._own = tuple(settings)
        for name, value in settings.items():
            setattr(copied, name, value)
        copied.initial_lr = None if "lr" in settings else self.initial_lr
        copied.take(group["params"])
        if copied._groups:
            raise TypeError("params of a group must be Parameters, such as layer.parameters(), not groups again")
        return copied

    def reset(self) -> None:
        """Forget what was remembered of past gradients."""
        self._state = [{} for _ in self.params]
        for group in self._groups:
            group.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return the settings as they are now and what is remembered of past gradients, all copied."""
        settings = {name: getattr(self, name) for name in self._settings()}
        memory = [{key: copy.copy(value) for key, value in state.items()} for state in self._state]
        groups = [group.state_dict() for group in self._groups]
        return {"settings": settings, "initial_lr": self.initial_lr, "memory": memory, "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the optimizer whose `state_dict` it is, which trained as many parameters of the same shapes.

        Raises
        ------
        ValueError
            If it does not fit; nothing has changed then.
        """
        self._check_state(state)
        for name in self._settings():
            setattr(self, name, state["settings"][name])
        self.initial_lr = state["initial_lr"]
        self._state = [{key: copy.copy(value) for key, value in one.items()} for one in state["memory"]]
        for group, one in zip(self._groups, state["groups"], strict=True):
            group.load_state_dict(one)

    def _settings(self) -> list[str]:
        return [name for name in inspect.signature(type(self)).parameters if name != "params"]

    def _check_state(self, state: dict[str, Any]) -> None:
        kind = type(self).__name__
        if set(state["settings"]) != set(self._settings()):
            raise ValueError(f"the state has the settings {sorted(state['settings'])}, {kind} has {self._settings()}")
        for what, before, now in (
            ("parameters", len(state["memory"]), len(self.params)),
            ("groups", len(state["groups"]), len(self._groups)),
        ):
            if before != now:
                raise ValueError(f"the state is of {kind} with {before} {what}, this one has {now}")
        for parameter, memory in zip(self.params, state["memory"], strict=True):
            for key, value in memory.items():
                if isinstance(value, np.ndarray) and value.ndim and value.size != parameter.size:
                    raise ValueError(f"{key} in the state is {value.shape}, its parameter {parameter.shape}")
        for group, one in zip(self._groups, state["groups"], strict=True):
            group._check_state(one)

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        RuntimeError
            If no parameter has a gradient: backward has not run.
        """
        if all(parameter.grad is None for parameter in self.params):
            fix = "call backward before step" if self.params else "it has no parameters: give it model.parameters()"
            raise RuntimeError(f"{type(self).__name__}.step found no gradient: {fix}")
        for group in self.param_groups:
            if not group._checked:
                group.check()
                group._checked = True
        for group in self.param_groups:
            ready = [
                (p, p.grad, state) for p, state in zip(group.params, group._state, strict=True) if p.grad is not None
            ]
            for parameter, grad, _ in ready:
                if parameter.shape != grad.shape:
                    raise ShapeError(f"a parameter of shape {parameter.shape} has a grad of shape {grad.shape}")
            if ready:
                group.update_all(*(list(column) for column in zip(*ready, strict=True)))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def update_all(self, parameters: list[Parameter], grads: list[Array], states: list[dict[str, Any]]) -> None:
        """Change all parameters that have a gradient; a subclass may do them together."""
        for parameter, grad, state in zip(parameters, grads, states, strict=True):
            self.update(parameter, grad, state)

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} needs a method update(self, parameter, grad, state)")


def check_optimizer(optimizer: Any, parameters: list[Parameter]) -> None:
    """Hand the parameters of a model to an optimizer that has none.

    Raises
    ------
    TypeError
        If it is not an optimizer.
    ValueError
        If it trains the parameters of another model.
    """
    if isinstance(optimizer, type):
        raise TypeError(f"optimizer is the class {optimizer.__name__}: write {optimizer.__name__}()")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer, such as Adam(), got {optimizer!r}")
    if not optimizer.params:
        optimizer.take(parameters)
    elif not {id(p) for p in parameters} & {id(p) for p in optimizer.params}:
        raise ValueError(
            f"this {type(optimizer).__name__} trains the parameters of another model: make one for each model"
        )
