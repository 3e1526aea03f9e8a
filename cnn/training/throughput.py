"""Throughput of training, the remaining time, and the line that shows them."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the loop imports modules that import this file
    from cnn.training.step import Step

TIME_CONSTANT = 20.0  # seconds; of the exponential moving average


class Throughput:
    """A moving average of the recent speed, and the extra time per epoch, such as for validation.

    Only the steps that were added count, so after a resume those of the earlier process do not. The first step does not
    count either, since it takes longer. In the average, the speed t seconds ago has the weight exp(-t / 20).
    """

    def __init__(self) -> None:
        self._last: float | None = None  # time at the last step
        self._seconds = 0.0  # these three are not in the averages yet
        self._steps = self._samples = 0
        self._weight = self._steps_per_second = self._samples_per_second = 0.0  # sums, to be divided by the weight
        self._first_extra, self._last_extra = _Mean(), _Mean()  # extra seconds of an epoch's first and last step

    def add(self, step: "Step", samples: int, now: float) -> None:
        """Add a step that ended at the time ``now``, in seconds; if the clock was set back, the step is ignored."""
        last, self._last = self._last, now
        if last is None or now < last:
            return
        if 1 < step.step < step.steps or step.steps <= 2:
            self._seconds += now - last
            self._steps += 1
            self._samples += samples
            return
        self._update()
        if self._weight:
            extra = self._first_extra if step.step == 1 else self._last_extra
            extra.add(now - last - self._weight / self._steps_per_second)

    def _update(self) -> None:
        if self._seconds > 0:  # some clocks have a resolution of 15 ms
            keep = math.exp(-self._seconds / TIME_CONSTANT)
            self._weight = keep * self._weight + 1 - keep
            self._steps_per_second = keep * self._steps_per_second + (1 - keep) * self._steps / self._seconds
            self._samples_per_second = keep * self._samples_per_second + (1 - keep) * self._samples / self._seconds
            self._seconds = 0.0
            self._steps = self._samples = 0

    @property
    def samples_per_second(self) -> float | None:
        """Samples per second, without the extra time between epochs; None while unknown."""
        self._update()
        return self._samples_per_second / self._weight if self._samples_per_second else None

    def seconds_left(self, step: "Step") -> float | None:
        """Return the seconds from this step to the end of training; None while unknown."""
        self._update()
        if not self._weight:
            return None
        epochs = step.epochs - step.epoch
        steps = epochs * step.steps + step.steps - step.step
        extra = epochs * self._first_extra.value + (epochs + (step.step < step.steps)) * self._last_extra.value
        return max(steps * self._weight / self._steps_per_second + extra, 0.0)


class _Mean:
    """A running mean; 0 before the first value."""

    def __init__(self) -> None:
        self.value, self._count = 0.0, 0

    def add(self, value: float) -> None:
        self._count += 1
        self.value += (value - self.value) / self._count


def progress_line(step: "Step", speed: float | None = None, left: float | None = None, width: int = 100) -> str:
    """Return a line about a step: as much as fits into ``width`` characters, without values that are None or nan.

    Parameters
    ----------
    step : Step
        Its numbers, loss and accuracy are shown.
    speed : float, optional
        Samples per second.
    left : float, optional
        Remaining seconds.
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
    position = f"{step.step:{len(str(step.steps))}}/{step.steps}"
    loss, accuracy = _format_number(step.loss), _format_number(step.accuracy)
    long_loss = loss and f"loss {loss}"
    long_accuracy = accuracy and f"accuracy {accuracy}"
    rate = "" if speed is None else _three_digits(speed)
    short_left = "" if left is None else format_duration(left)
    long_left = short_left and f"{short_left} left"
    full = [f"epoch {epoch}", f"step {position}", long_loss, long_accuracy]
    for parts in (
        [*full, rate and f"{rate} samples/s", long_left],
        [*full, rate and f"{rate}/s", long_left],
        [*full, long_left],
        [f"epoch {epoch}", position, long_loss, accuracy and f"acc {accuracy}", long_left],
        [epoch, position, long_loss, long_left],
        [epoch, position, long_loss, short_left],
        [epoch, position, loss],
        [epoch, position],
        [epoch],
    ):
        text = "  ".join(filter(None, parts))
        if len(text) <= width:
            return text
    return ""


def format_duration(seconds: float) -> str:
    """Format a duration.

    Examples
    --------
    >>> format_duration(7.9), format_duration(125), format_duration(3723)
    ('0:07', '2:05', '1:02:03')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _format_number(value: float) -> str:
    """Format with four decimals, or three digits if the number is large; nan gives an empty string."""
    if value != value:
        return ""
    return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.3g}"


def _three_digits(value: float) -> str:
    """Round to three digits, so that a changing number stays readable: 5123.4 gives 5,120."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"
