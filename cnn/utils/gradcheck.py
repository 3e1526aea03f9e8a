"""A numeric check of gradients: does ``backward`` say what ``forward`` does when a number is nudged?"""

import copy
from typing import Any, Literal, overload

import numpy as np

from cnn.loss import LossFunc
from cnn.module import Array, Module, Parameter, no_grad
from cnn.utils.diagnosis import Probe
from cnn.utils.findings import Finding, GradientReport
from cnn.utils.numeric import difference, numeric_gradient, slopes, too_coarse

__all__ = ["Finding", "GradientReport", "difference", "gradcheck", "numeric_gradient"]


class _LossLayer(Module):
    """A loss with its target as a layer."""

    def __init__(self, loss: LossFunc, target: Any) -> None:
        self.loss, self.target = loss, target

    def forward(self, x: Array) -> Array:
        return np.asarray(self.loss(x, self.target))

    def backward(self, grad: Array) -> Array:
        return self.loss.backward()


@overload
def gradcheck(
    module: Module | LossFunc,
    x: Any,
    target: Any = None,
    rng: Any = 987,
    tolerance: float = 1e-6,
    step: float = 1e-5,
    raise_on_failure: Literal[True] = True,
) -> float: ...
@overload
def gradcheck(
    module: Module | LossFunc,
    x: Any,
    target: Any = None,
    rng: Any = 987,
    tolerance: float = 1e-6,
    step: float = 1e-5,
    *,
    raise_on_failure: Literal[False],
) -> GradientReport: ...
def gradcheck(
    module: Module | LossFunc,
    x: Any,
    target: Any = None,
    rng: Any = 987,
    tolerance: float = 1e-6,
    step: float = 1e-5,
    raise_on_failure: bool = True,
) -> float | GradientReport:
    """Compare backward with central differences, for the input and for every parameter, in float64.

    Parameters
    ----------
    module : Module or LossFunc
        Left as it is: the check works on copies, so random layers draw the same mask each time.
    x : array_like
        An input (of a loss, a prediction), best away from places where the slope jumps, such as 0 for ReLU. With
        several samples and sizes that differ, more mistakes can be told apart.
    target : array_like
        For a loss.
    rng : numpy.random.Generator or int
        Draws the gradient of the output. That of a loss is 1.
    tolerance : float
        How far the two may be apart, as max|a - b| / max|b| over each array.
    step : float
        How far each number is nudged.
    raise_on_failure : bool
        False: return a report, whether or not all is right.

    Returns
    -------
    float or GradientReport
        The largest difference found, or the report; ``print`` shows it.

    Raises
    ------
    AssertionError
        If a gradient is wrong, naming the array, the number, what backward and what central differences say, and the
        likely cause; or if forward changes its input, or gives other numbers the second time.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> gradcheck(Linear(3, 2), [[1.0, 2.0, 3.0]]) < 1e-6
    True
    >>> class Double(Module):
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, grad):
    ...         return grad
    >>> print(gradcheck(Double(), [[1.0, 2.0, 3.0]], raise_on_failure=False))
    the gradient of the input is off by 5.0e-01, most at [0, 0]: backward gives 1.93192, not 3.86384
      likely cause: it is 1/2 times the right one: a constant factor is wrong
    """
    if isinstance(module, type):
        name = module.__name__
        raise TypeError(f"gradcheck expected a Module or LossFunc, but this is the class {name}: write {name}(...)")
    if not isinstance(module, (Module, LossFunc)):
        raise TypeError(f"gradcheck expected a Module or LossFunc, got {module!r}")
    is_loss = isinstance(module, LossFunc)
    layer = copy.deepcopy(_LossLayer(module, target) if isinstance(module, LossFunc) else module).to(np.float64)
    layer.needs_input_grad = True  # a Sequential with an optimizer saves itself that gradient
    x = np.array(x, np.float64)
    report = GradientReport(tolerance)

    def output(x: Array = x) -> Array:
        with no_grad():
            return np.asarray(copy.deepcopy(layer)(x.copy()))

    y = output()
    if not np.array_equal(output(), y, equal_nan=True):
        report.problems.append(
            "forward gives other numbers the second time, with the same input, state and rng: it draws from global "
            "state, or changes what its copies share"
        )
    elif problem := too_coarse(module, output, x):
        report.problems.append(problem)
    grad = np.ones(y.shape) if is_loss else np.asarray(np.random.default_rng(rng).normal(size=y.shape))
    if not report.problems:
        what = "the prediction" if is_loss else "the input"
        found = _run(layer, x, grad, what, report)
        doubled = {} if is_loss or report.problems else _run(layer, x, 2 * grad, what, report)
        if not report.problems:
            report.problems.extend(_overwritten(layer, x, grad))
        nudged = {what: x} | {name: parameter.data for name, parameter in layer.named_parameters()}
        for name, gradient in found.items():
            right = slopes(lambda: float(np.sum(grad * output())), nudged[name], step)
            same = name in doubled and np.array_equal(np.asarray(gradient), np.asarray(doubled[name]))
            called = {"the input": "x", "the prediction": "prediction"}.get(name, name)
            samples = len(x) if x.ndim else 1
            probe = Probe(called, lambda: grad * output(), nudged[name], right, name == what, samples, step, same)
            report.findings.append(_compare(name, gradient, probe, tolerance))
    if report.passed and not _is_random(layer) and _drifts(layer, x):
        report.problems.append("forward gives other numbers the second time, in evaluation mode: it changes its state")
    if not raise_on_failure:
        return report
    if not report.passed:
        raise AssertionError(str(report))
    return report.error


def _is_random(layer: Module) -> bool:
    """Tell whether something in the layer draws numbers of its own."""
    return any(isinstance(value, np.random.Generator) for module in layer.modules() for value in vars(module).values())


def _drifts(layer: Module, x: Array) -> bool:
    """Tell whether a second forward in evaluation mode gives other numbers than the first."""
    with no_grad():
        copied = copy.deepcopy(layer).eval()
        first = np.array(copied(x.copy()))  # a copy: the second may be written into it
        return not np.array_equal(np.asarray(copied(x.copy())), first, equal_nan=True)


def _run(layer: Module, x: Array, grad: Array, what: str, report: GradientReport) -> dict[str, Array | None]:
    """Run forward and backward on copies, and return the gradients; report what they change."""
    worked, given, given_grad = copy.deepcopy(layer), x.copy(), grad.copy()
    worked.zero_grad()
    for parameter in worked.parameters():
        parameter.__class__ = _AnyShape
    parameters = dict(worked.named_parameters())
    only_read = {what: (given, x), "the gradient that it is given": (given_grad, grad)}
    only_read |= {name: (parameter.data, parameter.data.copy()) for name, parameter in parameters.items()}

    def report_changes(method: str) -> bool:
        changed = [name for name, (after, before) in only_read.items() if not np.array_equal(after, before, True)]
        for name in changed:
            report.problems.append(f"{method} changes {name}: arrays that are given are only read; work on a copy")
        return bool(changed)

    worked(given)
    if report_changes("forward"):
        return {}
    found: dict[str, Array | None] = {}
    try:
        found[what] = worked.backward(given_grad)
    except Exception as error:
        if "nothing saved" not in str(error):
            raised = f"backward raised {type(error).__name__}: {error}"
            raise RuntimeError(f"{raised}; while grad has shape {grad.shape}") from error
        report.problems.append(f"forward saves nothing for backward: self.save_for_backward(...). {error}")
        return {}
    report_changes("backward")
    return found | {name: parameter.grad for name, parameter in parameters.items()}


class _AnyShape(Parameter):
    """A parameter that accepts a gradient of another shape, which is to be told, not refused."""

    def accumulate_grad(self, grad: Array) -> None:
        grad = np.array(grad, np.float64)
        self.grad = grad if self.grad is None or self.grad.shape != grad.shape else self.grad + grad


def _overwritten(layer: Module, x: Array, grad: Array) -> list[str]:
    """Say which gradients a second backward would lose, by starting them from zeros and from ones."""
    ends: list[dict[str, Array]] = []
    for start in (0.0, 1.0):
        worked = copy.deepcopy(layer)
        for parameter in worked.parameters():
            parameter.__class__ = _AnyShape
            parameter.grad = np.full(parameter.shape, start)
        worked(x.copy())
        worked.backward(grad.copy())
        ends.append({name: np.asarray(parameter.grad) for name, parameter in worked.named_parameters()})
    names = [name for name, p in layer.named_parameters() if p.size and ends[0][name].shape == p.shape]
    lost = [name for name in names if np.array_equal(ends[0][name], ends[1][name])]
    return [f"backward overwrites {name}.grad: call self.{name}.accumulate_grad(...)" for name in lost]


def _compare(name: str, gradient: Array | None, probe: Probe, tolerance: float) -> Finding:
    right = probe.right.central
    if gradient is None:
        fix = "backward returns None" if probe.is_input else f"backward never calls self.{name}.accumulate_grad(...)"
        return Finding(name, np.inf, cause=f"it is missing: {fix}")
    gradient = np.asarray(gradient)
    if gradient.shape != right.shape:
        return Finding(name, np.inf, cause=probe.shape(gradient))
    error = difference(gradient, right)
    if error <= tolerance:
        return Finding(name, error)
    unknown, cause = probe.kink(gradient, tolerance)
    if unknown:
        return Finding(name, error, cause=cause)
    cause = cause or probe.cause(gradient)
    at = tuple(int(i) for i in np.unravel_index(np.abs(gradient - right).argmax(), right.shape))
    where = "" if cause else probe.where(gradient, tolerance)
    return Finding(name, error, at, float(gradient[at]), float(right[at]), cause, where)
