"""Callbacks: what watches a training, ends it, changes the learning rate or averages the weights.

A callback is any callable of a `Step`; the training ends after a step for which one returns True. It may have a method
``end(step)``, called once when the training has ended, and a pair ``state_dict()`` and ``load_state_dict(state)``, by
which a resumed training gives a new one, made with the same arguments, what it will decide by: numbers, texts, lists,
dicts and arrays. Those here have them. Used in a second training, one starts anew.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.optim import OneCycleLR, ReduceLROnPlateau, Schedule, WeightAverage
from cnn.optim.shared import at_least_zero, non_default_settings, short_repr
from cnn.training.stopping import EarlyStopping, StopAt, TimeBudget, check_metric, is_first_step, metric_of

if TYPE_CHECKING:
    from cnn.training.step import Step

__all__ = ["Averaged", "EarlyStopping", "Scheduled", "StopAt", "TimeBudget"]


class Scheduled:
    """Step a schedule of `cnn.optim`, once an epoch or once a step.

    Parameters
    ----------
    schedule : Schedule or ReduceLROnPlateau
        Of the optimizer of the model in training. A new training goes on with it from where it is.
    every : {"epoch", "step"}
        "step" for a `OneCycleLR`, whose length is checked with the first step.
    monitor : str, optional
        What a ReduceLROnPlateau watches, such as "val_loss"; its mode must suit.

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
            raise ValueError('a OneCycleLR goes by steps: Scheduled(schedule, every="step")')
        if isinstance(schedule, Schedule) and monitor is not None:
            raise ValueError(f"{type(schedule).__name__} watches no metric: leave monitor={short_repr(monitor)} out")
        if isinstance(schedule, ReduceLROnPlateau):
            if monitor is None or every == "step":
                raise ValueError('a ReduceLROnPlateau goes by epochs: Scheduled(schedule, monitor="val_loss")')
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
        """Raise an error, rather now than at the end of the night, if the schedule is not one for this training."""
        optimizer = step.model.optimizer
        if not any(self.schedule.optimizer is known for known in (optimizer, *getattr(optimizer, "param_groups", ()))):
            raise ValueError(
                f"{type(self.schedule).__name__} has another optimizer than the model: make it with model.optimizer"
            )
        if isinstance(self.schedule, OneCycleLR):
            left = (step.epochs - step.epoch) * step.steps + step.steps - step.step + 1
            needed = self.schedule.last_epoch + left
            if needed > self.schedule.total_steps:
                raise ValueError(f"a OneCycleLR of {self.schedule.total_steps} is too short: total_steps={needed}")
        self._checked = True

    def state_dict(self) -> dict[str, Any]:
        return {"schedule": self.schedule.state_dict(), "base_lrs": list(getattr(self.schedule, "base_lrs", []))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        now = getattr(self.schedule, "base_lrs", [])
        if state["base_lrs"] != now:
            raise ValueError(
                f"the schedule began at the rates {state['base_lrs']} and begins at {now} now: give the optimizer the "
                "lr that it had"
            )
        self.schedule.load_state_dict(state["schedule"])


class Averaged:
    """Keep a `WeightAverage` of the model, and give the model the averages at the end.

    Figures are those of the weights in training, not of the averages; ``with averaged.average.applied():`` is for
    those. Running statistics of norms stay the model's own. Together with `EarlyStopping`, the later in the list of
    callbacks has the last word.

    Parameters
    ----------
    decay : float
        How much of the past the average keeps, 0 to 1; see `WeightAverage`.

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
    ...     model.weight.data = [[4.0 * number]]  # the optimizer's work
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
        self._state: dict[str, Any] = {"n_averaged": 0, "averages": {}}  # until a step brings the model

    def __repr__(self) -> str:
        return f"Averaged(decay={self.decay!r}, n_averaged={self.state_dict()['n_averaged']})"

    def __call__(self, step: "Step") -> None:
        if is_first_step(step):
            self.load_state_dict({"n_averaged": 0, "averages": {}})
        self._of(step.model).update()

    def _of(self, model: Any) -> WeightAverage:
        """Return the average of the model, made of the state if it is not there yet."""
        if self.average is None:
            average = WeightAverage(model, self.decay)
            if self._state["n_averaged"]:
                saved = self._state["averages"]
                shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
                if {name: array.shape for name, array in saved.items()} != shapes:
                    raise ValueError(f"the saved averages are of another model: {', '.join(saved)}")
                average.averages = [np.array(saved[name]) for name in shapes]
                average.n_averaged = self._state["n_averaged"]
            self.average = average
        return self.average

    def end(self, step: "Step") -> None:
        """Put the averages into the model."""
        average = self._of(step.model)
        for parameter, values in zip(step.model.parameters(), average.averages, strict=True):
            parameter.data = values

    def state_dict(self) -> dict[str, Any]:
        if self.average is None:
            return self._state
        names = [name for name, _ in self.average.model.named_parameters()]
        averages = {name: a.copy() for name, a in zip(names, self.average.averages, strict=True)}
        return {"n_averaged": self.average.n_averaged, "averages": averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average, self._state = None, state
