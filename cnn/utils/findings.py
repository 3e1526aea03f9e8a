"""What a gradient check found, in words."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """How the gradient of one array compares with central differences.

    Attributes
    ----------
    name : str
        "the input", "the prediction" of a loss, or the name of a parameter.
    error : float
        max|a - b| / max|b|; infinite if there is no gradient, or one of another shape.
    index : tuple of int or None
        Where the two are farthest apart; None if they cannot be compared.
    analytic, numeric : float or None
        What backward and what central differences say there.
    cause : str
        What is probably wrong; empty if nothing is, or if no guess fits.
    where : str
        Which numbers are wrong, if no guess fits.
    """

    name: str
    error: float
    index: tuple[int, ...] | None = None
    analytic: float | None = None
    numeric: float | None = None
    cause: str = ""
    where: str = ""

    def __str__(self) -> str:
        if self.index is None and self.cause:
            return f"the gradient of {self.name} {self.cause.removeprefix('it ')}"
        text = f"the gradient of {self.name} is off by {self.error:.1e}"
        if self.index is not None:
            text += f", most at {list(self.index)}: backward gives {self.analytic:.6g}, not {self.numeric:.6g}"
        if self.where:
            text += f"\n  none of the usual mistakes explains it: it is wrong {self.where}"
        return f"{text}\n  likely cause: {self.cause}" if self.cause else text


@dataclass(frozen=True)
class GradientReport:
    """What `gradcheck` found.

    Attributes
    ----------
    findings : list of Finding
        One for each array.
    problems : list of str
        What is wrong with forward or backward themselves.
    tolerance : float
        The largest error that passes.
    """

    tolerance: float
    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[Finding]:
        """The gradients that are wrong."""
        return [finding for finding in self.findings if not finding.error <= self.tolerance]

    @property
    def passed(self) -> bool:
        """Whether all is right."""
        return not self.problems and not self.failures

    @property
    def error(self) -> float:
        """The largest difference."""
        return max((finding.error for finding in self.findings), default=0.0)

    def __str__(self) -> str:
        if self.passed:
            names = ", ".join(finding.name for finding in self.findings)
            return f"right: {names}; the largest difference is {self.error:.1e}"
        return "\n".join([*self.problems, *map(str, self.failures)])
