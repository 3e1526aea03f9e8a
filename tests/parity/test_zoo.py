"""Every net of the zoo against its PyTorch counterpart: the same state_dict, outputs and gradients."""

import numpy as np
import pytest
import torch
from torch import nn

import cnn
from cnn import Concat, Residual, Sequential, zoo
from cnn.layers import Dropout, Softmax
from tests.parity.oracle import give_weights, tensor


class Branches(nn.ModuleDict):
    """Sum, Residual and Concat in PyTorch."""

    def __init__(self, branches, combine):
        super().__init__(branches)
        self.combine = combine

    def forward(self, x):
        return self.combine([branch(x) for branch in self.values()])


class SameConv2d(nn.Conv2d):
    """Zeros around the image as in TensorFlow: PyTorch has no "same" with a stride."""

    def forward(self, x):
        sides = zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True)
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in sides]
        return super().forward(nn.functional.pad(x, [side for t in totals for side in (t // 2, t - t // 2)]))


def counterpart(module):
    """Return the same architecture in PyTorch, built only from constructor arguments."""
    children = {name: counterpart(child) for name, child in module.children().items()}
    if isinstance(module, Sequential):
        return nn.Sequential(*children.values())
    if isinstance(module, Concat):
        return Branches(children, lambda outputs: torch.cat(outputs, dim=1))
    if isinstance(module, Residual):
        return Branches(children, sum)
    arguments = module.arguments()
    if isinstance(module, Softmax):  # the losses here are of the probabilities
        return nn.Softmax(**arguments)
    if arguments.get("padding") == "same":
        return SameConv2d(**{**arguments, "padding": 0})
    return getattr(nn, type(module).__name__)(**arguments)


CASES = [
    (zoo.small_cnn, (1, 12, 8)),
    (zoo.mlp, (6,)),
    (zoo.lenet5, (1, 16, 14)),
    (zoo.fashion_cnn, (1, 9, 8)),
    (zoo.photo_cnn, (3, 16, 16)),
    (zoo.vgg, (3, 16, 8)),
    (lambda shape, classes: zoo.resnet(8, shape, classes), (3, 12, 8)),
    (lambda shape, classes: zoo.resnet(20, shape, classes), (3, 8, 8)),
    (zoo.mobilenet, (3, 9, 8)),
    (zoo.squeezenet, (3, 16, 16)),
    (lambda shape, classes: zoo.densenet(shape, classes, growth=4, blocks=(3, 3)), (3, 8, 10)),
    (zoo.inception, (3, 8, 8)),
    (lambda shape, classes: zoo.efficientnet_lite0(classes), (3, 35, 32)),
    (lambda shape, classes: zoo.unet(shape, classes, width=4, depth=2), (2, 8, 12)),
]


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("net", "shape"), CASES)
def test_the_same_numbers(net, shape, train):
    cnn.manual_seed(0)
    ours = net(shape, 5).to(np.float64).train(train)
    for module in ours.modules():
        if isinstance(module, Dropout):
            module.p = 0.0  # the two draw different masks
    rng = np.random.default_rng(0)
    for name, buffer in ours.named_tensors():
        if name.endswith("running_mean"):  # as after some training
            buffer.data = rng.normal(size=buffer.shape)
        if name.endswith("running_var"):
            buffer.data = rng.uniform(0.5, 2, buffer.shape)
    theirs = counterpart(ours).train(train)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    give_weights(ours, theirs)
    theirs.double()
    x = rng.normal(size=(4, *shape))
    theirs_x = tensor(x, needs_grad=True)
    y, theirs_y = ours(x), theirs(theirs_x)
    assert relative(y, theirs_y.detach().numpy()) < 1e-9
    grad = rng.normal(size=y.shape)
    theirs_y.backward(tensor(grad))
    assert relative(ours.backward(grad), theirs_x.grad.numpy()) < 1e-9
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        scale = max(np.abs(q.grad.numpy()).max(), 1e-4)  # before a norm, the gradient of a bias is only rounding errors
        assert np.abs(p.grad - q.grad.numpy()).max() / scale < 1e-9, name
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert np.abs(a - b.numpy()).max() < 1e-9, name  # running statistics


def test_every_net_of_the_zoo_has_a_case_here():
    covered = {net.__name__ for net, _ in CASES} | {"resnet", "densenet", "efficientnet_lite0", "unet"}
    assert covered - {"<lambda>"} == set(zoo.__all__)
