"""Combinations of schedules: one after the other (SequentialLR), or all at once (ChainedScheduler)."""

from bisect import bisect_right
from collections.abc import Sequence

from cnn.core.checks import integer
from cnn.optim.optimizer import Optimizer
from cnn.optim.schedule import Schedule, check_optimizer
from cnn.optim.shared import set_in_groups, short_repr


class SequentialLR(Schedule):
    """One schedule after the other, each starting from its own step 0; the next starts at each milestone.

    Raises
    ------
    ValueError
        If there is not one milestone less than schedules, or they do not rise.

    Source
    ------
    Numbers as torch.optim.lr_scheduler.SequentialLR.

    Examples
    --------
    >>> from cnn.optim import SGD, CosineAnnealingLR, LinearLR
    >>> sgd = SGD(lr=1.0)
    >>> parts = [LinearLR(sgd, 0.5, total_iters=2), CosineAnnealingLR(sgd, T_max=4)]
    >>> schedule = SequentialLR(sgd, parts, milestones=[2])
    >>> [round(schedule.rate(1.0, t), 3) for t in range(7)]
    [0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]) -> None:
        check_optimizer(optimizer)
        self.schedulers = _check_schedulers(schedulers, optimizer)
        self.milestones = [integer(m, "each of milestones", 1) for m in milestones]
        if len(self.milestones) != len(self.schedulers) - 1 or sorted(set(self.milestones)) != self.milestones:
            needed = len(self.schedulers) - 1
            raise ValueError(f"{needed + 1} schedulers need {needed} rising milestones, got {short_repr(milestones)}")
        super().__init__(optimizer)

    def _active(self, t: int) -> tuple[Schedule, int]:
        """Return the schedule that is active at step ``t``, and how many steps it has taken by then."""
        i = bisect_right(self.milestones, t)
        return self.schedulers[i], t - [0, *self.milestones][i]

    def rate(self, initial: float, t: int) -> float:
        schedule, steps = self._active(t)
        return schedule.rate(initial, steps)

    def apply(self, t: int) -> None:
        schedule, steps = self._active(t)
        if steps == 0:
            set_in_groups(schedule, "lr", schedule.base_lrs)
        schedule.apply(steps)


class ChainedScheduler(Schedule):
    """Several schedules at once, such as a warm-up on top of a decay: ``step`` steps each of them, in order.

    The result is the same as stepping each of them by hand.

    Source
    ------
    Numbers as torch.optim.lr_scheduler.ChainedScheduler.

    Examples
    --------
    >>> from cnn.optim import SGD, LinearLR, StepLR
    >>> sgd = SGD(lr=1.0)
    >>> schedule = ChainedScheduler([LinearLR(sgd, 0.5, total_iters=2), StepLR(sgd, step_size=3, gamma=0.5)])
    >>> [schedule.rate(1.0, t) for t in range(7)]
    [0.5, 0.75, 1.0, 0.5, 0.5, 0.5, 0.25]
    """

    def __init__(self, schedulers: Sequence[Schedule], optimizer: Optimizer | None = None) -> None:
        self.schedulers = _check_schedulers(schedulers, optimizer)
        self.optimizer = self.schedulers[0].optimizer
        self.base_lrs = self.schedulers[0].base_lrs
        self.last_epoch = 0  # the schedulers have already set the rates

    def rate(self, initial: float, t: int) -> float:
        lr = initial
        for step in range(t + 1):
            for schedule in self.schedulers:
                lr = schedule.next_rate(lr, initial, step)
        return lr

    def apply(self, t: int) -> None:
        for schedule in self.schedulers:
            schedule.apply(t)


def _check_schedulers(schedulers: Sequence[Schedule], optimizer: Optimizer | None) -> list[Schedule]:
    """Return the schedules as a list if they all belong to one optimizer."""
    found = list(schedulers)
    if not found or not all(isinstance(schedule, Schedule) for schedule in found):
        raise TypeError(
            f"schedulers must be a list of schedules, such as [LinearLR(optimizer)], got {short_repr(schedulers)}"
        )
    if any(schedule.optimizer is not (optimizer or found[0].optimizer) for schedule in found):
        raise ValueError("all schedulers must have the same optimizer")
    return found
