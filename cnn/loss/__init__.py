"""Losses, one a file."""

from cnn.loss.cross_entropy_loss import CrossEntropyLoss
from cnn.loss.loss_func import LossFunc
from cnn.loss.mse import MSE, MSELoss

__all__ = ["MSE", "CrossEntropyLoss", "LossFunc", "MSELoss"]
