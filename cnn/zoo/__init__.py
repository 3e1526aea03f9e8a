"""Named architectures: functions that return a Sequential, without loss and optimizer.

The nets for classification end with Softmax, so use them with CrossEntropyLoss(). Each docstring names the paper and
the differences from it.
"""

from typing import TYPE_CHECKING

from cnn.core.explain import missing_name
from cnn.zoo import trained as trained
from cnn.zoo.branched import densenet, inception, resnet, squeezenet, unet
from cnn.zoo.efficientnet import efficientnet_lite0
from cnn.zoo.plain import fashion_cnn, lenet5, mlp, mobilenet, photo_cnn, small_cnn, vgg

__all__ = [
    "densenet",
    "efficientnet_lite0",
    "fashion_cnn",
    "inception",
    "lenet5",
    "mlp",
    "mobilenet",
    "photo_cnn",
    "resnet",
    "small_cnn",
    "squeezenet",
    "unet",
    "vgg",
]


if not TYPE_CHECKING:  # so that type checkers still report unknown names

    def __getattr__(name):
        raise missing_name("cnn.zoo", name, __all__)
