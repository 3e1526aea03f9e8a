"""Optimizers (one per file), learning rate schedules, gradient clipping and weight averaging."""

from typing import TYPE_CHECKING

from cnn.core.explain import missing_name
from cnn.optim.adagrad import Adagrad
from cnn.optim.adam import Adam
from cnn.optim.adamw import AdamW
from cnn.optim.clip import clip_grad_norm_, clip_grad_value_
from cnn.optim.combined import ChainedScheduler, SequentialLR
from cnn.optim.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from cnn.optim.decay_groups import decay_groups
from cnn.optim.decays import ExponentialLR, LinearLR, MultiStepLR, StepLR
from cnn.optim.muon import Muon
from cnn.optim.nadam import NAdam
from cnn.optim.one_cycle import OneCycleLR
from cnn.optim.optimizer import Optimizer
from cnn.optim.plateau import ReduceLROnPlateau
from cnn.optim.rmsprop import RMSprop
from cnn.optim.schedule import Schedule
from cnn.optim.sgd import SGD
from cnn.optim.weight_average import WeightAverage, update_bn

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "ChainedScheduler",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "Muon",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "WeightAverage",
    "clip_grad_norm_",
    "clip_grad_value_",
    "decay_groups",
    "update_bn",
]


if not TYPE_CHECKING:  # so that type checkers still report unknown names

    def __getattr__(name):
        raise missing_name("cnn.optim", name, __all__)
