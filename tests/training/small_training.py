"""A training run small enough to be repeated for every step after which it may be interrupted."""

import copy
import json
from types import SimpleNamespace

import numpy as np

from cnn.layers import BatchNorm1d, Linear
from cnn.loss import MSELoss
from cnn.optim import SGD
from cnn.sequential import Sequential

EPOCHS, STEPS = 5, 3
LOSSES = [0.9, 0.5, 0.6, 0.55, 0.7]  # validation losses: the second epoch is the best
X = np.random.default_rng(0).normal(size=(EPOCHS * STEPS, 4, 2)).astype(np.float32)


def net():
    layers = [Linear(2, 3, bias=False, rng=0), BatchNorm1d(3), Linear(3, 1, rng=1)]
    return Sequential(layers, loss_func=MSELoss(), optimizer=SGD(lr=0.1, momentum=0.5))


def step_at(number, model, losses=LOSSES):
    epoch, step = divmod(number, STEPS)
    metrics = None
    if step + 1 == STEPS:
        loss = losses[epoch]
        metrics = {
            "train_loss": loss,
            "train_accuracy": 0.5,
            "val_loss": loss,
            "val_accuracy": 1 - loss,
            "seconds": 1.0,
        }
    return SimpleNamespace(epoch=epoch + 1, epochs=EPOCHS, step=step + 1, steps=STEPS, metrics=metrics, model=model)


def epochs_of(losses, model=None, name="val_loss"):
    """Yield the steps of epochs with one step each, with the given values of one metric."""
    for i, loss in enumerate(losses):
        metrics = {"train_loss": 0.1, "train_accuracy": 0.5, "val_loss": 0.1, "val_accuracy": 0.5, name: loss}
        yield SimpleNamespace(epoch=i + 1, epochs=len(losses), step=1, steps=1, metrics=metrics, model=model)


def through_json(state):
    arrays = []

    def put(array):
        arrays.append(array.copy())
        return {"array": len(arrays) - 1}

    text = json.dumps(state, default=put)
    return json.loads(text, object_hook=lambda item: arrays[item["array"]] if set(item) == {"array"} else item)


def plain(state):
    """Return a state in a form that == compares bit by bit."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [plain(value) for value in state]
    return (state.dtype.str, state.shape, state.tobytes()) if isinstance(state, np.ndarray) else state


def run(make, clock=None, saved=None, until=None):
    """Train as the library does. Return what a checkpoint would hold after step ``until`` or at the end."""
    model = net()
    callback = make(model)
    first = 0
    if saved is not None:
        model.load_state_dict(saved["model"])
        model.optimizer.load_state_dict(saved["optimizer"])
        callback.load_state_dict(saved["callback"])
        first = saved["steps_done"]
    for number in range(first, EPOCHS * STEPS):
        x = X[number]
        model.train_step(x, x[:, :1] * 2)
        if clock is not None:
            clock.now += 7.0
        step = step_at(number, model)
        ended = callback(step) is True
        if number + 1 == until or ended or number + 1 == EPOCHS * STEPS:
            break
    if number + 1 != until and hasattr(callback, "end"):
        callback.end(step)
    state = {
        "model": model.state_dict(),
        "optimizer": model.optimizer.state_dict(),
        "callback": {},
        "steps_done": number + 1,
    }
    state["callback"] = through_json(callback.state_dict()) if hasattr(callback, "state_dict") else {}
    return copy.deepcopy(state)


class Clock:
    """Replaces the module `time`: a monotonic clock that the test sets, and a wall clock that runs backwards."""

    def __init__(self):
        self.now = 1000.0
        self.wall = 1e9

    def monotonic(self):
        return self.now

    def time(self):
        self.wall -= 3600.0
        return self.wall
