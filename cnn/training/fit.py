"""The loop, run to its end, with a word about each epoch."""

import contextlib
from typing import Any

from cnn.core.checks import integer
from cnn.training.history import History, epoch_line
from cnn.training.loop import train
from cnn.training.progress import fit_progress


def fit(model: Any, x: Any, y: Any = None, verbose_freq: int = 1, **settings: Any) -> History:
    """Train to the end and return the metrics of every epoch; a line is printed every ``verbose_freq`` epochs (0:
    none), and in a terminal or a notebook another tells how far it is.

    ``settings`` are those of `train`. While it runs, ``model.history`` is what is returned in the end.
    """
    verbose_freq = integer(verbose_freq, "verbose_freq", 0)
    steps = train(model, x, y, **settings)
    # closed at once after an error as well, so that its folder is free for a new try in the same notebook
    with contextlib.closing(steps), fit_progress(verbose_freq > 0) as shown:
        for step in steps:
            shown.show(step, step.samples)
            if step.metrics is not None and verbose_freq and step.epoch % verbose_freq == 0:
                shown.line(epoch_line(step.epoch, step.epochs, step.metrics))
    history: History = model.history
    return history
