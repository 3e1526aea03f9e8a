"""ReduceLROnPlateau: a smaller learning rate when a metric stops improving."""

import math
from collections.abc import Sequence
from typing import Any

from cnn.core.checks import integer, is_finite
from cnn.core.explain import explain_init
from cnn.optim.optimizer import Optimizer
from cnn.optim.schedule import check_optimizer
from cnn.optim.shared import (
    at_least_zero,
    below_one,
    checked_groups,
    non_default_settings,
    per_group,
    set_in_groups,
    short_repr,
)
from cnn.optim.state import checked_rates, count


@explain_init
class ReduceLROnPlateau:
    """Watch a metric, such as the validation loss, and reduce the learning rate when it stops improving.

    lr = max(lr factor, min_lr)  after more than ``patience`` steps in a row without an improvement on the best value

    In mode "min", an improvement is a metric below best (1 - threshold), or with threshold_mode "abs" below
    best - threshold; in mode "max", one above best (1 + threshold), or above best + threshold.

    Parameters
    ----------
    optimizer : Optimizer
        The learning rate of every parameter group is reduced.
    mode : {"min", "max"}
        "min" for a loss, "max" for an accuracy.
    factor : float
        At least 0 and below 1.
    patience : int
        How many steps without an improvement are allowed.
    threshold : float
        The smallest change that counts as an improvement.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        How many steps after a reduction are not counted.
    min_lr : float or list of float
        A lower limit of the learning rate; a list gives one for each group.
    eps : float
        Reductions by no more than this are skipped.

    Source
    ------
    Numbers as torch.optim.lr_scheduler.ReduceLROnPlateau.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> optimizer = SGD(lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
    ...     schedule.step(loss)
    ...     print(optimizer.lr)
    1.0
    1.0
    1.0
    0.5
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max", got {short_repr(mode)}')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f'threshold_mode must be "rel" or "abs", got {short_repr(threshold_mode)}')
        self.optimizer = optimizer
        self.mode = mode
        self.factor = below_one(factor, "factor")
        self.patience = integer(patience, "patience", 0)
        self.threshold = at_least_zero(threshold, "threshold")
        self.threshold_mode = threshold_mode
        self.cooldown = integer(cooldown, "cooldown", 0)
        self.min_lr = per_group(min_lr, "min_lr", optimizer)
        self.eps = at_least_zero(eps, "eps")
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def __repr__(self) -> str:
        return f"ReduceLROnPlateau({', '.join([*non_default_settings(self), f'best={self.best!r}'])})"

    def step(self, metrics: float) -> None:
        """Take the metric of this step; NaN does not count as an improvement."""
        groups = checked_groups(self, len(self.min_lr))
        try:
            metric = float(metrics)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(
                f"metrics must be a number, such as the validation loss, got {short_repr(metrics)}"
            ) from None
        if self.is_better(metric):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lowered = []
            for group, min_lr in zip(groups, self.min_lr, strict=True):
                lr = max(group.lr * self.factor, min_lr)
                lowered.append(lr if group.lr - lr > self.eps else group.lr)
            set_in_groups(self, "lr", lowered)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def is_better(self, metric: float) -> bool:
        """Whether the metric is better than the best one so far by more than the threshold."""
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * metric > sign * self.best * (1 + sign * self.threshold)
        return sign * metric > sign * self.best + self.threshold

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group.lr for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a new schedule, created with the same arguments, can continue."""
        state = {name: getattr(self, name) for name in ("best", "num_bad_epochs", "cooldown_counter")}
        return {**state, "lrs": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`.

        Raises
        ------
        ValueError
            If it does not fit; in that case nothing has changed.
        """
        names = ("best", "num_bad_epochs", "cooldown_counter", "lrs")
        if not isinstance(state, dict) or not set(names) <= set(state):
            raise ValueError(f"the state of ReduceLROnPlateau must be a dict with {', '.join(names)}")
        rates = checked_rates(state["lrs"], len(checked_groups(self, len(self.min_lr))))
        best = state["best"]
        if (
            isinstance(best, bool)
            or not isinstance(best, (int, float))
            or (isinstance(best, int) and not is_finite(best))
        ):
            raise ValueError(f"best must be a number, got {short_repr(best)}")
        bad, waiting = (count(state[name], name) for name in names[1:3])
        self.best, self.num_bad_epochs, self.cooldown_counter = float(best), bad, waiting
        set_in_groups(self, "lr", rates)
