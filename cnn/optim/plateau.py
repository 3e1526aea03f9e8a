"""ReduceLROnPlateau: a smaller learning rate when nothing gets better any more."""

import math
from collections.abc import Sequence
from typing import Any

from cnn.core.checks import integer
from cnn.optim.optimizer import Optimizer
from cnn.optim.schedule import check_optimizer
from cnn.optim.shared import at_least_zero, below_one, brief, chosen, groups_of, per_group, set_groups


class ReduceLROnPlateau:
    """Watch a metric, such as the validation loss, and cut the learning rate when it stops getting better.

    lr = max(lr factor, min_lr)  after more than ``patience`` steps in a row that were not better than the best so far

    Better is, in mode "min", below best (1 - threshold), or with threshold_mode "abs" below best - threshold; in mode
    "max", above best (1 + threshold), or best + threshold.

    Parameters
    ----------
    optimizer : Optimizer
        The learning rate of every group is cut.
    mode : {"min", "max"}
        "min" for a loss, "max" for an accuracy.
    factor : float
        At least 0 and below 1.
    patience : int
        How many steps without getting better are allowed.
    threshold : float
        How much better counts.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        How many steps after a cut are not counted.
    min_lr : float or list of float
        One for each group if a list.
    eps : float
        Cuts by no more than this are not made.

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
            raise ValueError(f'mode must be "min" or "max", got {brief(mode)}')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f'threshold_mode must be "rel" or "abs", got {brief(threshold_mode)}')
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
        return f"ReduceLROnPlateau({', '.join([*chosen(self), f'best={self.best!r}'])})"

    def step(self, metrics: float) -> None:
        """Tell the metric of this step; NaN counts as not better."""
        groups = groups_of(self, len(self.min_lr))
        try:
            metric = float(metrics)
        except (TypeError, ValueError):
            raise TypeError(f"metrics must be a number, such as the validation loss, got {brief(metrics)}") from None
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
            for group, least in zip(groups, self.min_lr, strict=True):
                lr = max(group.lr * self.factor, least)
                lowered.append(lr if group.lr - lr > self.eps else group.lr)
            set_groups(self, "lr", lowered)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def is_better(self, metric: float) -> bool:
        """Whether the metric is better than the best so far, by more than the threshold."""
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * metric > sign * self.best * (1 + sign * self.threshold)
        return sign * metric > sign * self.best + self.threshold

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group.lr for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` of a new schedule, made with the same arguments, needs to go on from here."""
        state = {name: getattr(self, name) for name in ("best", "num_bad_epochs", "cooldown_counter")}
        return {**state, "lrs": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.num_bad_epochs = state["best"], state["num_bad_epochs"]
        self.cooldown_counter = state["cooldown_counter"]
        set_groups(self, "lr", state["lrs"])
