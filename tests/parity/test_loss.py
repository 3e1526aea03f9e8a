import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.layers import Softmax
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.utils.gradcheck import difference
from tests.parity.oracle import DTYPES, TOLERANCE, Tally, tensor


def compare_losses(tally, ours, theirs, x, target, theirs_target=None):
    """Loss and gradient, of the logits or outputs ``x``."""
    theirs_x = tensor(x, needs_grad=True)
    theirs_loss = theirs(theirs_x, tensor(target) if theirs_target is None else theirs_target)
    theirs_loss.backward()
    loss = ours(x, target)
    assert isinstance(loss, float)
    assert difference(loss, theirs_loss.item()) <= TOLERANCE[x.dtype]
    tally.agree("gradient", ours.backward(), theirs_x.grad)


def draw(n, classes, scale, seed):
    rng = np.random.default_rng(seed)
    soft = rng.random((n, classes))
    return scale * rng.normal(size=(n, classes)), rng.integers(0, classes, n), soft / soft.sum(axis=1, keepdims=True)


batches = given(st.integers(1, 9), st.integers(1, 11), st.sampled_from([0.1, 1, 30, 1e4]), st.integers(0, 99))


@settings(max_examples=100)
@batches
def test_cross_entropy_of_logits(n, classes, scale, seed):
    x, ids, soft = draw(n, classes, scale, seed)
    for dtype in DTYPES:
        compare_losses(Tally(), CrossEntropyLoss(from_logits=True), torch.nn.CrossEntropyLoss(), x.astype(dtype), ids)
        targets = soft.astype(dtype)
        compare_losses(
            Tally(), CrossEntropyLoss(from_logits=True), torch.nn.CrossEntropyLoss(), x.astype(dtype), targets
        )


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_cross_entropy_takes_any_integer_dtype(dtype, from_logits):
    x, ids, _ = draw(8, 5, 1, 0)
    if not from_logits:
        x = Softmax()(x)

    def theirs(prediction, target):
        if from_logits:
            return torch.nn.functional.cross_entropy(prediction, target)
        return torch.nn.functional.nll_loss(torch.log(prediction), target)

    compare_losses(Tally(), CrossEntropyLoss(from_logits), theirs, x, ids.astype(dtype), tensor(ids))


@settings(max_examples=100)
@given(st.integers(1, 9), st.integers(1, 11), st.sampled_from([0.1, 1, 5]), st.integers(0, 99))
def test_cross_entropy_of_probabilities(n, classes, scale, seed):
    """PyTorch has no such loss: minus the mean of the target times log p, differentiated by PyTorch."""
    x, ids, soft = draw(n, classes, scale, seed)
    for dtype in DTYPES:
        p = Softmax()(x.astype(dtype))
        compare_losses(Tally(), CrossEntropyLoss(), lambda p, t: torch.nn.functional.nll_loss(torch.log(p), t), p, ids)
        compare_losses(
            Tally(), CrossEntropyLoss(), lambda p, t: -(t * torch.log(p)).sum() / len(p), p, soft.astype(dtype)
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_a_certain_mistake_is_finite(dtype):
    """Logits of 1e4 on the wrong side: the loss is 1e4, not infinite, and the gradient p - y."""
    x = np.array([[1e4, 0, -1e4], [-1e4, 1e4, 0]], dtype)
    compare_losses(Tally(), CrossEntropyLoss(from_logits=True), torch.nn.CrossEntropyLoss(), x, np.array([2, 0]))


@settings(max_examples=60)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99))
def test_mse(shape, seed):
    rng = np.random.default_rng(seed)
    for dtype in DTYPES:
        x, target = rng.normal(size=(2, *shape)).astype(dtype)
        compare_losses(Tally(), MSELoss(), torch.nn.MSELoss(), x, target)
