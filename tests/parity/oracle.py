"""Comparison with PyTorch, for the tests in this folder."""

import numpy as np
import torch

from cnn.utils.gradcheck import difference

torch.set_num_threads(1)  # the arrays are small

TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 3e-5}
DTYPES = (np.float64, np.float32)


def tensor(array, needs_grad=False):
    """Copy an array to PyTorch."""
    return torch.tensor(np.array(array, order="C"), requires_grad=needs_grad)


class Tally:
    """Count the different configurations that ran, and record the largest error of each dtype."""

    def __init__(self):
        self.seen = set()
        self.rejected = set()
        self.worst = {"float64": 0.0, "float32": 0.0}

    def agree(self, what, ours, theirs):
        """Compare one array with PyTorch's tensor."""
        theirs = theirs.detach().numpy()
        assert ours.dtype == theirs.dtype, f"{what} is {ours.dtype}, not {theirs.dtype}"
        error = difference(ours, theirs)
        assert error <= TOLERANCE[ours.dtype], f"{what} is off by {error:.1e}"
        self.worst[str(ours.dtype)] = max(self.worst[str(ours.dtype)], error)

    def report(self, at_least):
        """Assert that enough configurations ran; ``pytest -rP`` shows the numbers."""
        print(f"{len(self.seen)} configurations, {len(self.rejected)} rejected by both, largest errors {self.worst}")
        assert len(self.seen) >= at_least


def compare_layers(tally, ours, theirs, x, grad_seed=1):
    """Run forward and backward of both, and compare outputs and all gradients. Their weights must already be equal."""
    theirs_x = tensor(x, needs_grad=True)
    theirs_y = theirs(theirs_x)
    y = ours(x)
    tally.agree("output", y, theirs_y)
    grad = np.random.default_rng(grad_seed).normal(size=y.shape).astype(x.dtype)
    theirs_y.backward(tensor(grad))
    tally.agree("gradient of the input", ours.backward(grad), theirs_x.grad)
    theirs_grads = {name: p.grad for name, p in theirs.named_parameters()}
    assert {name for name, _ in ours.named_parameters()} == set(theirs_grads)
    for name, parameter in ours.named_parameters():
        tally.agree(f"gradient of {name}", parameter.grad, theirs_grads[name])


def give_weights(ours, theirs):
    """Load our weights into the PyTorch module, and convert it to our dtype."""
    state = {name: tensor(array) for name, array in ours.state_dict().items()}
    for array in state.values():
        if array.is_floating_point():  # num_batches_tracked of a BatchNorm is an integer
            theirs.to(array.dtype)
    theirs.load_state_dict(state)
