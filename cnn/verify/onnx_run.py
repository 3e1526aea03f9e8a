"""Run ONNX's test vectors: select those that apply, record why the others are left out, and compare the outputs.

Only the forward pass is compared. Outputs that our layers do not return are not compared (the indices of MaxPool, the
masks of Dropout, mean and deviation of LayerNormalization).
"""

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from cnn.module import Array
from cnn.verify import onnx_vectors
from cnn.verify.check import NOT_OURS, ONNX, Check, LeftOut, Omission, compare, guarded
from cnn.verify.onnx_models import KNOWN, Imported, subject
from cnn.verify.onnx_training import TRAINING, trains
from cnn.verify.onnx_vectors import Vector

NOT_FLOAT = "not float32 or float64"
EXPANDED = "the same case again, expressed in smaller operators"
NO_MODULE = "an operator without a module, loss or optimizer in PyTorch"
IN_TORCH = {  # as Fold, GRU, LSTM, LPPool2d, MaxUnpool2d, Hardshrink, Threshold, ...
    *(("Col2Im",), ("GRU",), ("LSTM",), ("LpPool",), ("MaxUnpool",), ("RNN",)),
    *(("RMSNormalization",), ("Shrink",), ("ThresholdedRelu",), ("Constant", "Exp", "Mul", "Sub")),
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
    if not vector.is_float:
        raise LeftOut(NOT_FLOAT)
    is_training = len(ops) == 1 and trains(vector.nodes[0])
    if not (is_training or set(ops) <= KNOWN):
        raise LeftOut(NOT_OURS if ops in IN_TORCH else NO_MODULE)
    vector.load()
    what = f"{vector.folder}/{vector.name}"
    if is_training:
        name, step = TRAINING[ops[0]]
        if name not in wanted:
            return None
        return _worst(guarded(name, ONNX, what, lambda: _compare(name, what, step(vector), vector)))
    return _worst(guarded("+".join(ops), ONNX, what, lambda: _layer_checks(vector, what, wanted)))


def _layer_checks(vector: Vector, what: str, wanted: Collection[str]) -> list[Check]:
    """Check the outputs of layers; return no checks if their class is not wanted."""
    imported = Imported(vector)
    module = imported.module()
    name = subject(module)
    if name not in wanted:
        return []
    return _compare(name, f"{what}, {name}", {vector.outputs[0]: imported.output(module)}, vector)


def _compare(subject: str, what: str, found: dict[str, Array], vector: Vector) -> list[Check]:
    checks = [compare(subject, ONNX, f"{what}, {name}", found[name], vector.expected[name]) for name in found]
    return [replace(check, tolerance=ROUNDED_TOLERANCE) for check in checks] if vector.name in ROUNDED else checks


def _worst(checks: list[Check]) -> Check | None:
    return max(checks, key=lambda check: check.error, default=None)
