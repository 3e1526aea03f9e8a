"""Step: the state of training after a step."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """The state of training after a step.

    Attributes
    ----------
    epoch, epochs, step, steps : int
        Numbers of the epoch and of the step within it, from 1, and the total numbers of both.
    loss, accuracy : float
        Means over the epoch's samples so far.
    metrics : dict of str to float, or None
        After the last step of an epoch, the metrics that `History` records.
    model : Module
        The model in training.
    samples : int
        The number of samples in the batch of the step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    metrics: dict[str, float] | None
    model: Any = field(default=None, repr=False, compare=False)
    samples: int = field(default=0, repr=False, compare=False)

    @property
    def progress(self) -> float:
        """Completed fraction of the whole training, above 0 and up to 1.

        Examples
        --------
        A learning rate that falls linearly to 0 is ``model.optimizer.lr = 0.001 * (1 - step.progress)``.

        >>> Step(epoch=2, epochs=4, step=5, steps=10, loss=0.0, accuracy=0.0, metrics=None).progress
        0.375
        """
        return ((self.epoch - 1) * self.steps + self.step) / (self.epochs * self.steps)
