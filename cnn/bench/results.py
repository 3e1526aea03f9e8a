"""What came out of one case, and of a whole run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn.bench.cases import Case
from cnn.bench.ours import OURS

DISTURBED = 0.05  # of the processors: what others may take before a measurement is in doubt


@dataclass
class Result:
    """What was measured of one case.

    Attributes
    ----------
    case : Case
    seconds : dict of str to list of float
        Of a step, by the name of the program: OURS, and PyTorch's memory formats. A value a round; values at the same
        place were taken one right after the other.
    memory : dict of str to int or None
        Bytes that a training step takes at most, likewise.
    multiply_adds : int
        Of a step.
    others : float or None
        Share of the processors that other programs took meanwhile.
    """

    case: Case
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int | None] = field(default_factory=dict)
    multiply_adds: int = 0
    others: float | None = None

    def median(self, program: str) -> float:
        """Return the median seconds of a step of one program."""
        return float(np.median(self.seconds[program]))

    def spread(self, program: str) -> tuple[float, tuple[float, float], int]:
        """Return the median seconds of a step of one program, the quartiles, and how many rounds there were."""
        low, high = np.percentile(self.seconds[program], (25, 75))
        return self.median(program), (float(low), float(high)), len(self.seconds[program])

    @property
    def ours(self) -> float | None:
        """Median seconds of ours."""
        return self.median(OURS) if OURS in self.seconds else None

    @property
    def rival(self) -> str | None:
        """PyTorch's faster memory format."""
        return min((name for name in self.seconds if name != OURS), key=self.median, default=None)

    @property
    def theirs(self) -> float | None:
        """Median seconds of PyTorch's faster memory format."""
        return None if self.rival is None else self.median(self.rival)

    @property
    def ratio(self) -> float | None:
        """Our median by theirs."""
        return None if self.rival is None else self.median(OURS) / self.median(self.rival)

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """Return the first and the third quartile of the ratios of each round."""
        if self.rival is None:
            return None
        ratios = np.divide(self.seconds[OURS], self.seconds[self.rival])
        low, high = np.percentile(ratios, (25, 75))
        return float(low), float(high)

    def share(self, gemm_rate: float) -> float | None:
        """Return our multiply-adds a second as a share of the machine's own GFLOP/s; None if there are hardly any."""
        if not self.multiply_adds or OURS not in self.seconds:
            return None
        return 2 * self.multiply_adds / self.median(OURS) / 1e9 / gemm_rate

    @property
    def their_memory(self) -> int | None:
        """Return what PyTorch takes at most, in the memory format that takes less."""
        return min((size for name, size in self.memory.items() if name != OURS and size is not None), default=None)

    @property
    def memory_ratio(self) -> float | None:
        """Return our memory by theirs."""
        ours, theirs = self.memory.get(OURS), self.their_memory
        return None if ours is None or not theirs else ours / theirs


@dataclass
class Report:
    """What was measured in one run.

    Attributes
    ----------
    suite : str
    machine : dict of str to object
        Processor, threads, versions.
    torch : str
        PyTorch's version, or why it was left out.
    gemm_rate : float
        GFLOP/s that products of large matrices reach on this machine.
    results : list of Result
    seconds : float
        That all took.
    """

    suite: str
    machine: dict[str, Any]
    torch: str
    gemm_rate: float
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, kind: str) -> list[Result]:
        """Return the results of one kind of cases that were timed."""
        return [result for result in self.results if result.case.kind == kind and result.seconds]

    @property
    def disturbed(self) -> list[Result]:
        """The results while which other programs took a part of the processors that counts."""
        return [result for result in self.results if result.others is not None and result.others > DISTURBED]

    @property
    def weighed(self) -> list[Result]:
        """The results with a memory."""
        return [result for result in self.results if result.memory]


def geometric_mean(values: Iterable[float]) -> float:
    """Return the mean for ratios: it makes no difference which of the two is divided by the other.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))
