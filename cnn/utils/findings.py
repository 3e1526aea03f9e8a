"""The results of a gradient check, and their text."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """The comparison of the gradient of one array with central differences.

    Attributes
    ----------
    name : str
        "the input", "the prediction" of a loss, or the name of a parameter.
    error : float
        max|a - b| / max|b|; infinite if there is no gradient or it has another shape.
    index : tuple of int or None
        Where the two differ most; None if they cannot be compared.
    analytic, numeric : float or None
        The values there by backward and by central differences.
    cause : str
        The likely mistake; empty if the gradient is correct or no known mistake fits.
    where : str
        Which elements are wrong, if no known mistake fits.
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
            text += f"\n  no common mistake explains it: it is wrong {self.where}"
        return f"{text}\n  likely cause: {self.cause}" if self.cause else text


@dataclass(frozen=True)
class GradientReport:
    """The result of `gradcheck`.

    Attributes
    ----------
    findings : list of Finding
        One for each array.
    problems : list of str
        Problems of forward or backward themselves.
    tolerance : float
        The largest accepted error.
    """

    tolerance: float
    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[Finding]:
        """The findings with an error above the tolerance."""
        return [finding for finding in self.findings if not finding.error <= self.tolerance]

    @property
    def passed(self) -> bool:
        """Whether there are no problems and no wrong gradients."""
        return not self.problems and not self.failures

    @property
    def error(self) -> float:
        """The largest error."""
        return max((finding.error for finding in self.findings), default=0.0)

    def __str__(self) -> str:
        if self.passed:
            names = ", ".join(finding.name for finding in self.findings)
            return f"correct: {names}; the largest error is {self.error:.1e}"
        return "\n".join([*self.problems, *map(str, self.failures)])
