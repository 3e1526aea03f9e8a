"""Callbacks: they watch training, stop it, change the learning rate or average the weights.

A callback is any callable that takes a `Step`; training stops after a step for which one returns True. It may have a
method ``end(step)``, which is called once when training has ended, and a pair ``state_dict()`` and
``load_state_dict(state)``: when training is resumed, a new callback, created with the same arguments, gets the state of
the old one (numbers, strings, lists, dicts and arrays), and a method ``check_model(model)`` may then refuse it. One
that watches metrics names them in ``watched()``, so that training refuses to begin without them. The callbacks here
have all that they need of these. A callback that is used in a second training run starts afresh.
"""

import re
from typing import TYPE_CHECKING, Any

from cnn.optim import OneCycleLR, ReduceLROnPlateau, Schedule, WeightAverage
from cnn.optim.shared import at_least_zero, non_default_settings, short_repr
from cnn.optim.state import count, real_array
from cnn.training.content import has_keys
from cnn.training.stopping import EarlyStopping, StopAt, TimeBudget, check_metric, is_first_step, metric_of

if TYPE_CHECKING:
    from cnn.training.step import Step

__all__ = ["Averaged", "EarlyStopping", "Scheduled", "StopAt", "TimeBudget"]


class Scheduled:
    """Step a learning rate schedule of `cnn.optim`, once per epoch or once per step.

    Parameters
    ----------
    schedule : Schedule or ReduceLROnPlateau
        It must be a schedule of the model's optimizer. A second training run continues from its current state.
    every : {"epoch", "step"}
        Must be "step" for a `OneCycleLR`, whose length is checked at the first step.
    monitor : str, optional
        The metric that a ReduceLROnPlateau watches, such as "val_loss"; its mode must match.

    Raises
    ------
    ValueError
        If the schedule, ``every`` and ``monitor`` do not fit each other, or the training is longer than the schedule.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from cnn.layers import Linear
    >>> from cnn.optim import SGD, StepLR
    >>> model = Linear(1, 1)
    >>> model.optimizer = SGD(model.parameters(), lr=1.0)
    >>> halve = Scheduled(StepLR(model.optimizer, step_size=1, gamma=0.5))
    >>> halve(SimpleNamespace(epoch=1, epochs=2, step=9, steps=9, metrics={"train_loss": 0.4}, model=model))
    >>> model.optimizer.lr
    0.5
    >>> halve
    Scheduled(schedule=StepLR(step_size=1, gamma=0.5, last_epoch=1))
    """

    def __init__(
        self, schedule: Schedule | ReduceLROnPlateau, every: str = "epoch", monitor: str | None = None
    ) -> None:
        if not isinstance(schedule, (Schedule, ReduceLROnPlateau)):
            raise TypeError(
                f"schedule must be one of cnn.optim, such as StepLR(optimizer, 10), got {short_repr(schedule)}"
            )
        if every not in ("epoch", "step"):
            raise ValueError(f'every must be "epoch" or "step", got {short_repr(every)}')
        if isinstance(schedule, OneCycleLR) and every == "epoch":
            raise ValueError('a OneCycleLR is stepped after every step: Scheduled(schedule, every="step")')
        if isinstance(schedule, Schedule) and monitor is not None:
            raise ValueError(
                f"{type(schedule).__name__} does not watch a metric: leave out monitor={short_repr(monitor)}"
            )
        if isinstance(schedule, ReduceLROnPlateau):
            if monitor is None or every == "step":
                raise ValueError(
                    'a ReduceLROnPlateau is stepped after every epoch: Scheduled(schedule, monitor="val_loss")'
                )
            mode = "max" if check_metric(monitor).endswith("accuracy") else "min"
            if schedule.mode != mode:
                raise ValueError(f'a schedule that watches {monitor} must be ReduceLROnPlateau(mode="{mode}")')
        self.schedule = schedule
        self.every = every
        self.monitor = monitor
        self._checked = False

    def __repr__(self) -> str:
        return f"Scheduled({', '.join(non_default_settings(self))})"

    def __call__(self, step: "Step") -> None:
        if not self._checked or is_first_step(step):
            self._check(step)
        if step.metrics is None and self.every == "epoch":
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(metric_of(step, str(self.monitor)))
        else:
            self.schedule.step()

    def _check(self, step: "Step") -> None:
        """Raise an error at the first step, before time is lost, if the schedule does not fit this training run."""
        self.check_optimizer(step.model)
        if isinstance(self.schedule, OneCycleLR):
            remaining = (step.epochs - step.epoch) * step.steps + step.steps - step.step + 1
            needed = self.schedule.last_epoch + remaining
            if needed > self.schedule.total_steps:
                raise ValueError(
                    f"a OneCycleLR of {self.schedule.total_steps} steps is too short: use total_steps={needed}"
                )
        self._checked = True

    def check_optimizer(self, model: Any) -> None:
        """Raise an error unless the schedule is one of the model's optimizer."""
        candidates = model.optimizer, *getattr(model.optimizer, "param_groups", ())
        if not any(self.schedule.optimizer is candidate for candidate in candidates):
            raise ValueError(
                f"{type(self.schedule).__name__} has another optimizer than the model: create it with model.optimizer"
            )

    def settings_text(self) -> str:
        """Return the schedule as it is created, without the optimizer; a resumed training run must have the same.

        The schedules of `cnn.optim` show their state at the end of their repr. Of others only the class is known.
        """
        schedule = self.schedule
        if not type(schedule).__module__.startswith("cnn."):
            return type(schedule).__name__
        text = re.sub(r" at 0x[0-9a-fA-F]+|(, )?\b(last_epoch=\d+|best=[^,)]+)", "", repr(schedule))
        if self.monitor is not None:
            return f"{text} of {self.monitor}"
        return text + (" after every step" if self.every == "step" and not isinstance(schedule, OneCycleLR) else "")

    def watched(self) -> list[str]:
        """Return the metric that its schedule watches, if any."""
        return [] if self.monitor is None else [self.monitor]

    def state_dict(self) -> dict[str, Any]:
        return {"schedule": self.schedule.state_dict(), "base_lrs": list(getattr(self.schedule, "base_lrs", []))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        has_keys(state, "state", ("schedule", "base_lrs"))
        has_keys(state["schedule"], "schedule", self.schedule.state_dict())
        base_lrs = getattr(self.schedule, "base_lrs", [])
        if state["base_lrs"] != base_lrs:
            raise ValueError(
                f"the schedule started from the learning rates {state['base_lrs']}, but now it starts from {base_lrs}: "
                "give the optimizer the lr that it had"
            )
        self.schedule.load_state_dict(state["schedule"])


class Averaged:
    """Keep a `WeightAverage` of the model, and put the averages into the model at the end.

    During training the metrics are those of the current weights, not of the averages; to evaluate the averages, use
    ``with averaged.average.applied():``. The running statistics of norms are not averaged; `cnn.optim.update_bn`
    measures them for the averages after training. Together with `EarlyStopping`, the one that comes later in the list
    of callbacks decides about the final weights.

    Parameters
    ----------
    decay : float
        Decay rate of the average, 0 to 1; see `WeightAverage`.

    Attributes
    ----------
    average : WeightAverage or None
        None before the first step.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from cnn.layers import Linear
    >>> model, averaged = Linear(1, 1, rng=0), Averaged(decay=0.75)
    >>> for number in (1, 2):
    ...     model.weight.data = [[4.0 * number]]  # what an optimizer does
    ...     step = SimpleNamespace(epoch=1, step=number, model=model)
    ...     averaged(step)
    >>> averaged.end(step)
    >>> float(model.weight.data[0, 0])
    5.0
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = at_least_zero(decay, "decay")
        if self.decay > 1:
            raise ValueError(f"decay must be at most 1, got {decay!r}")
        self.average: WeightAverage | None = None
        self._state: dict[str, Any] = {"n_averaged": 0, "averages": {}}  # used until the first step provides the model

    def __repr__(self) -> str:
        return f"Averaged(decay={self.decay!r}, n_averaged={self.state_dict()['n_averaged']})"

    def __call__(self, step: "Step") -> None:
        if is_first_step(step):
            self.load_state_dict({"n_averaged": 0, "averages": {}})
        self._average_of(step.model).update()

    def _average_of(self, model: Any) -> WeightAverage:
        """Return the average of the model; the first call creates it from the state."""
        if self.average is None:
            average = WeightAverage(model, self.decay)
            if self._state["n_averaged"]:
                saved, parameters = self._state["averages"], dict(model.named_parameters())
                if {name: a.shape for name, a in saved.items()} != {name: p.shape for name, p in parameters.items()}:
                    raise ValueError(f"the saved averages belong to another model: {', '.join(saved)}")
                average.averages = [saved[name].astype(p.dtype, order="C") for name, p in parameters.items()]
                average.n_averaged = self._state["n_averaged"]
            self.average = average
        return self.average

    def settings_text(self) -> str:
        """Return the call that makes it; a resumed training run must have the same."""
        return f"Averaged(decay={self.decay!r})"

    def check_model(self, model: Any) -> None:
        """Raise an error, before time is lost, if restored averages do not fit the model."""
        self._average_of(model)

    def end(self, step: "Step") -> None:
        """Put the averages into the model."""
        average = self._average_of(step.model)
        for parameter, values in zip(step.model.parameters(), average.averages, strict=True):
            parameter.data = values

    def state_dict(self) -> dict[str, Any]:
        if self.average is None:
            return self._state
        names = [name for name, _ in self.average.model.named_parameters()]
        averages = {name: a.copy() for name, a in zip(names, self.average.averages, strict=True)}
        return {"n_averaged": self.average.n_averaged, "averages": averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`; the first step checks that it belongs to the model.

        Raises
        ------
        ValueError
            If it holds anything but arrays of real numbers and a number of updates; in that case nothing has changed.
        """
        saved = state.get("averages") if isinstance(state, dict) else None
        if not isinstance(saved, dict):
            raise ValueError("the state of Averaged must be a dict with n_averaged and averages, a dict of arrays")
        averages = {name: real_array(a, name) for name, a in saved.items()}
        self._state = {"n_averaged": count(state.get("n_averaged"), "n_averaged"), "averages": averages}
        self.average = None
