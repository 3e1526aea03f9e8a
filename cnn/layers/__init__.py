"""Layers, one a file. Each file holds its mathematics as plain functions, then the layer with forward and backward."""

from cnn.layers.conv2d import Conv2d
from cnn.layers.dropout import Dropout
from cnn.layers.flatten import Flatten
from cnn.layers.identity import Identity
from cnn.layers.linear import Linear
from cnn.layers.maxpool2d import MaxPool2d
from cnn.layers.relu import ReLU
from cnn.layers.softmax import Softmax

__all__ = ["Conv2d", "Dropout", "Flatten", "Identity", "Linear", "MaxPool2d", "ReLU", "Softmax"]
