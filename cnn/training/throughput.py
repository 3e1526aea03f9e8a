"""How fast a training is, how long it will take, and a line that says so."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the loop imports what imports this file
    from cnn.training.step import Step

TIME_CONSTANT = 20.0  # seconds over which the speed is smoothed


class Throughput:
    """How fast the steps follow each other of late, and how much time an epoch takes besides: validation and the like.

    Only steps that were added count, so after a resume not those of the process before; nor does the very first, which
    takes longer. The speed is a mean over time in which what is t seconds ago counts exp(-t / 20).
    """

    def __init__(self) -> None:
        self._then: float | None = None
        self._seconds = 0.0  # these three are not in the means yet
        self._steps = self._samples = 0
        self._weight = self._steps_a_second = self._samples_a_second = 0.0  # to be divided by the weight
        self._before, self._after = _Mean(), _Mean()  # what an epoch's first and last step take longer than others

    def add(self, step: "Step", samples: int, now: float) -> None:
        """Add a step that ended ``now``, in seconds of a clock; time that runs back is left out."""
        then, self._then = self._then, now
        if then is None or now < then:
            return
        if 1 < step.step < step.steps or step.steps <= 2:
            self._seconds += now - then
            self._steps += 1
            self._samples += samples
            return
        self._update()
        if self._weight:
            longer = self._before if step.step == 1 else self._after
            longer.add(now - then - self._weight / self._steps_a_second)

    def _update(self) -> None:
        if self._seconds > 0:  # some clocks stand still for 15 ms
            keep = math.exp(-self._seconds / TIME_CONSTANT)
            self._weight = keep * self._weight + 1 - keep
            self._steps_a_second = keep * self._steps_a_second + (1 - keep) * self._steps / self._seconds
            self._samples_a_second = keep * self._samples_a_second + (1 - keep) * self._samples / self._seconds
            self._seconds = 0.0
            self._steps = self._samples = 0

    @property
    def samples_per_second(self) -> float | None:
        """Samples a second, without what is between the epochs; None while unknown."""
        self._update()
        return self._samples_a_second / self._weight if self._samples_a_second else None

    def seconds_left(self, step: "Step") -> float | None:
        """Return the seconds after this step until the end; None while unknown."""
        self._update()
        if not self._weight:
            return None
        epochs = step.epochs - step.epoch
        steps = epochs * step.steps + step.steps - step.step
        longer = epochs * self._before.value + (epochs + (step.step < step.steps)) * self._after.value
        return max(steps * self._weight / self._steps_a_second + longer, 0.0)


class _Mean:
    """0 before there is something to take the mean of."""

    def __init__(self) -> None:
        self.value, self._count = 0.0, 0

    def add(self, value: float) -> None:
        self._count += 1
        self.value += (value - self.value) / self._count


def progress_line(step: "Step", speed: float | None = None, left: float | None = None, width: int = 100) -> str:
    """Return a line about a step: as much as fits into ``width`` characters, without what is None or nan.

    Parameters
    ----------
    step : Step
        Its numbers, loss and accuracy are told.
    speed : float, optional
        Samples a second.
    left : float, optional
        Seconds.
    width : int
        At least 0.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> step = SimpleNamespace(epoch=3, epochs=10, step=412, steps=938, loss=0.4312, accuracy=0.8471)
    >>> for width in (100, 77, 57, 37, 10):
    ...     print("|", progress_line(step, 5124, 125.3, width))
    |  epoch  3/10  step 412/938  loss 0.4312  accuracy 0.8471  5,120 samples/s  2:05 left
    |  epoch  3/10  step 412/938  loss 0.4312  accuracy 0.8471  5,120/s  2:05 left
    |  epoch  3/10  412/938  loss 0.4312  acc 0.8471  2:05 left
    |  3/10  412/938  loss 0.4312  2:05
    |  3/10
    """
    epoch = f"{step.epoch:{len(str(step.epochs))}}/{step.epochs}"
    at = f"{step.step:{len(str(step.steps))}}/{step.steps}"
    loss, accuracy = _number(step.loss), _number(step.accuracy)
    long_loss = loss and f"loss {loss}"
    long_accuracy = accuracy and f"accuracy {accuracy}"
    a_second = "" if speed is None else _three_digits(speed)
    short_left = "" if left is None else format_duration(left)
    long_left = short_left and f"{short_left} left"
    whole = [f"epoch {epoch}", f"step {at}", long_loss, long_accuracy]
    for parts in (
        [*whole, a_second and f"{a_second} samples/s", long_left],
        [*whole, a_second and f"{a_second}/s", long_left],
        [*whole, long_left],
        [f"epoch {epoch}", at, long_loss, accuracy and f"acc {accuracy}", long_left],
        [epoch, at, long_loss, long_left],
        [epoch, at, long_loss, short_left],
        [epoch, at, loss],
        [epoch, at],
        [epoch],
    ):
        text = "  ".join(filter(None, parts))
        if len(text) <= width:
            return text
    return ""


def format_duration(seconds: float) -> str:
    """Return a duration for people.

    Examples
    --------
    >>> format_duration(7.9), format_duration(125), format_duration(3723)
    ('0:07', '2:05', '1:02:03')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _number(value: float) -> str:
    """Return four decimals, but no endless digits of what is large; nothing of nan."""
    if value != value:
        return ""
    return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.3g}"


def _three_digits(value: float) -> str:
    """Return a number whose last digits stand still for a moment: 5123.4 is 5,120."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"
