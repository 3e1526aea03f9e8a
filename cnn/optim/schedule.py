"""Schedule: the base class of learning rate schedules."""

from typing import Any

from cnn.core.explain import Explained
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import checked_groups, non_default_settings, set_in_groups
from cnn.optim.state import checked_rates, count


def check_optimizer(optimizer: Any) -> None:
    """Raise an error unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer, got {type(optimizer).__name__}: pass model.optimizer")


class Schedule(Explained):
    """Change the learning rate of every group of an optimizer, as a function of the number of steps so far.

    lr = eta_min + (initial lr - eta_min) factor(t),  eta_min = 0 in most

    A step multiplies lr - eta_min by factor(t) / factor(t - 1), whatever the current rate is. So several schedules can
    share one optimizer, each with its own ``step``, and a schedule continues from a rate that was set by hand.

    A subclass implements ``factor(t)``. If the rate is not a multiple of the initial one, it implements
    ``rate(initial, t)`` instead, and a step sets the rate to that.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rates before its first schedule are the initial ones. Parameter groups must be set before the
        schedule is created; parameters without groups may come later, as from a `Sequential`.

    Attributes
    ----------
    last_epoch : int
        t, the number of steps so far (batches or epochs): the whole state of a schedule.
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
    >>> optimizer.lr = 0.3
    >>> schedule.step()
    >>> optimizer.lr
    0.15
    """

    eta_min: float = 0.0

    def __init__(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.base_lrs: list[float] = []
        for group in optimizer.param_groups:
            group.initial_lr = group.lr if group.initial_lr is None else group.initial_lr
            self.base_lrs.append(group.initial_lr)
        self.last_epoch = 0
        self.apply(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([*non_default_settings(self), f'last_epoch={self.last_epoch}'])})"

    def factor(self, t: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} needs a method factor(self, t) or rate(self, initial, t)")

    def rate(self, initial: float, t: int) -> float:
        """Return the learning rate after ``t`` steps of a group that started with ``initial``."""
        return self.eta_min + (initial - self.eta_min) * self.factor(t)

    def next_rate(self, lr: float, initial: float, t: int) -> float:
        """Return the rate after step ``t`` of a group whose rate was ``lr`` before it and ``initial`` at the start."""
        if type(self).rate is not Schedule.rate:
            return self.rate(initial, t)
        before, now = self.factor(t - 1) if t else 1.0, self.factor(t)
        if before == 0:  # lr is at eta_min, unless another schedule or the user changed it
            return lr + (initial - self.eta_min) * now
        return self.eta_min + (lr - self.eta_min) * (now / before)

    def apply(self, t: int) -> None:
        """Change the learning rates from those after ``t - 1`` steps to those after ``t``."""
        groups = checked_groups(self, len(self.base_lrs))
        rates = [self.next_rate(group.lr, initial, t) for group, initial in zip(groups, self.base_lrs, strict=True)]
        set_in_groups(self, "lr", [max(float(rate), 0.0) for rate in rates])  # PyTorch's may become negative

    def step(self) -> None:
        """Advance by one step."""
        self.apply(self.last_epoch + 1)
        self.last_epoch += 1

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group; ``optimizer.lr`` is that of the groups without their own."""
        return [group.lr for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a new schedule, created with the same arguments, can continue."""
        return {"last_epoch": self.last_epoch, "lrs": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`.

        Raises
        ------
        ValueError
            If it does not fit; in that case nothing has changed.
        """
        if not isinstance(state, dict) or not {"last_epoch", "lrs"} <= set(state):
            raise ValueError("the state of a schedule must be a dict with last_epoch and lrs, as state_dict returns it")
        rates = checked_rates(state["lrs"], len(checked_groups(self, len(self.base_lrs))))
        steps = count(state["last_epoch"], "last_epoch")
        self.apply(steps)  # sets the momentum too, if the schedule cycles it
        self.last_epoch = steps
        set_in_groups(self, "lr", rates)
