"""Losses: one per file, or a few variants of the same loss."""

from typing import TYPE_CHECKING

from cnn.core.explain import missing_name
from cnn.loss.bce_loss import BCELoss, BCEWithLogitsLoss
from cnn.loss.cross_entropy_loss import CrossEntropyLoss
from cnn.loss.l1_loss import HuberLoss, L1Loss, SmoothL1Loss
from cnn.loss.loss_func import LossFunc
from cnn.loss.mse import MSE, MSELoss
from cnn.loss.nll_loss import NLLLoss

__all__ = [
    "MSE",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "LossFunc",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


if not TYPE_CHECKING:  # so that type checkers still report unknown names

    def __getattr__(name):
        raise missing_name("cnn.loss", name, __all__)
