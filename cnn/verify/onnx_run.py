"""Run ONNX's test vectors: select those that apply, record why the others are left out, and compare the outputs.

Only the forward pass is compared. Outputs that our layers do not return are not compared (the indices of MaxPool, the
masks of Dropout, mean and deviation of LayerNormalization). ONNX's running variance is biased, so ours is converted.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import numpy as np

import cnn
from cnn.layers import ConstantPad2d
from cnn.module import Array, Module
from cnn.verify import onnx_vectors
from cnn.verify.check import ONNX, Check, LeftOut, Omission, compare, guarded
from cnn.verify.onnx_layers import NOT_FLOAT, NOT_OURS, OneSample, Operator
from cnn.verify.onnx_operators import GRAPHS, OPERATORS, first_operator
from cnn.verify.onnx_training import TRAINING
from cnn.verify.onnx_vectors import Vector

EXPANDED = "the same case again, expressed in smaller operators"
NO_MODULE = "an operator without a module, loss or optimizer in PyTorch"
IN_TORCH = {  # as Hardtanh, Fold, GRU, Embedding, GLU, LocalResponseNorm, LSTM, LPPool2d, MaxUnpool2d, Softmin, ...
    *(("Clip",), ("Col2Im",), ("GRU",), ("Gather",), ("LRN",), ("LSTM",), ("LpPool",), ("MaxUnpool",), ("RNN",)),
    *(("RMSNormalization",), ("Shrink",), ("ThresholdedRelu",), ("Split", "Sigmoid", "Mul"), ("Neg", "Softmax")),
    ("Constant", "Exp", "Mul", "Sub"),
}
# Typed by hand, with inputs and outputs rounded to four digits; PyTorch has the same error. ONNX itself allows 1e-3.
ROUNDED = ("averagepool_2d_ceil_last_window_starts_on_pad",)
ROUNDED_TOLERANCE = 1e-3


class Result(NamedTuple):
    """The checks of the vectors that ran, by folder, and the vectors that were left out."""

    checks: dict[str, list[Check]]
    left_out: list[Omission]


def run(wanted: Collection[str], everything: bool) -> Result:
    """Run all vectors of the wanted classes; with ``everything``, include those whose layer could not be built."""
    result = Result({folder: [] for folder in onnx_vectors.FOLDERS}, [])
    for vector in onnx_vectors.vectors():
        try:
            check = check_vector(vector, wanted)
            if check and (everything or check.subject in wanted):
                result.checks[vector.folder].append(check)
        except LeftOut as reason:
            result.left_out.append(Omission(vector.folder, vector.name, "+".join(vector.ops), str(reason)))
    return result


def check_vector(vector: Vector, wanted: Collection[str]) -> Check | None:
    """Return the check of one vector, the worst if it has several outputs; None if its class is not wanted."""
    if vector.is_expanded:
        raise LeftOut(EXPANDED)
    ops = vector.ops
    known = ops in GRAPHS or (len(ops) == 1 and (ops[0] in OPERATORS or ops[0] in TRAINING))
    if not vector.is_float:
        raise LeftOut(NOT_FLOAT)
    if not known:
        raise LeftOut(NOT_OURS if ops in IN_TORCH else NO_MODULE)
    vector.load()
    what = f"{vector.folder}/{vector.name}"
    if len(ops) == 1 and ops[0] in TRAINING:
        subject, step = TRAINING[ops[0]]
        if subject not in wanted:
            return None
        return _worst(guarded(subject, ONNX, what, lambda: _compare(subject, what, step(vector), vector)))
    return _worst(guarded(ops[0], ONNX, what, lambda: _layer_checks(vector, what, wanted)))


def _layer_checks(vector: Vector, what: str, wanted: Collection[str]) -> list[Check]:
    """Check the outputs of a layer; return no checks if its class is not wanted."""
    operator = None if vector.ops in GRAPHS else first_operator(vector)
    module = GRAPHS[vector.ops](vector) if operator is None else OPERATORS[operator.op](operator)
    subject = _name(module)
    if subject not in wanted:
        return []
    found = {vector.outputs[0]: module(vector.arrays[vector.inputs[0]] if operator is None else operator.x)}
    if operator is not None and operator.op == "BatchNormalization" and len(vector.outputs) == 3:
        found |= dict(zip(vector.outputs[1:], _running(module, operator), strict=True))
    return _compare(subject, f"{what}, {subject}", found, vector)


def _compare(subject: str, what: str, found: dict[str, Array], vector: Vector) -> list[Check]:
    checks = [compare(subject, ONNX, f"{what}, {name}", found[name], vector.expected[name]) for name in found]
    return [replace(check, tolerance=ROUNDED_TOLERANCE) for check in checks] if vector.name in ROUNDED else checks


def _worst(checks: list[Check]) -> Check | None:
    return max(checks, key=lambda check: check.error, default=None)


def _name(module: Module) -> str:
    """Return the class that a vector checks, ignoring a pad layer in front of it."""
    if isinstance(module, OneSample):
        return _name(module.layer)
    if type(module) is not cnn.Sequential:
        return type(module).__name__
    first, last = module[0], module[1]
    return type(last if isinstance(first, ConstantPad2d) else first).__name__


def _running(module: Module, operator: Operator) -> tuple[Array, Array]:
    """Return running mean and running variance as ONNX defines it: its batch variance is (n - 1) / n times ours."""
    state, n = module.state_dict(), operator.x.size // operator.x.shape[1]
    kept = np.float32(operator.get("momentum", 0.9)) * operator.other(3)
    return state["running_mean"], kept + (state["running_var"] - kept) * np.float32((n - 1) / n)
