"""Schedules that multiply the learning rate: StepLR, MultiStepLR, ExponentialLR, LinearLR."""

from bisect import bisect_right
from collections.abc import Iterable

from cnn.core.checks import integer
from cnn.optim.optimizer import Optimizer
from cnn.optim.schedule import Schedule
from cnn.optim.shared import at_least_zero, short_repr


class StepLR(Schedule):
    """Step decay: every ``step_size`` steps the learning rate is multiplied by ``gamma``.

    lr = initial lr gamma^(t // step_size)

    Source
    ------
    Numbers as torch.optim.lr_scheduler.StepLR.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> schedule = StepLR(SGD(lr=1.0), step_size=2, gamma=0.5)
    >>> [schedule.rate(1.0, t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = integer(step_size, "step_size", 1)
        self.gamma = at_least_zero(gamma, "gamma")
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """Step decay at given steps: the learning rate is multiplied by ``gamma`` at each milestone.

    lr = initial lr gamma^(number of milestones up to t)

    Raises
    ------
    TypeError
        If ``milestones`` is not a list.

    Source
    ------
    He, Zhang, Ren and Sun 2016, Deep residual learning, arXiv 1512.03385, section 4.2; numbers as
    torch.optim.lr_scheduler.MultiStepLR.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> schedule = MultiStepLR(SGD(lr=1.0), milestones=[2, 5], gamma=0.5)
    >>> [schedule.rate(1.0, t) for t in range(7)]
    [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(f"milestones must be a list of steps, such as [30, 60], got {short_repr(milestones)}")
        self.milestones = sorted(integer(m, "each of milestones", 1) for m in milestones)
        self.gamma = at_least_zero(gamma, "gamma")
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """Exponential decay: each step multiplies the learning rate by ``gamma``.

    lr = initial lr gamma^t

    Source
    ------
    Numbers as torch.optim.lr_scheduler.ExponentialLR.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> schedule = ExponentialLR(SGD(lr=1.0), gamma=0.5)
    >>> [schedule.rate(1.0, t) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = at_least_zero(gamma, "gamma")
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma**t


class LinearLR(Schedule):
    """Linear change from one fraction of the learning rate to another, then constant: the usual warm-up.

    lr = initial lr (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters)

    Small first steps protect the initial weights, whose gradients are large and carry little information.

    Raises
    ------
    ValueError
        If ``start_factor`` is not above 0, or a factor is above 1.

    Source
    ------
    Goyal et al. 2017, Accurate, large minibatch SGD, arXiv 1706.02677, section 2.2; numbers as
    torch.optim.lr_scheduler.LinearLR.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> schedule = LinearLR(SGD(lr=1.0), start_factor=0.5, total_iters=4)
    >>> [schedule.rate(1.0, t) for t in range(6)]
    [0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor = at_least_zero(start_factor, "start_factor")
        self.end_factor = at_least_zero(end_factor, "end_factor")
        if not 0 < self.start_factor <= 1 or self.end_factor > 1:
            raise ValueError(
                f"start_factor must be above 0, and neither factor above 1, got {start_factor!r} and {end_factor!r}"
            )
        self.total_iters = integer(total_iters, "total_iters", 1)
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / self.total_iters
