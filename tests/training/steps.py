"""Made-up steps, without any training."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from cnn.training import progress
from cnn.training.history import epoch_line


@dataclass(frozen=True)
class Step:
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float = 0.4312
    accuracy: float = 0.8471


def steps_of(epochs: int, steps: int, begin: int = 0) -> Iterator[Step]:
    for i in range(begin, epochs * steps):
        yield Step(i // steps + 1, epochs, i % steps + 1, steps)


def line_of(step: Step) -> str:
    return epoch_line(step.epoch, step.epochs, {"train_loss": step.loss})


def run_progress(
    display: progress.Progress, epochs: int = 3, steps: int = 938, samples: int = 64, every: int = 1
) -> list[str]:
    """Run a display through all steps; return the lines about epochs."""
    lines = []
    with display:
        for step in steps_of(epochs, steps):
            display.show(step, samples)
            if step.step == steps and step.epoch % every == 0:
                lines.append(line_of(step))
                display.line(lines[-1])
    return lines


def fake_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the display a clock that advances by 0.0125 s per call, so a step takes that long; return its time."""
    moment = [1000.0]

    def monotonic():
        moment[0] += 0.0125
        return moment[0]

    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=monotonic))
    return moment
