"""Is it fast enough? The figures that this library wants to reach, each with its bound."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnn.bench.cases import DRAWN, INFERENCE, INFERRED, LAYER, REFERENCE, TRAIN, TRAINED
from cnn.bench.results import Report, Result, geometric_mean

REFERENCE_BATCHES, REFERENCE_BOUND, WITHOUT_NUMBA = (64, 256), 0.65, 1.2
TRAINING_MEAN, TRAINING_WORST, MLP = 0.75, 1.1, 0.5
INFERENCE_MEANS = {256: 0.75, 1: 0.8}
LAYERS_AT_LEAST, LAYER_EVEN, LAYER_BAD = 32, 1.0, 1.3
MEMORY = 1.0


@dataclass(frozen=True)
class Judged:
    """One figure with its bound.

    Attributes
    ----------
    what : str
    figure, bound : float
    at_most : bool
        Whether the bound is the largest that will do, not the least.
    note : str
        What a person wants to know with it.
    """

    what: str
    figure: float
    bound: float
    at_most: bool = True
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether it is within the bound."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        digits = 2 if self.at_most else 0
        side = "at most" if self.at_most else "at least"
        note = f" ({self.note})" if self.note else ""
        verdict = "reached" if self.reached else "not reached"
        return f"{self.what}: {self.figure:.{digits}f}, {side} {self.bound:.{digits}f}: {verdict}{note}"


def judge(report: Report) -> list[Judged]:
    """Return the figures that this run can tell: each needs all of its cases, and PyTorch."""
    return [*_reference(report), *_training(report), *_inference(report), *_layers(report), *_memory(report)]


def _rated(results: Sequence[Result]) -> list[tuple[float, Result]]:
    return [(result.ratio, result) for result in results if result.ratio is not None]


def _reference(report: Report) -> list[Judged]:
    bound = REFERENCE_BOUND if report.machine["kernels"] == "jit" else WITHOUT_NUMBA
    note = "" if bound == REFERENCE_BOUND else "the bound without Numba"
    return [
        Judged(f"training, the reference net ({REFERENCE}) at batch {batch}", ratio, bound, note=note)
        for batch in REFERENCE_BATCHES
        for ratio, result in _rated(report.of(TRAIN))
        if (result.case.what, result.case.batch) == (REFERENCE, batch)
    ]


def _training(report: Report) -> list[Judged]:
    rated = _rated(report.of(TRAIN))
    found = []
    if len(rated) == len(TRAINED):
        worst, result = max(rated, key=lambda pair: pair[0])
        mean = geometric_mean(ratio for ratio, _ in rated)
        found.append(Judged(f"training, geometric mean of {len(rated)} cases", mean, TRAINING_MEAN))
        found.append(Judged("training, the worst case", worst, TRAINING_WORST, note=result.case.name))
    return found + [
        Judged("training, the MLP of the spiral", ratio, MLP) for ratio, result in rated if result.case.what == "mlp"
    ]


def _inference(report: Report) -> list[Judged]:
    found = []
    for batch, bound in INFERENCE_MEANS.items():
        ratios = [ratio for ratio, result in _rated(report.of(INFERENCE)) if result.case.batch == batch]
        if len(ratios) == sum(one == batch for _, one in INFERRED):
            what = f"inference at batch {batch}, geometric mean of {len(ratios)} nets"
            found.append(Judged(what, geometric_mean(ratios), bound))
    return found


def _layers(report: Report) -> list[Judged]:
    rated = _rated(report.of(LAYER))
    if len(rated) != DRAWN:
        return []
    even = sum(ratio <= LAYER_EVEN for ratio, _ in rated)
    bad = [f"{result.case.name} {ratio:.2f}" for ratio, result in rated if ratio > LAYER_BAD]
    note = f"above {LAYER_BAD}: {', '.join(bad) or 'none'}"
    what = f"single layers, how many of {DRAWN} are at {LAYER_EVEN} or below"
    return [Judged(what, even, LAYERS_AT_LEAST, at_most=False, note=note)]


def _memory(report: Report) -> list[Judged]:
    rated = [(result.memory_ratio, result) for result in report.weighed if result.memory_ratio is not None]
    if len(rated) != len(TRAINED):
        return []
    worst, result = max(rated, key=lambda pair: pair[0])
    return [Judged("memory of a training step, the worst net", worst, MEMORY, note=result.case.name)]
