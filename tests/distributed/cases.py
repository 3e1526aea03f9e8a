"""Trainings that must end alike in one process and in several. Run as a program under mpiexec, it saves how they end.

Nets have no bias right before a batch norm: the gradient of such a bias is rounding alone, which Adam makes large.
"""

import sys
from pathlib import Path

import numpy as np

import cnn
from cnn import Sequential
from cnn.containers.branches import Residual
from cnn.data import DataLoader, HorizontalFlip
from cnn.data.mixing import Mixup
from cnn.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ReLU,
    Softmax,
)
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from cnn.optim import SGD, Adam, AdamW, OneCycleLR, ReduceLROnPlateau, RMSprop, StepLR
from cnn.training import Averaged, Checkpoint, EarlyStopping, StopAt, TimeBudget

SEED = np.random.default_rng(0)
X, Y = SEED.normal(size=(26, 5)), SEED.integers(0, 3, 26)  # batches of 8, and one of 2
IMAGES = SEED.normal(size=(14, 2, 6, 6))
LABELS = SEED.integers(0, 3, 14)
IGNORED = np.where(SEED.random(26) < 0.4, -100, Y)
YES = SEED.integers(0, 2, (26, 3)).astype(float)
WEIGHTS = SEED.random(26)
SOFT = SEED.dirichlet(np.ones(3), 26)
FIRST_IGNORED = np.where(np.arange(26) % 8 < 5, -100, Y)  # without shuffling, all of the first ranks' parts
MAPS = np.where(SEED.random((14, 6, 6)) < 0.4, 255, SEED.integers(0, 3, (14, 6, 6)))
MAPS[3:5] = 255
LOGITS = CrossEntropyLoss(from_logits=True)


def mlp(loss_func=LOGITS, optimizer=None, middle=(), last=(), dtype=np.float64):
    """A net for X; ``middle`` comes before its ReLU."""
    layers = [Linear(5, 7, rng=1, bias=not middle), *middle, ReLU(), Linear(7, 3, rng=2), *last]
    model = Sequential(layers, loss_func, optimizer or SGD(lr=0.2, momentum=0.9))
    return model.to(dtype)


def cnn_with_norms(optimizer=None, dropout=(), dtype=np.float64, track=True):
    layers = [
        Conv2d(2, 4, 3, padding=1, bias=False, rng=1),
        BatchNorm2d(4, track_running_stats=track),
        ReLU(),
        MaxPool2d(2),
    ]
    layers += [Conv2d(4, 4, 3, padding=1, bias=False, rng=2), BatchNorm2d(4, affine=False), *dropout, ReLU(), Flatten()]
    return Sequential([*layers, Linear(36, 3, rng=3)], LOGITS, optimizer or SGD(lr=0.1)).to(dtype)


def trained(model, x=X, y=Y, ranks=None, **settings):
    """How a training ends: weights, running statistics and metrics."""
    settings = {"epochs": 2, "batch_size": 8, "rng": 5, "verbose_freq": 0, **settings}
    if isinstance(x, DataLoader):  # it has its own
        del settings["batch_size"], settings["rng"]
    history = model.fit(x, y, ranks=ranks, **settings)
    found = {name: np.array(values) for name, values in vars(history).items() if name != "seconds"}
    return {**found, **model.state_dict()}


def nested():
    """A net with a norm and a dropout in containers in containers."""
    inner = Sequential([BatchNorm1d(7, momentum=None), Dropout(0.3, rng=5)])
    return mlp(middle=(BatchNorm1d(7), Residual(Sequential([Linear(7, 7, rng=4, bias=False), inner, ReLU()]))))


def of_maps():
    """A net that gives each pixel a class."""
    layers = [Conv2d(2, 4, 3, padding=1, bias=False, rng=1), BatchNorm2d(4), ReLU(), Conv2d(4, 3, 1, rng=2)]
    loss_func = CrossEntropyLoss(from_logits=True, ignore_index=255, weight=[1, 0, 2])
    return Sequential(layers, loss_func, SGD(lr=0.1)).to(np.float64)


def groups():
    layers = [Conv2d(2, 4, 3, padding=1, rng=1), GroupNorm(2, 4), ReLU(), Flatten(), LayerNorm(144)]
    return Sequential([*layers, Linear(144, 3, rng=1)], LOGITS, SGD(lr=0.1)).to(np.float64)


def loader(images, labels, **settings):
    return DataLoader(images, labels, batch_size=5, rng=9, **settings)


def scheduled(ranks):
    model = mlp(optimizer=Adam(lr=0.05))
    return trained(model, ranks=ranks, callbacks=[OneCycleLR(model.optimizer, max_lr=0.1, total_steps=8)])


def plateau(ranks):
    model = mlp()
    callbacks = [ReduceLROnPlateau(model.optimizer, patience=0, factor=0.1), StepLR(model.optimizer, 1)]
    return trained(model, ranks=ranks, callbacks=callbacks, validation_data=(X[:11], Y[::-1][:11]), epochs=4)


def frozen(ranks):
    model = cnn_with_norms()
    model[0].freeze()
    model[1].freeze()
    return trained(model, IMAGES, LABELS, ranks, batch_size=5)


def two_rates(ranks):
    model = mlp()
    model.optimizer = SGD([{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters()}], lr=0.1)
    return trained(model, ranks=ranks)


class OneByOne(cnn.Module):
    """A model that is no Sequential."""

    def __init__(self):
        self.first, self.second = Linear(5, 4, rng=1), Linear(4, 3, rng=2)
        self.loss_func, self.optimizer = LOGITS, SGD(lr=0.1)

    def forward(self, x):
        return self.second(self.first(x))

    def backward(self, grad):
        return self.first.backward(self.second.backward(grad))


def own_module(ranks):
    model = OneByOne().to(np.float64)
    steps = list(cnn.training.train(model, X, Y, epochs=2, batch_size=8, rng=5, ranks=ranks))
    return {
        **model.state_dict(),
        "loss": np.array([step.loss for step in steps]),
        "samples": np.array([s.samples for s in steps]),
    }


def twice(ranks):
    """A loader that was left in the middle of an epoch, and a model that trains twice: states are taken over."""
    data, model = loader(X, Y), mlp(optimizer=Adam(lr=0.01), middle=(Dropout(0.5, rng=3),))
    next(iter(data))
    trained(model, data, None, ranks)
    return trained(model, data, None, ranks)


def every_rank_draws_its_own(ranks):
    """Only rank 0 has the weights, the order and the masks of one process."""
    other = 0 if ranks is None else ranks.rank
    layers = [Linear(5, 7, rng=other), Dropout(0.3, rng=other + 1), ReLU(), Linear(7, 3, rng=other + 2)]
    model = Sequential(layers, LOGITS, SGD(lr=0.1 + other)).to(np.float64)
    return trained(model, ranks=ranks, rng=other)


def resumable(ranks, folder, callback):
    """A training that writes checkpoints, and resumes if there are some."""
    model = cnn_with_norms(Adam(lr=0.01), dropout=[Dropout(0.3, rng=1)])
    settings = {"callbacks": [Checkpoint(folder, steps=2), Averaged(0.9), callback], "rng": 3, "batch_size": 5}
    resume = folder if Path(folder).is_dir() else None
    return trained(model, IMAGES, LABELS, ranks, epochs=4, resume=resume, **settings)


CASES = {
    "sgd": lambda ranks: trained(mlp(optimizer=SGD(lr=0.2)), ranks=ranks),
    "momentum": lambda ranks: trained(mlp(), ranks=ranks),
    "adam": lambda ranks: trained(mlp(optimizer=Adam(lr=0.05)), ranks=ranks),
    "adamw": lambda ranks: trained(mlp(optimizer=AdamW(lr=0.05, weight_decay=0.1)), ranks=ranks),
    "rmsprop": lambda ranks: trained(mlp(optimizer=RMSprop(lr=0.01)), ranks=ranks),
    "softmax": lambda ranks: trained(mlp(CrossEntropyLoss(), last=(Softmax(),)), ranks=ranks),
    "class weights": lambda ranks: trained(mlp(CrossEntropyLoss(from_logits=True, weight=[1, 5, 0.2])), ranks=ranks),
    "ignored": lambda ranks: trained(mlp(), y=IGNORED, ranks=ranks, validation_data=(X, IGNORED)),
    "sum": lambda ranks: trained(mlp(CrossEntropyLoss(from_logits=True, reduction="sum"), SGD(lr=0.02)), ranks=ranks),
    "smoothing": lambda ranks: trained(mlp(CrossEntropyLoss(from_logits=True, label_smoothing=0.1)), ranks=ranks),
    "nll": lambda ranks: trained(mlp(NLLLoss(weight=[1, 2, 3]), last=(LogSoftmax(),)), ranks=ranks),
    "binary": lambda ranks: trained(mlp(BCEWithLogitsLoss(pos_weight=[2, 1, 3])), y=YES, ranks=ranks, validation_data=(X, YES)),
    "soft targets": lambda ranks: trained(mlp(CrossEntropyLoss(from_logits=True, weight=[1, 2, 3])), y=SOFT, ranks=ranks, validation_data=(X, SOFT)),
    "parts of ignored": lambda ranks: trained(mlp(), DataLoader(X, FIRST_IGNORED, batch_size=8, shuffle=False), None, ranks, validation_data=(X[:8], FIRST_IGNORED[:8])),
    "parts without weight": lambda ranks: trained(mlp(), ranks=ranks, sample_weight=WEIGHTS * (FIRST_IGNORED >= 0), batch_size=3, evaluate_train=True),
    "maps": lambda ranks: trained(of_maps(), DataLoader(IMAGES, MAPS, batch_size=3, shuffle=False), None, ranks, validation_data=(IMAGES[:4], MAPS[:4])),
    "softmax, weights": lambda ranks: trained(mlp(CrossEntropyLoss(), last=(Softmax(),)), ranks=ranks, sample_weight=WEIGHTS),
    "binary, weights": lambda ranks: trained(mlp(BCEWithLogitsLoss()), y=YES, ranks=ranks, sample_weight=WEIGHTS),
    "nested": lambda ranks: trained(nested(), ranks=ranks),
    "groups": lambda ranks: trained(groups(), IMAGES, LABELS, ranks, batch_size=5),
    "mse": lambda ranks: trained(mlp(MSELoss()), y=YES, ranks=ranks),
    "l1 sum": lambda ranks: trained(mlp(L1Loss(reduction="sum"), SGD(lr=0.01)), y=YES, ranks=ranks),
    "balanced": lambda ranks: trained(mlp(), ranks=ranks, class_weight="balanced"),
    "sample weights": lambda ranks: trained(mlp(), ranks=ranks, sample_weight=WEIGHTS, class_weight={0: 3}, evaluate_train=True),
    "small batches": lambda ranks: trained(mlp(), X[:7], Y[:7], ranks, batch_size=3),
    "drop last": lambda ranks: trained(mlp(), ranks=ranks, drop_last=True),
    "norm 1d": lambda ranks: trained(mlp(middle=(BatchNorm1d(7),)), ranks=ranks, validation_data=(X, Y)),
    "norms": lambda ranks: trained(cnn_with_norms(), IMAGES, LABELS, ranks, batch_size=5, validation_data=(IMAGES[:9], LABELS[:9])),
    "norms, small batches": lambda ranks: trained(cnn_with_norms(Adam(lr=0.01)), IMAGES, LABELS, ranks, batch_size=3),
    "norms without statistics": lambda ranks: trained(cnn_with_norms(track=False), IMAGES, LABELS, ranks, batch_size=5, validation_data=(IMAGES, LABELS)),
    "dropout": lambda ranks: trained(mlp(middle=(Dropout(0.4, rng=8),)), ranks=ranks, evaluate_train=True),
    "dropout of maps": lambda ranks: trained(cnn_with_norms(dropout=[Dropout2d(0.5, rng=1), Dropout(0.2, rng=2)]), IMAGES, LABELS, ranks, batch_size=5),
    "mixup": lambda ranks: trained(cnn_with_norms(), loader(IMAGES, LABELS, transforms=[HorizontalFlip(), Mixup(classes=3)]), None, ranks),
    "drawn by weight": lambda ranks: trained(mlp(), loader(X, Y, draw_weights="balanced"), None, ranks, validation_data=loader(X, Y)),
    "early stopping": lambda ranks: trained(mlp(), ranks=ranks, epochs=9, validation_data=(X[:9], Y[::-1][:9]), callbacks=[EarlyStopping(patience=2)]),
    "stop at": lambda ranks: trained(mlp(), ranks=ranks, epochs=9, callbacks=[StopAt(train_loss=1.0)]),
    "averaged": lambda ranks: trained(mlp(), ranks=ranks, callbacks=[Averaged(0.9)]),
    "no time": lambda ranks: trained(mlp(), ranks=ranks, callbacks=[TimeBudget(1e-9)]),
    "clipped": lambda ranks: trained(mlp(), ranks=ranks, clip_norm=0.3),
    "one cycle": scheduled,
    "plateau": plateau,
    "frozen": frozen,
    "two rates": two_rates,
    "own module": own_module,
    "twice": twice,
    "every rank draws its own": every_rank_draws_its_own,
}  # fmt: skip
SINGLE = {
    "float32": lambda ranks: trained(mlp(dtype=np.float32, optimizer=SGD(lr=0.1)), X[:20], Y[:20], ranks, epochs=10, batch_size=10),
    "float32 norms": lambda ranks: trained(cnn_with_norms(dtype=np.float32), IMAGES, LABELS, ranks, epochs=7, batch_size=5),
}  # fmt: skip


def main():
    """Save what the cases named after the file give, in rank 0; in all ranks the weights are compared to the bit."""
    ranks = cnn.distributed.world()
    ranks.stall_seconds, ranks.check_weights = 60, True
    found = {}
    for name in sys.argv[2:]:
        for key, values in (CASES | SINGLE)[name](ranks).items():
            found[f"{name}/{key}"] = values
    if ranks.rank == 0:
        np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
