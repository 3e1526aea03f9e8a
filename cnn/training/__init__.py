"""Training, for any Module with a loss and an optimizer: the loop, its history and its checks."""

from cnn.training.history import History
from cnn.training.inputs import as_samples
from cnn.training.loop import Step, evaluate, fit, predict, train

__all__ = ["History", "Step", "as_samples", "evaluate", "fit", "predict", "train"]
