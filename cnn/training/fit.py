"""fit: run the training loop to its end, with one line per epoch."""

import contextlib
from typing import Any

from cnn.core.checks import integer
from cnn.kernels import one_blas_thread
from cnn.training.history import History, epoch_line
from cnn.training.loop import train
from cnn.training.progress import fit_progress


def fit(model: Any, x: Any, y: Any = None, verbose_freq: int = 1, **settings: Any) -> History:
    """Train to the end and return the metrics of every epoch.

    A line is printed every ``verbose_freq`` epochs (0: never). In a terminal or a notebook, another line shows the
    progress. ``settings`` are those of `train`. During training, the history is available as ``model.history``.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import CrossEntropyLoss
    >>> from cnn.optim import SGD
    >>> layers = [Linear(2, 2, rng=0)]
    >>> model = Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.5))
    >>> x, y = np.float32([[1, 0], [0, 1]] * 8), np.array([0, 1] * 8)
    >>> history = fit(model, x, y, epochs=20, verbose_freq=0, rng=0)
    >>> history.train_accuracy[-1]
    1.0
    """
    verbose_freq = integer(verbose_freq, "verbose_freq", 0)
    steps = train(model, x, y, **settings)
    if settings.get("ranks") is not None and settings["ranks"].rank > 0:
        verbose_freq = 0  # of several processes the first one alone prints
    # BLAS is limited once, not in each step. The loop is closed immediately, also after an error, so that the folder of
    # its checkpoints is free for another attempt in the same notebook.
    with one_blas_thread(), contextlib.closing(steps), fit_progress(verbose_freq > 0) as progress:
        for step in steps:
            progress.show(step, step.samples)
            if step.metrics is not None and verbose_freq and step.epoch % verbose_freq == 0:
                progress.line(epoch_line(step.epoch, step.epochs, step.metrics))
    history: History = model.history
    return history
