"""train_val: the example program of the README."""

import numpy as np
import pytest

import cnn
from cnn.data import spiral
from cnn.layers import Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.optim import Adam
from cnn.sequential import Sequential
from cnn.utils import train_val


def spiral_split(dtype=np.float64):
    X, y = spiral(points_per_class=300, classes=3, noise=0.2, rng=0)
    order = np.random.default_rng(1).permutation(len(X))
    X, y = X[order].astype(dtype), y[order]
    return X[:720], y[:720], X[720:], y[720:]


def test_the_program_of_the_readme_reaches_095():
    cnn.manual_seed(0)
    D, K = 2, 3  # noqa: N806
    X_train, y_train, X_val, y_val = spiral_split()
    ordered_layers = [Linear(D, 32), ReLU(), Linear(32, 16), ReLU(), Linear(16, K), Softmax()]
    loss = CrossEntropyLoss()
    optim = Adam(lr=1e-3)
    model = Sequential(layers=ordered_layers, loss_func=loss, optimizer=optim)
    train_losses, train_accuracies, val_losses, val_accuracies = train_val(
        model, X_train, y_train, X_val, y_val, epochs=100, batch_size=32, verbose_freq=0
    )
    assert val_accuracies[-1] >= 0.95
    for metrics in (train_losses, train_accuracies, val_losses, val_accuracies):
        assert len(metrics) == 100
        assert {type(metric) for metric in metrics} == {float}
    assert val_losses[-1] < val_losses[0]


def test_with_mse_the_accuracy_lists_hold_nan():
    x = np.linspace(0, 1, 10)[:, None]
    model = Sequential([Linear(1, 1)], loss_func=MSELoss(), optimizer=Adam())
    losses, accuracies, val_losses, val_accuracies = train_val(model, x, x, x, x, epochs=3, verbose_freq=0)
    assert np.isfinite(losses + val_losses).all()
    assert np.isnan(accuracies + val_accuracies).all()
    assert len(accuracies) == len(val_accuracies) == 3


def test_it_prints_every_verbose_freq_epochs(capsys):
    X, y = np.eye(4), np.array([0, 1, 0, 1])
    model = Sequential([Linear(4, 2), Softmax()], loss_func=CrossEntropyLoss(), optimizer=Adam())
    train_val(model, X, y, X, y, epochs=20, batch_size=4, verbose_freq=10)
    assert [line[:11] for line in capsys.readouterr().out.splitlines()] == ["epoch 10/20", "epoch 20/20"]


def test_an_invalid_verbose_freq():
    model = Sequential([Linear(4, 2), Softmax()], loss_func=CrossEntropyLoss(), optimizer=Adam())
    with pytest.raises(ValueError, match="verbose_freq must be an integer of at least 0, got -1"):
        train_val(model, np.eye(4), [0, 1, 0, 1], np.eye(4), [0, 1, 0, 1], verbose_freq=-1)
