"""Optimizer: the base class of all optimizers."""

import copy
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from cnn.core.explain import Explained, explain_attributes
from cnn.errors import InputError
from cnn.module import Array, Parameter
from cnn.optim.denormals import EVERY, flush_denormals
from cnn.optim.shared import at_least_zero, no_grad_found, non_default_settings, unfit_grad
from cnn.optim.state import LARGEST_COUNT, checked_state


@explain_attributes
class Optimizer(Explained):
    """Change parameters along their gradients.

    A subclass implements ``update(parameter, grad, state)``, where ``state`` is a dict that belongs to the parameter
    and is empty at first. The optimizers of this library list in ``STATE`` what they keep in it.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train. If left out, the `Sequential` that gets the optimizer passes its parameters to it.
        Dicts are parameter groups with their own settings, such as ``{"params": layer.parameters(), "lr": 1e-4}``.
    lr : float
        Learning rate, at least 0.

    Attributes
    ----------
    param_groups : list of Optimizer
        One for each group: a copy of this optimizer with the settings and ``params`` of the group; without groups, this
        optimizer itself. ``group["lr"]`` and ``group.lr`` are the same. A setting changed on the optimizer, as in
        ``optimizer.lr = 0.01``, changes in all groups that were not given their own. ``optimizer.lr`` is the learning
        rate of these groups (of the first of them, if a schedule or your own code made them differ).

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
    _own_settings: tuple[str, ...] = ()  # in a group: the settings that the group was given
    _steps = 0  # how many steps it has taken; a group has none of its own
    _checked = False  # whether `check` has run since the last change of a setting
    initial_lr: float | None = None  # learning rate of the group before its first schedule

    def __init__(self, params: Iterable[Any] | None = None, lr: float = 1e-3) -> None:
        self.lr = lr
        self.trains_all = params is None  # whether it trains all parameters of the model that gets it
        self.params: list[Parameter] = []
        self._state: list[dict[str, Any]] = []
        self._with_state: list[Parameter] = []
        self.check()
        if params is not None:
            self.set_params(params)
            if not self.params:
                raise ValueError("params is an empty list: pass model.parameters(), or leave it out to train all")

    def check(self) -> None:
        """Raise an error unless settings and parameters are valid; subclasses check their own settings here, per group.

        It is called when the optimizer is created, and by the first step after a setting was changed.
        """

    @property
    def lr(self) -> float:
        return next((group.lr for group in self._groups if "lr" not in group._own_settings), self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = at_least_zero(value, "lr")

    def __repr__(self) -> str:
        groups = [f"{len(self._groups)} groups"] if self._groups else []
        return f"{type(self).__name__}({', '.join(non_default_settings(self) + groups)})"

    @property
    def param_groups(self) -> list["Optimizer"]:
        return list(self._groups) or [self]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.generic):  # it would promote float32 weights to float64
            value = value.item()
        super().__setattr__(name, value)
        if name.startswith("_") or name == "params":
            return
        if name != "lr":  # which its setter has checked
            super().__setattr__("_checked", False)
        for group in self._groups:
            if name not in group._own_settings:
                setattr(group, name, value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def set_params(self, params: Iterable[Any]) -> None:
        """Set the parameters to train, each once, or parameter groups."""
        if not isinstance(params, Iterable):
            kind = type(params).__name__
            raise TypeError(f"params must be model.parameters(), got {kind}; pass a learning rate as lr=...")
        params = list(params)
        self._groups = ()
        if any(isinstance(item, dict) for item in params):
            self._groups = tuple(self._group(item) for item in params)
            params = [parameter for group in self._groups for parameter in group.params]
        unique = {id(parameter): parameter for parameter in params}
        if any(isinstance(item, (list, tuple)) for item in params):
            raise TypeError("params must be a list of Parameters, but it is a nested list: remove the outer []")
        if not all(isinstance(parameter, Parameter) for parameter in unique.values()):
            raise TypeError("params must be Parameters: pass model.parameters()")
        if self._groups and len(unique) < len(params):
            duplicate = next(p for p in params if sum(p is q for q in params) > 1)
            raise ValueError(f"a parameter of shape {duplicate.shape} is in two groups: leave it in one of them")
        self.params = list(unique.values())
        self.reset()
        self.check()

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Train more parameters from now on, such as ``{"params": backbone.parameters(), "lr": 1e-4}``.

        The others keep their state and their settings.

        Raises
        ------
        ValueError
            If the optimizer already trains one of them.
        """
        added, known = self._group(group), {id(parameter) for parameter in self.params}
        twice = [parameter for parameter in added.params if id(parameter) in known]
        if twice:
            raise ValueError(f"a parameter of shape {twice[0].shape} is in this optimizer already: leave it out")
        if self.params and not self._groups:
            self._groups = (copy.copy(self),)  # with the state
        self._groups += (added,)
        self.params = [*self.params, *added.params]
        self._state, self._with_state = [{} for _ in self.params], list(self.params)

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
        copied._groups = ()
        copied._own_settings = tuple(settings)
        for name, value in settings.items():
            setattr(copied, name, value)
        copied.initial_lr = None if "lr" in settings else self.initial_lr
        copied.set_params(group["params"])
        if copied._groups:
            raise TypeError("params of a group must be Parameters, such as layer.parameters(), not another group")
        return copied

    def reset(self) -> None:
        """Clear the state: momentum and other statistics of past gradients."""
        self._steps = 0
        self._state = [{} for _ in self.params]
        self._with_state = list(self.params)  # whose states these are
        for group in self._groups:
            group.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the current settings and of the state of each parameter."""
        settings = {name: getattr(self, name) for name in self._settings()}
        parameter_states = [{key: copy.copy(value) for key, value in state.items()} for state in self._state]
        groups = [group.state_dict() for group in self._groups]
        known = {"settings": settings, "initial_lr": self.initial_lr, "steps": self._steps}
        return known | {"memory": parameter_states, "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of an optimizer that trained the same number of parameters with the same shapes.

        Arrays are copied. Settings are checked as if they were arguments of the optimizer.

        Raises
        ------
        ValueError
            If it does not fit; in that case nothing has changed.
        """
        self._apply(checked_state(self, state))

    def _apply(self, state: dict[str, Any]) -> None:
        for name, value in state["settings"].items():
            setattr(self, name, value)
        self.initial_lr, self._steps = state["initial_lr"], state["steps"]
        self._state = state["memory"]
        for group, one in zip(self._groups, state["groups"], strict=True):
            group._apply(one)

    def state_kinds(self) -> dict[str, str] | None:
        """Return what `update` keeps for a parameter, see cnn.optim.state; None if the update is a user's."""
        kinds: dict[str, str] | None = next(vars(c).get("STATE") for c in type(self).__mro__ if "update" in vars(c))
        return kinds

    def _settings(self) -> list[str]:
        return [name for name in inspect.signature(type(self)).parameters if name != "params"]

    def _array_shape(self, parameter: Parameter) -> tuple[int, ...]:
        """Return the shape of the arrays in the state of a parameter."""
        return parameter.shape

    def step(self) -> None:
        """Update every parameter that has a gradient and is not frozen.

        Raises
        ------
        RuntimeError
            If no parameter has a gradient, because backward has not run.
        """
        if all(parameter.grad is None for parameter in self.params):
            raise no_grad_found(self)
        for group in self.param_groups:
            if not group._checked:
                group.check()
                group._checked = True
        updates = []  # after all checks
        for group in self.param_groups:
            if group.params != group._with_state:
                raise InputError("params has changed since it was set: call optimizer.set_params(params) instead")
            ready = [
                (p, p.grad, state)
                for p, state in zip(group.params, group._state, strict=True)
                if p.grad is not None and p._requires_grad
            ]
            for parameter, grad, _ in ready:
                if type(grad) is not np.ndarray or parameter.shape != grad.shape or grad.dtype.kind not in "fiu":
                    raise unfit_grad(parameter, grad)
            if ready:
                updates.append((group, [list(column) for column in zip(*ready, strict=True)]))
        for group, columns in updates:
            group.update_all(*columns)
        self._steps = min(self._steps + 1, LARGEST_COUNT)
        if self._steps % EVERY == 0:
            for group in self.param_groups:  # also what this step has not updated
                flush_denormals(group._state, group.state_kinds())

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def update_all(self, parameters: list[Parameter], grads: list[Array], states: list[dict[str, Any]]) -> None:
        """Update all parameters that have a gradient; a subclass may update them in one call."""
        for parameter, grad, state in zip(parameters, grads, states, strict=True):
            self.update(parameter, grad, state)

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} needs a method update(self, parameter, grad, state)")
