"""OneCycleLR: the learning rate rises, falls, and ends close to 0."""

import math
from collections.abc import Sequence

from cnn.core.checks import boolean, integer
from cnn.optim.optimizer import Optimizer
from cnn.optim.schedule import Schedule, check_optimizer
from cnn.optim.shared import at_least_zero, below_one, per_group, set_in_groups, short_repr


class OneCycleLR(Schedule):
    """One rise to a large learning rate and one long fall to almost 0; the momentum moves the opposite way.

    initial lr = max_lr / div_factor -> max_lr -> initial lr / final_div_factor
    momentum: max_momentum -> base_momentum -> max_momentum

    Each arrow is half a cosine or a straight line. Call `step` after each batch. The call after the last batch goes
    past the end: no step uses its rate.

    Parameters
    ----------
    optimizer : Optimizer
        Its own learning rate is ignored.
    max_lr : float or list of float
        The peak learning rate; a list gives one for each group.
    total_steps : int, optional
        Length of the cycle; if missing, it is ``epochs`` times ``steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        Fraction of the cycle in which the rate rises, 0 to 1.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Whether to cycle the momentum (``betas[0]`` of Adam and its variants) as well.
    base_momentum, max_momentum : float or list of float
        At least 0 and below 1.
    div_factor, final_div_factor : float
        Above 0.
    three_phase : bool
        Whether to fall to the initial lr first, as fast as it rose, and then to the final one.

    Raises
    ------
    ValueError
        If the number of steps is not given, a setting is out of its range, or `step` is called more often than that.

    Source
    ------
    Smith and Topin 2018, Super-convergence: very fast training of neural networks using large learning rates, arXiv
    1708.07120, section 4; numbers as torch.optim.lr_scheduler.OneCycleLR.

    Examples
    --------
    >>> from cnn.optim import SGD
    >>> optimizer = SGD()
    >>> schedule = OneCycleLR(optimizer, 1.0, total_steps=6, pct_start=0.5, anneal_strategy="linear", div_factor=4)
    >>> for step in range(6):
    ...     print(f"{optimizer.lr:.3f} {optimizer.momentum:.2f}")  # and train on a batch
    ...     schedule.step()
    0.250 0.95
    0.625 0.90
    1.000 0.85
    0.667 0.88
    0.333 0.92
    0.000 0.95

    In a training loop written by hand:

    >>> import numpy as np
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import MSELoss
    >>> from cnn.optim import WeightAverage, clip_grad_norm_
    >>> x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    >>> model = Sequential([Linear(2, 1)], loss_func=MSELoss(), optimizer=SGD())
    >>> schedule, average = OneCycleLR(model.optimizer, max_lr=0.1, total_steps=10), WeightAverage(model)
    >>> for step in range(10):
    ...     loss, _ = model.loss_and_grad(x, y)
    ...     norm = clip_grad_norm_(model.parameters(), max_norm=1.0)
    ...     model.optimizer.step()
    ...     model.zero_grad()
    ...     schedule.step()
    ...     average.update()
    >>> schedule
    OneCycleLR(max_lr=0.1, total_steps=10, last_epoch=10)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        check_optimizer(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = integer(epochs, "epochs", 1) * integer(steps_per_epoch, "steps_per_epoch", 1)
        self.total_steps = integer(total_steps, "total_steps", 1)
        self.pct_start = at_least_zero(pct_start, "pct_start")
        if self.pct_start > 1:
            raise ValueError(f"pct_start must be at most 1, got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'anneal_strategy must be "cos" or "linear", got {short_repr(anneal_strategy)}')
        self.anneal_strategy = anneal_strategy
        self.div_factor = at_least_zero(div_factor, "div_factor")
        self.final_div_factor = at_least_zero(final_div_factor, "final_div_factor")
        if self.div_factor == 0 or self.final_div_factor == 0:
            raise ValueError("div_factor and final_div_factor must be above 0")
        self.three_phase = boolean(three_phase, "three_phase")
        self.cycle_momentum = boolean(cycle_momentum, "cycle_momentum")
        if self.cycle_momentum and not (hasattr(optimizer, "momentum") or hasattr(optimizer, "betas")):
            raise ValueError(f"{type(optimizer).__name__} has no momentum to cycle: OneCycleLR(cycle_momentum=False)")
        self.base_momentum = [
            below_one(m, "base_momentum") for m in per_group(base_momentum, "base_momentum", optimizer)
        ]
        self.max_momentum = [below_one(m, "max_momentum") for m in per_group(max_momentum, "max_momentum", optimizer)]
        self.max_lr = max_lr
        for group, peak in zip(optimizer.param_groups, per_group(max_lr, "max_lr", optimizer), strict=True):
            group.initial_lr = peak / self.div_factor
        super().__init__(optimizer)

    def value_at(self, t: int, rates: tuple[float, float, float, float]) -> float:
        """Return the value after ``t`` steps: it moves from the first of the four to the second and then to the last;
        with three phases, it passes the third before the last.
        """
        rise = self.pct_start * self.total_steps - 1
        ends = [0.0, rise, *([2 * rise] if self.three_phase else []), self.total_steps - 1]
        first, peak, third, last = rates
        values = [first, peak, *([third] if self.three_phase else []), last]
        phase = 0
        while phase < len(ends) - 2 and t > ends[phase + 1]:
            phase += 1
        start, end = values[phase : phase + 2]
        length = ends[phase + 1] - ends[phase]
        progress = (t - ends[phase]) / length if length else 1.0
        if self.anneal_strategy == "linear":
            return start + (end - start) * progress
        return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))

    def rate(self, initial: float, t: int) -> float:
        if t > self.total_steps:
            raise ValueError(
                f"step {t} of a OneCycleLR of {self.total_steps} steps: create it with total_steps={t} or more, and "
                "call step only once per batch"
            )
        return self.value_at(t, (initial, initial * self.div_factor, initial, initial / self.final_div_factor))

    def apply(self, t: int) -> None:
        super().apply(t)
        if not self.cycle_momentum:
            return
        ends = zip(self.base_momentum, self.max_momentum, strict=True)
        momenta = [self.value_at(t, (high, low, high, high)) for low, high in ends]
        if hasattr(self.optimizer, "betas"):
            groups = zip(momenta, self.optimizer.param_groups, strict=True)
            set_in_groups(self, "betas", [(momentum, group["betas"][1]) for momentum, group in groups])
        else:
            set_in_groups(self, "momentum", momenta)
