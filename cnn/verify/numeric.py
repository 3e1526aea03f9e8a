"""Checks by finite differences: the gradients of a layer in the middle of a net, and those of a loss."""

import math

import numpy as np

from cnn.module import Array, Module
from cnn.sequential import Sequential
from cnn.utils.gradcheck import Finding, gradcheck
from cnn.verify.case_types import LayerCase, LossCase
from cnn.verify.check import NUMERIC, Check, draw


class Mix(Module):
    """A fixed linear map of all values of a sample, so that a layer is in the middle of a net."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        size = math.prod(shape[1:])
        self.matrix = draw((size, size), seed=seed) / math.sqrt(max(size, 1))

    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        return (x.reshape(len(x), -1) @ self.matrix).reshape(x.shape)

    def backward(self, grad: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        return (grad.reshape(len(grad), -1) @ self.matrix.T).reshape(grad.shape)


def layer_checks(subject: str, case: LayerCase) -> list[Check]:
    """Check the gradients of the input and of each parameter, in each mode."""
    checks = []
    for training in case.modes:
        layer = case.make().train(training)
        output_shape = layer(case.input(np.float32)).shape
        net = Sequential([Mix(case.shape, 1), layer, Mix(output_shape, 2)]).train(training)
        report = gradcheck(net, case.input(), raise_on_failure=False)
        what = f"{layer!r}, {'training' if training else 'evaluation'}, gradient of "
        checks += [
            Check(subject, NUMERIC, what + finding.name.removeprefix("1."), finding.error, _message(finding))
            for finding in report.findings
        ]
        checks += [Check(subject, NUMERIC, what + "anything", np.inf, problem) for problem in report.problems]
    return checks


def loss_checks(subject: str, case: LossCase) -> list[Check]:
    """Check the gradient of the prediction."""
    loss = case.make()
    report = gradcheck(loss, case.prediction(np.float64), case.target(np.float64), raise_on_failure=False)
    checks = [Check(subject, NUMERIC, f"{loss!r}, gradient of {f.name}", f.error, _message(f)) for f in report.findings]
    return checks + [Check(subject, NUMERIC, repr(loss), np.inf, problem) for problem in report.problems]


def _message(finding: Finding) -> str:
    if finding.index is None and finding.cause:  # nothing could be compared
        return str(finding)
    return f"off by {finding.error:.1e}; likely cause: {finding.cause}" if finding.cause else ""
