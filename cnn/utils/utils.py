"""train_val: training with validation after every epoch."""

from typing import Any

import numpy as np

from cnn import training
from cnn.containers.chain import hide_internal_frames


@hide_internal_frames
def train_val(
    model: Any,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    epochs: int = 100,
    batch_size: int = 32,
    verbose_freq: int = 10,
    rng: np.random.Generator | int | None = None,
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Train a model and validate it after every epoch.

    Parameters
    ----------
    model : Module
        With a loss and an optimizer, such as ``Sequential(layers=..., loss_func=..., optimizer=...)``.
    X_train, X_val : array_like
        Samples (N, ...) of any real floating dtype.
    y_train, y_val : array_like
        Labels (N,) of any integer dtype, or what the loss expects.
    epochs, batch_size : int
        At least 1. The last batch of an epoch may be smaller; samples are shuffled again in each epoch.
    verbose_freq : int
        Print a line every ``verbose_freq`` epochs; 0: print nothing.
    rng : numpy.random.Generator, int or None
        Shuffles the samples.

    Returns
    -------
    train_losses, train_accuracies, val_losses, val_accuracies : list of float
        One number per epoch: the means over the epoch's training samples, and the validation metrics after the epoch,
        in evaluation mode. Accuracies are fractions, 0 to 1; with MSELoss they are nan.

    Raises
    ------
    ValueError
        If the data do not fit the model; the message names the layer or the argument to change.
    FloatingPointError
        If the loss becomes NaN or infinite; the model keeps the weights of the last step with a finite loss.

    Examples
    --------
    >>> from cnn.layers import Linear, Softmax
    >>> from cnn.loss import CrossEntropyLoss
    >>> from cnn.optim import Adam
    >>> from cnn.sequential import Sequential
    >>> X, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> model = Sequential([Linear(4, 2, rng=0), Softmax()], loss_func=CrossEntropyLoss(), optimizer=Adam(lr=0.1))
    >>> train_losses, train_accuracies, val_losses, val_accuracies = train_val(
    ...     model, X, y, X, y, epochs=20, batch_size=4, verbose_freq=0)
    >>> len(train_losses), val_accuracies[-1]
    (20, 1.0)
    """
    history = training.fit(
        model,
        X_train,
        y_train,
        verbose_freq,
        validation_data=(X_val, y_val),
        epochs=epochs,
        batch_size=batch_size,
        rng=rng,
    )
    return history.train_loss, history.train_accuracy, history.val_loss, history.val_accuracy
