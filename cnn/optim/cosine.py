"""Cosine schedules: CosineAnnealingLR, CosineAnnealingWarmRestarts."""

import math

from cnn.core.checks import integer
from cnn.optim.optimizer import Optimizer
from cnn.optim.schedule import Schedule
from cnn.optim.shared import at_least_zero


class CosineAnnealingLR(Schedule):
    """Half a cosine down to ``eta_min``: slow at the start, fast in the middle, slow again at the end.

    lr = eta_min + (initial lr - eta_min) (1 + cos(pi t / T_max)) / 2

    After ``T_max`` steps the rate is ``eta_min``; after that it rises along the same cosine.

    Source
    ------
    Loshchilov and Hutter 2017, SGDR: stochastic gradient descent with warm restarts, arXiv 1608.03983, equation 5
    without restarts; numbers as torch.optim.lr_scheduler.CosineAnnealingLR.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> schedule = CosineAnnealingLR(SGD(lr=1.0), T_max=4)
    >>> [round(schedule.rate(1.0, t), 3) for t in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803
        self.T_max = integer(T_max, "T_max", 1)
        self.eta_min = at_least_zero(eta_min, "eta_min")
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine down to ``eta_min``, then a restart, again and again; each cycle is ``T_mult`` times as long.

    lr = eta_min + (initial lr - eta_min) (1 + cos(pi s / T)) / 2

    where T is the length of the cycle, T_0 T_mult^(number of the cycle, from 0), and s is the number of steps in it. As
    in PyTorch, a step sets this rate regardless of what the rate was.

    Source
    ------
    Loshchilov and Hutter 2017, SGDR: stochastic gradient descent with warm restarts, arXiv 1608.03983, equation 5;
    numbers as torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> schedule = CosineAnnealingWarmRestarts(SGD(lr=1.0), T_0=2, T_mult=2)
    >>> [round(schedule.rate(1.0, t), 3) for t in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:  # noqa: N803
        self.T_0 = integer(T_0, "T_0", 1)
        self.T_mult = integer(T_mult, "T_mult", 1)
        self.eta_min = at_least_zero(eta_min, "eta_min")
        super().__init__(optimizer)

    def rate(self, initial: float, t: int) -> float:
        length = self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.T_mult
        return self.eta_min + (initial - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2
