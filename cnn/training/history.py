"""History: the metrics of every epoch."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

from cnn.core.explain import explain_attributes
from cnn.core.words import LISTS


@explain_attributes
@dataclass
class History:
    """The metrics measured during training, one entry per epoch.

    Attributes
    ----------
    train_loss, train_accuracy : list of float
        Means over the epoch's samples in training mode, each measured before the step that trains on the sample.
    val_loss, val_accuracy : list of float
        Measured in evaluation mode after the epoch; nan without validation data.
    seconds : list of float
        Duration of each epoch, including validation.

    Notes
    -----
    Accuracies are fractions, 0 to 1: of the classes, or of (p >= 0.5) == y over samples and labels for a binary loss;
    nan if the targets are neither.

    Raises
    ------
    TypeError
        If it is indexed like a dict of epochs; the message says what to write.

    Examples
    --------
    >>> history = History()
    >>> history.append(train_loss=0.5, train_accuracy=0.8, val_loss=0.6, val_accuracy=0.75, seconds=1.0)
    >>> history
    epoch  train loss  train accuracy  val loss  val accuracy  seconds
        1      0.5000          0.8000    0.6000        0.7500      1.0
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def append(self, **metrics: float) -> None:
        """Add the metrics of one epoch, by name."""
        for name, value in metrics.items():
            getattr(self, name).append(value)

    def epoch(self, index: int) -> dict[str, float]:
        """Return the metrics of one epoch by name; -1 is the last."""
        return {name: values[index] for name, values in vars(self).items()}

    def plot(self, ax: Any = None) -> Any:
        """Plot the loss and accuracy curves and return the figure, which a notebook shows.

        ``ax`` is a pair of axes to draw on, or one axes for the loss only; see `cnn.report.plots.history`.
        """
        from cnn.report import plots

        return plots.history(self, ax=ax)[0].figure

    def __len__(self) -> int:
        return len(self.train_loss)

    def __getitem__(self, name: object) -> NoReturn:
        """Raise an error that says which attribute to use, for those who know a dict of lists."""
        instead = f"history.{name}" if isinstance(name, str) and name in vars(self) else LISTS
        raise TypeError(f"History has no items, but lists: use {instead}")

    def __repr__(self) -> str:
        rows = ["epoch  train loss  train accuracy  val loss  val accuracy  seconds"]
        for i in range(len(self)):
            rows.append(
                f"{i + 1:5}  {self.train_loss[i]:10.4f}  {self.train_accuracy[i]:14.4f}  {self.val_loss[i]:8.4f}  "
                f"{self.val_accuracy[i]:12.4f}  {self.seconds[i]:7.1f}"
            )
        return "\n".join(rows)


def epoch_line(epoch: int, epochs: int, metrics: dict[str, float]) -> str:
    """Return one line with the metrics of an epoch, except those that are nan.

    Examples
    --------
    >>> epoch_line(3, 10, {"train_loss": 0.5, "train_accuracy": 0.8, "val_loss": float("nan")})
    'epoch  3/10  train loss 0.5000  train accuracy 0.8000'
    """
    shown = [
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in metrics.items()
        if name != "seconds" and value == value
    ]
    return "  ".join([f"epoch {epoch:{len(str(epochs))}}/{epochs}", *shown])
