"""Losses: one per file, or a few variants of the same loss."""

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
