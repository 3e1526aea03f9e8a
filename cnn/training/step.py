"""Step: the state of training after a step."""

from dataclasses import dataclass, field
from typing import Any

from cnn.training.means import PendingBatches, accuracy, mean_loss


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

    @classmethod
    def with_lazy_means(cls, batch: tuple[PendingBatches, int], **fields: Any) -> "Step":
        """Return a step whose loss and accuracy are computed on first access.

        Parameters
        ----------
        batch : tuple
            What `Means.add` returned for the batch of the step.
        fields
            All fields except loss and accuracy.
        """
        step = cls.__new__(cls)
        fields["_batch"] = batch
        object.__setattr__(step, "__dict__", fields)  # the class is frozen
        return step

    def __getattr__(self, name: str) -> float:
        if name not in ("loss", "accuracy") or "_batch" not in vars(self):
            raise AttributeError(f"'Step' object has no attribute {name!r}")
        pending, number = vars(self)["_batch"]
        sums = pending.sums(number)
        vars(self).update(loss=mean_loss(sums), accuracy=accuracy(sums))
        vars(self).pop("_batch", None)  # another thread may have been faster
        return mean_loss(sums) if name == "loss" else accuracy(sums)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) if "loss" in vars(self) else vars(self) | {"loss": self.loss, "accuracy": self.accuracy}
