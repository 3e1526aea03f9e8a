"""train: the arguments of a training, checked before its first step, for any Module with a loss and an optimizer."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.checks import boolean, integer
from cnn.core.explain import explain_arguments
from cnn.distributed.ranks import Ranks
from cnn.optim import ReduceLROnPlateau, Schedule
from cnn.training.arguments import BATCH_SIZE, as_callbacks, check_clip_norm, check_resume, training_data
from cnn.training.batch_of_one import check_batches_of_one
from cnn.training.inputs import check_deterministic, check_optimizer, check_trainable
from cnn.training.resume import Resumed
from cnn.training.run import Callback, Run
from cnn.training.shared_run import SharedRun
from cnn.training.step import Step
from cnn.training.watched import check_watched


@explain_arguments
def train(
    model: Any,
    x: Any,
    y: Any = None,
    validation_data: Any = None,
    epochs: int = 10,
    batch_size: int = BATCH_SIZE,
    rng: np.random.Generator | int | None = None,
    callbacks: Sequence[Callback | Schedule | ReduceLROnPlateau] = (),
    resume: str | Path | None = None,
    evaluate_train: bool = False,
    validation_split: float = 0.0,
    drop_last: bool = False,
    clip_norm: float | None = None,
    class_weight: dict[int, float] | str | None = None,
    sample_weight: Any = None,
    ranks: Ranks | None = None,
    sync_batchnorm: bool = True,
) -> Generator[Step, None, None]:
    """Train, and yield after every step, so that the caller's own loop can monitor, log or stop.

    All arguments are checked in the call itself; the first step runs with the first ``next``. ``model.history`` grows
    by one entry per epoch.

    Parameters
    ----------
    model : Module
        With attributes ``loss_func`` and ``optimizer``.
    x, y : array_like
        N samples (N, ...) of any floating-point dtype, and the targets that `model.loss_func` expects. Or only ``x``,
        a `DataLoader`, which has its own batch size, order and transforms.
    validation_data : pair of array_like or DataLoader, optional
        Samples and targets that are evaluated after each epoch.
    epochs, batch_size : int
        At least 1. The last batch of an epoch may be smaller.
    rng : numpy.random.Generator, int or None
        Draws a new order of the samples for each epoch.
    callbacks : sequence of callable, Schedule or ReduceLROnPlateau
        Each is called after every step; if one returns True, training ends. See `cnn.training.callbacks`. A schedule of
        `cnn.optim` is stepped after every epoch, a OneCycleLR after every step; `Scheduled` has more settings.
    resume : str or Path, optional
        Folder of a `Checkpoint` of the same training, to continue where that stopped. Only ``epochs`` may differ.
    evaluate_train : bool
        Measure train_loss and train_accuracy like the validation metrics: after the epoch, in evaluation mode, over
        all samples. This costs a forward pass. Otherwise they are the running means of the epoch, in training mode.
    validation_split : float
        This fraction of the samples, the last ones before any shuffling, becomes the validation data. Only for arrays.
    drop_last : bool
        Leave out a last batch that would be smaller, such as one of a single sample.
    clip_norm : float, optional
        The gradients of a step are scaled down to this norm, if theirs is larger; see `cnn.optim.clip_grad_norm_`.
    class_weight : dict or "balanced", optional
        How much each class counts in the training loss, {class id: weight}; see `cnn.loss.weighted.class_weighted`.
    sample_weight : array_like (N,), optional
        How much each sample counts in the training loss and accuracy; see `cnn.loss.weighted.SampleWeighted`.
        Validation metrics are without weights.
    ranks : Ranks, optional
        From `cnn.distributed.world`: the processes that train together, each on its part of every batch. They end with
        the weights of one process that trains alone, up to rounding; `batch_size` is that of all together.
    sync_batchnorm : bool
        Whether the statistics of a batch norm are those of the whole batch. False: of each process's part, which takes
        less time and is not what one process computes. The running statistics are then those of rank 0.

    Returns
    -------
    iterator of Step

    Raises
    ------
    InputError
        (a ValueError) If the data do not fit the model or the loss; in that case nothing has been trained. Or if a
        sample of a DataLoader is NaN or infinite, or too large for the model's dtype, and spoils a step.
    CheckpointError
        (a ValueError) If the checkpoints are of another training, or none can be read.
    FloatingPointError
        If the loss becomes NaN or infinite. The message names the step and the layer; the model has the weights of
        the last step with a finite loss.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import CrossEntropyLoss
    >>> from cnn.optim import SGD
    >>> from cnn.training import train
    >>> model = Sequential([Linear(2, 2, rng=0)], CrossEntropyLoss(from_logits=True), SGD(lr=0.5))
    >>> x, y = np.float32([[1, 0], [0, 1]] * 8), np.array([0, 1] * 8)
    >>> for step in train(model, x, y, epochs=20, batch_size=8, rng=0):
    ...     if step.metrics and step.metrics["train_loss"] < 0.3:  # at the end of an epoch
    ...         break
    >>> step.epoch < 20
    True
    """
    epochs = integer(epochs, "epochs", 1)
    check_trainable(model)
    clip_norm = check_clip_norm(clip_norm)
    loader, validation_data, loss_func = training_data(
        model, x, y, validation_data, validation_split, batch_size, rng, drop_last, class_weight, sample_weight
    )
    check_optimizer(model)
    check_batches_of_one(model, loader, validation_data, evaluate_train)
    callbacks = as_callbacks(callbacks, model, validation_data is not None)
    if boolean(evaluate_train, "evaluate_train"):
        check_deterministic(loader.transforms)
    check_resume(resume)
    parts = model, loader, validation_data, epochs, callbacks, evaluate_train, loss_func, clip_norm
    sync_batchnorm = boolean(sync_batchnorm, "sync_batchnorm")
    if ranks is not None and not isinstance(ranks, Ranks):
        raise TypeError(f"ranks must be what cnn.distributed.world() returns, got {ranks!r}")
    run = Run(*parts) if ranks is None or ranks.size == 1 else SharedRun(ranks, sync_batchnorm, *parts)
    check_watched(run)
    resumed = Resumed.find(resume, run) if resume is not None and run.writes else None
    return run.steps(resumed)
