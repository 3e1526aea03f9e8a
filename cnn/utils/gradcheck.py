"""A numerical gradient check: does ``backward`` agree with central differences of ``forward``?"""

import copy
from typing import Any, Literal, overload

import numpy as np

from cnn.loss import LossFunc
from cnn.module import Array, Module, Parameter, no_grad
from cnn.utils.diagnosis import GradientDiagnosis
from cnn.utils.findings import Finding, GradientReport
from cnn.utils.numeric import difference, finite_differences, float32_problem, numeric_gradient

__all__ = ["Finding", "GradientReport", "difference", "gradcheck", "numeric_gradient"]


class _LossLayer(Module):
    """A loss and its target as a layer."""

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
        It is not modified: the check works on copies, so random layers draw the same mask each time.
    x : array_like
        An input (for a loss, a prediction), away from points without a derivative, such as 0 for ReLU. With several
        samples and different sizes of the axes, more kinds of mistakes can be distinguished.
    target : array_like
        The target, for a loss.
    rng : numpy.random.Generator or int
        Draws the gradient of the output. For a loss this gradient is 1.
    tolerance : float
        The largest accepted error, max|a - b| / max|b| over each array.
    step : float
        Size of the perturbation of each element.
    raise_on_failure : bool
        False: return a report in any case.

    Returns
    -------
    float or GradientReport
        The largest error, or the report, which can be printed.

    Raises
    ------
    AssertionError
        If a gradient is wrong: the message names the array, the element, its values by backward and by central
        differences, and the likely cause. Also if forward modifies its input, or returns different values the second
        time.

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
      likely cause: it is 1/2 times the correct gradient: a constant factor is wrong
    """
    if isinstance(module, type):
        name = module.__name__
        raise TypeError(f"gradcheck expected a Module or LossFunc, got the class {name}: write {name}(...)")
    if not isinstance(module, (Module, LossFunc)):
        raise TypeError(f"gradcheck expected a Module or LossFunc, got {module!r}")
    is_loss = isinstance(module, LossFunc)
    layer = copy.deepcopy(_LossLayer(module, target) if isinstance(module, LossFunc) else module).to(np.float64)
    layer.needs_input_grad = True  # a Sequential with an optimizer skips that gradient
    x = np.array(x, np.float64)
    report = GradientReport(tolerance)

    def output(x: Array = x) -> Array:
        with no_grad():
            return np.asarray(copy.deepcopy(layer)(x.copy()))

    y = output()
    if not np.array_equal(output(), y, equal_nan=True):
        report.problems.append(
            "forward returns different values the second time, with the same input, state and rng: it uses global "
            "random state, or modifies something that its copies share"
        )
    elif problem := float32_problem(module, output, x):
        report.problems.append(problem)
    grad = np.ones(y.shape) if is_loss else np.asarray(np.random.default_rng(rng).normal(size=y.shape))
    if not report.problems:
        input_name = "the prediction" if is_loss else "the input"
        found = _run(layer, x, grad, input_name, report)
        doubled = {} if is_loss or report.problems else _run(layer, x, 2 * grad, input_name, report)
        if not report.problems:
            report.problems.extend(_overwritten(layer, x, grad))
        arrays = {input_name: x} | {name: parameter.data for name, parameter in layer.named_parameters()}
        for name, gradient in found.items():
            expected = finite_differences(lambda: float(np.sum(grad * output())), arrays[name], step)
            diagnosis = GradientDiagnosis(
                name={"the input": "x", "the prediction": "prediction"}.get(name, name),
                outputs=lambda: grad * output(),
                array=arrays[name],
                expected=expected,
                is_input=name == input_name,
                samples=len(x) if x.ndim else 1,
                step=step,
                ignores_grad=name in doubled and np.array_equal(np.asarray(gradient), np.asarray(doubled[name])),
            )
            report.findings.append(_compare(name, gradient, diagnosis, tolerance))
    if report.passed and not _is_random(layer) and _changes_in_evaluation(layer, x):
        report.problems.append(
            "forward returns different values the second time, in evaluation mode: it modifies its state"
        )
    if not raise_on_failure:
        return report
    if not report.passed:
        raise AssertionError(str(report))
    return report.error


def _is_random(layer: Module) -> bool:
    """Return whether a module in the layer has its own random number generator."""
    return any(isinstance(value, np.random.Generator) for module in layer.modules() for value in vars(module).values())


def _changes_in_evaluation(layer: Module, x: Array) -> bool:
    """Return whether a second forward in evaluation mode returns different values than the first."""
    with no_grad():
        copied = copy.deepcopy(layer).eval()
        first = np.array(copied(x.copy()))  # a copy: the second output may be written into the same array
        return not np.array_equal(np.asarray(copied(x.copy())), first, equal_nan=True)


def _run(layer: Module, x: Array, grad: Array, input_name: str, report: GradientReport) -> dict[str, Array | None]:
    """Run forward and backward on copies, and return the gradients; report arrays that they modify."""
    copied, x_copy, grad_copy = copy.deepcopy(layer), x.copy(), grad.copy()
    copied.zero_grad()
    for parameter in copied.parameters():
        parameter.__class__ = _AnyShape
    parameters = dict(copied.named_parameters())
    read_only = {input_name: (x_copy, x), "the gradient of the output": (grad_copy, grad)}
    read_only |= {name: (parameter.data, parameter.data.copy()) for name, parameter in parameters.items()}

    def report_modified(method: str) -> bool:
        modified = [name for name, (after, before) in read_only.items() if not np.array_equal(after, before, True)]
        for name in modified:
            report.problems.append(f"{method} modifies {name}, which it must only read: work on a copy")
        return bool(modified)

    copied(x_copy)
    if report_modified("forward"):
        return {}
    found: dict[str, Array | None] = {}
    try:
        found[input_name] = copied.backward(grad_copy)
    except Exception as error:
        if "nothing saved" not in str(error):
            raised = f"backward raised {type(error).__name__}: {error}"
            raise RuntimeError(f"{raised}; while grad has shape {grad.shape}") from error
        report.problems.append(f"forward saves nothing for backward: self.save_for_backward(...). {error}")
        return {}
    report_modified("backward")
    return found | {name: parameter.grad for name, parameter in parameters.items()}


class _AnyShape(Parameter):
    """A parameter that accepts gradients of other shapes, so that the check can report them."""

    def accumulate_grad(self, grad: Array, copy: bool = True) -> None:
        grad = np.array(grad, np.float64)
        self.grad = grad if self.grad is None or self.grad.shape != grad.shape else self.grad + grad


def _overwritten(layer: Module, x: Array, grad: Array) -> list[str]:
    """Report gradients that backward overwrites instead of adding to them, by starting from zeros and from ones."""
    results: list[dict[str, Array]] = []
    for start in (0.0, 1.0):
        copied = copy.deepcopy(layer)
        for parameter in copied.parameters():
            parameter.__class__ = _AnyShape
            parameter.grad = np.full(parameter.shape, start)
        copied(x.copy())
        copied.backward(grad.copy())
        results.append({name: np.asarray(parameter.grad) for name, parameter in copied.named_parameters()})
    names = [name for name, p in layer.named_parameters() if p.size and results[0][name].shape == p.shape]
    overwritten = [name for name in names if np.array_equal(results[0][name], results[1][name])]
    return [f"backward overwrites {name}.grad: call self.{name}.accumulate_grad(...)" for name in overwritten]


def _compare(name: str, gradient: Array | None, diagnosis: GradientDiagnosis, tolerance: float) -> Finding:
    expected = diagnosis.expected.central
    if gradient is None:
        fix = (
            "backward returns None" if diagnosis.is_input else f"backward never calls self.{name}.accumulate_grad(...)"
        )
        return Finding(name, np.inf, cause=f"it is missing: {fix}")
    gradient = np.asarray(gradient)
    if gradient.shape != expected.shape:
        return Finding(name, np.inf, cause=diagnosis.shape(gradient))
    error = difference(gradient, expected)
    if error <= tolerance:
        return Finding(name, error)
    unknown, cause = diagnosis.kink(gradient, tolerance)
    if unknown:
        return Finding(name, error, cause=cause)
    cause = cause or diagnosis.cause(gradient)
    index = tuple(int(i) for i in np.unravel_index(np.abs(gradient - expected).argmax(), expected.shape))
    where = "" if cause else diagnosis.where(gradient, tolerance)
    return Finding(name, error, index, float(gradient[index]), float(expected[index]), cause, where)
