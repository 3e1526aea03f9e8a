"""The results of one case and of a whole run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn.bench.cases import Case
from cnn.bench.ours import OURS

DISTURBED = 0.05  # of the processors: if other programs take more, a measurement is in doubt


@dataclass
class Result:
    """The result of one case.

    Attributes
    ----------
    case : Case
    seconds : dict of str to list of float
        Seconds of a step by the name of the program: OURS, and PyTorch's memory formats or another opponent. One value
        per round; values at the same index were measured one right after the other.
    memory : dict of str to int or None
        Peak memory of a training step in bytes, by the name of the program.
    multiply_adds : int
        Number of multiply-adds of a step.
    others : float or None
        Share of the processors that other programs took during the measurement.
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
        """Return the median seconds of a step of one program, the quartiles, and the number of rounds."""
        low, high = np.percentile(self.seconds[program], (25, 75))
        return self.median(program), (float(low), float(high)), len(self.seconds[program])

    @property
    def ours(self) -> float | None:
        """Median seconds of this library."""
        return self.median(OURS) if OURS in self.seconds else None

    @property
    def faster_format(self) -> str | None:
        """The other program that is faster: one of PyTorch's memory formats, or the only opponent."""
        return min((name for name in self.seconds if name != OURS), key=self.median, default=None)

    @property
    def theirs(self) -> float | None:
        """Median seconds of the faster other program."""
        return None if self.faster_format is None else self.median(self.faster_format)

    @property
    def ratio(self) -> float | None:
        """Our median time divided by that of the faster other program."""
        return None if self.faster_format is None else self.median(OURS) / self.median(self.faster_format)

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """First and third quartile of the ratios of all rounds."""
        if self.faster_format is None:
            return None
        ratios = np.divide(self.seconds[OURS], self.seconds[self.faster_format])
        low, high = np.percentile(ratios, (25, 75))
        return float(low), float(high)

    def share(self, gemm_rate: float) -> float | None:
        """Return our multiply-adds per second as a share of ``gemm_rate``, in GFLOP/s; None if the case has none."""
        if not self.multiply_adds or OURS not in self.seconds:
            return None
        return 2 * self.multiply_adds / self.median(OURS) / 1e9 / gemm_rate

    @property
    def their_memory(self) -> int | None:
        """Peak memory of PyTorch in the memory format that needs less."""
        return min((size for name, size in self.memory.items() if name != OURS and size is not None), default=None)

    @property
    def memory_ratio(self) -> float | None:
        """Our peak memory divided by PyTorch's."""
        ours, theirs = self.memory.get(OURS), self.their_memory
        return None if ours is None or not theirs else ours / theirs


@dataclass
class Report:
    """The results of one run.

    Attributes
    ----------
    suite : str
    machine : dict of str to object
        Processor, threads, versions.
    version : str
        Version of the library that this one is compared with, or why it was not measured.
    gemm_rate : float
        GFLOP/s of large matrix products on this machine.
    results : list of Result
    seconds : float
        Duration of the run.
    opponent : str
        Name of the library that this one is compared with.
    """

    suite: str
    machine: dict[str, Any]
    version: str
    gemm_rate: float
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    opponent: str = "PyTorch"

    def of(self, kind: str) -> list[Result]:
        """Return the timed results of one kind of case."""
        return [result for result in self.results if result.case.kind == kind and result.seconds]

    @property
    def disturbed(self) -> list[Result]:
        """The results during which other programs took too much of the processors."""
        return [result for result in self.results if result.others is not None and result.others > DISTURBED]

    @property
    def with_memory(self) -> list[Result]:
        """The results whose memory was measured."""
        return [result for result in self.results if result.memory]


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean, the right mean for ratios: taking the inverse ratios gives the inverse mean.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))
