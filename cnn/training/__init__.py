"""Training of any Module with a loss and an optimizer: training loop, callbacks, checkpoints, history and checks."""

from typing import TYPE_CHECKING

from cnn.core.explain import missing_name
from cnn.training.callbacks import Averaged, Scheduled
from cnn.training.checkpoint import Checkpoint
from cnn.training.evaluation import evaluate, predict
from cnn.training.fit import fit
from cnn.training.health import Health, TrainingWarning
from cnn.training.history import History
from cnn.training.inputs import as_samples
from cnn.training.logs import CSVLog, JSONLinesLog
from cnn.training.loop import train
from cnn.training.run import Callback
from cnn.training.step import Step
from cnn.training.stopping import EarlyStopping, StopAt, TimeBudget

__all__ = [
    "Averaged",
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Health",
    "History",
    "JSONLinesLog",
    "Scheduled",
    "Step",
    "StopAt",
    "TimeBudget",
    "TrainingWarning",
    "as_samples",
    "evaluate",
    "fit",
    "predict",
    "train",
]


if not TYPE_CHECKING:  # so that type checkers still report unknown names

    def __getattr__(name):
        raise missing_name("cnn.training", name, __all__)
