"""Schedule: a learning rate that follows the number of steps."""

from typing import Any

from cnn.checks import integer
from cnn.optim.optimizer import Optimizer


class Schedule:
    """Set the learning rate of every group of an optimizer, as a function of the number of steps so far.

    lr = initial lr factor(t)

    A subclass writes ``factor(t)``, or ``rate(initial, t)`` if the rate is no multiple of the initial one.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rates are taken as the initial ones; a second schedule starts from the same as the first.

    Attributes
    ----------
    last_epoch : int
        t, the number of steps so far, batches or epochs: all that a schedule remembers.
    base_lrs : list of float
        The initial learning rate of each group.

    Source
    ------
    Numbers as torch.optim.lr_scheduler.LRScheduler.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> class Halves(Schedule):
    ...     def factor(self, t):
    ...         return 0.5**t
    >>> optimizer = SGD(lr=1.0)
    >>> schedule = Halves(optimizer)
    >>> schedule.step()  # after the optimizer's step, or after each epoch
    >>> optimizer.lr
    0.5
    >>> [schedule.rate(1.0, t) for t in range(4)]  # without taking steps
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__} needs an Optimizer first, such as model.optimizer, got {optimizer!r}"
            )
        self.optimizer = optimizer
        self.base_lrs: list[float] = []
        for group in optimizer.param_groups:
            group.initial_lr = group.lr if group.initial_lr is None else group.initial_lr
            self.base_lrs.append(group.initial_lr)
        self.last_epoch = 0
        self.apply(0)

    def factor(self, t: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} needs a method factor(self, t) or rate(self, initial, t)")

    def rate(self, initial: float, t: int) -> float:
        """Return the learning rate after ``t`` steps of a group that started with ``initial``."""
        return initial * self.factor(t)

    def apply(self, t: int) -> None:
        """Set the learning rates to those after ``t`` steps."""
        for group, initial in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group.lr = float(self.rate(initial, t))

    def step(self) -> None:
        """Go on by one step."""
        self.apply(self.last_epoch + 1)
        self.last_epoch += 1

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group.lr for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` of a new schedule, made with the same arguments, needs to go on from here."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_epoch = integer(state["last_epoch"], "last_epoch", 0)
        self.apply(self.last_epoch)
