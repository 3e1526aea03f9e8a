"""Layers, one per file: first the mathematics as plain functions, then the layer with forward and backward."""

from typing import TYPE_CHECKING

from cnn.core.explain import missing_name
from cnn.layers.adaptiveavgpool2d import AdaptiveAvgPool2d
from cnn.layers.adaptivemaxpool2d import AdaptiveMaxPool2d
from cnn.layers.affine import Affine
from cnn.layers.avgpool2d import AvgPool2d
from cnn.layers.batchnorm import BatchNorm1d, BatchNorm2d
from cnn.layers.channelshuffle import ChannelShuffle
from cnn.layers.channelslice import ChannelSlice
from cnn.layers.constantpad2d import ConstantPad2d, ZeroPad2d
from cnn.layers.conv2d import Conv2d
from cnn.layers.conv_transpose2d import ConvTranspose2d
from cnn.layers.copypad2d import ReflectionPad2d, ReplicationPad2d
from cnn.layers.dropout import Dropout
from cnn.layers.dropout2d import Dropout2d
from cnn.layers.elu import CELU, ELU, SELU
from cnn.layers.flatten import Flatten
from cnn.layers.gelu import GELU
from cnn.layers.groupnorm import GroupNorm
from cnn.layers.hardswish import Hardsigmoid, Hardswish
from cnn.layers.hardtanh import Hardtanh, ReLU6
from cnn.layers.identity import Identity
from cnn.layers.instancenorm import InstanceNorm2d
from cnn.layers.layernorm import LayerNorm
from cnn.layers.leakyrelu import LeakyReLU
from cnn.layers.linear import Linear
from cnn.layers.localresponsenorm import LocalResponseNorm
from cnn.layers.logsoftmax import LogSoftmax
from cnn.layers.maxpool2d import MaxPool2d
from cnn.layers.permute import Permute
from cnn.layers.pixelshuffle import PixelShuffle
from cnn.layers.prelu import PReLU
from cnn.layers.relu import ReLU
from cnn.layers.sigmoid import Sigmoid, Tanh
from cnn.layers.silu import Mish, SiLU
from cnn.layers.softmax import Softmax
from cnn.layers.softplus import Softplus
from cnn.layers.softsign import Softsign
from cnn.layers.unflatten import Unflatten
from cnn.layers.upsample import Upsample

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "Affine",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "ChannelShuffle",
    "ChannelSlice",
    "ConstantPad2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "InstanceNorm2d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "Mish",
    "PReLU",
    "Permute",
    "PixelShuffle",
    "ReLU",
    "ReLU6",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "Unflatten",
    "Upsample",
    "ZeroPad2d",
]


if not TYPE_CHECKING:  # so that type checkers still report unknown names

    def __getattr__(name):
        raise missing_name("cnn.layers", name, __all__)
