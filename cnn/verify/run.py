"""Run all checks of all public classes."""

import difflib
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from cnn import layers, loss, optim
from cnn.module import Module
from cnn.verify import case_types, cases, numeric
from cnn.verify.check import FLOAT64, NUMERIC, Check, Omission, guarded

ABSTRACT = (Module, loss.LossFunc, optim.Optimizer, optim.Schedule)
SIMILARITY = 0.7  # of 1: how similar a name must be to be suggested
GET_TORCH = "not installed; pip install torch"
GET_ONNX = "not installed; pip install onnx==1.22.0, which has the vectors"


@dataclass
class Verification:
    """The results of a verification.

    Attributes
    ----------
    groups : dict of str to list of str
        The classes, by kind.
    checks : list of Check
    left_out : list of Omission
        The ONNX vectors that were not run.
    vectors : dict of str to (passed, run)
        Number of ONNX vectors that passed and that were run, by folder.
    torch, onnx : str
        The installed version, or how to install it.
    seconds : float
    """

    groups: dict[str, list[str]]
    checks: list[Check] = field(default_factory=list)
    left_out: list[Omission] = field(default_factory=list)
    vectors: dict[str, tuple[int, int]] = field(default_factory=dict)
    torch: str = GET_TORCH
    onnx: str = GET_ONNX
    seconds: float = 0.0

    @property
    def failures(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def of(self, subject: str, source: str) -> list[Check]:
        """Return the checks of a class against one reference."""
        return [check for check in self.checks if (check.subject, check.source) == (subject, source)]


def public_classes() -> dict[str, list[str]]:
    """Return the names of all layers, containers, losses, optimizers, schedules and clipping functions, by kind."""
    found: dict[str, list[str]] = {"layers": [], "containers": [], "losses": [], "optimizers": [], "schedules": []}
    found["containers"] = [container.__name__ for container in case_types.CONTAINERS]
    schedules = {case.name for case in cases.SCHEDULES}
    for kind, module in (("layers", layers), ("losses", loss), ("optimizers", optim)):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and value not in ABSTRACT and value.__name__ == name:  # not an alias
                is_schedule = name in schedules or issubclass(value, optim.Schedule)
                found["schedules" if is_schedule else kind].append(name)
    found["functions"] = sorted({case.name for case in cases.CLIPPINGS})
    return {kind: sorted(names, key=str.lower) for kind, names in found.items()}


def choose(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the classes with these names, as class or file name in upper or lower case; all if there are no names.

    Raises
    ------
    ValueError
        If a name is unknown; the message suggests a similar one, or lists all classes.

    Examples
    --------
    >>> choose(["conv_transpose2d", "adam"])
    {'layers': ['ConvTranspose2d'], 'optimizers': ['Adam']}
    """
    groups = public_classes()
    if not names:
        return groups
    known = {name.lower().replace("_", ""): name for kind in groups.values() for name in kind}
    aliases = {name.lower(): getattr(loss, name).__name__ for name in loss.__all__}
    wanted = set()
    for name in names:
        short = name.lower().replace("_", "")
        found = known.get(short) or known.get(aliases.get(short, "").lower())
        if found is None:
            similar = difflib.get_close_matches(short, known, n=1, cutoff=SIMILARITY)
            raise ValueError(
                f"unknown class {name!r}" + (f": did you mean {known[similar[0]]}?" if similar else _list(groups))
            )
        wanted.add(found)
    chosen = {kind: [name for name in names if name in wanted] for kind, names in groups.items()}
    return {kind: names for kind, names in chosen.items() if names}


def _list(groups: dict[str, list[str]]) -> str:
    """Return a text that lists all classes by kind."""
    lists = [textwrap.fill(f"{kind}: {', '.join(names)}", 78, subsequent_indent="  ") for kind, names in groups.items()]
    return "; there are:\n" + "\n".join(lists)


def verify(names: Sequence[str] = (), progress: Callable[[str], None] = lambda what: None) -> Verification:
    """Check layers, losses, optimizers and schedules against finite differences, PyTorch and ONNX's test vectors.

    Parameters
    ----------
    names : sequence of str
        Names of classes, in upper or lower case; none means all.
    progress : callable
        Called with the name of the next group of checks.

    Examples
    --------
    >>> result = verify(["ReLU"])
    >>> result.failures
    []
    """
    start = time.perf_counter()
    result = Verification(choose(names))
    wanted = [name for group in result.groups.values() for name in group]
    chosen = [case for case in cases.all_cases() if case.name in wanted]
    for name in wanted:
        if not any(case.name == name for case in chosen):
            result.checks.append(Check(name, NUMERIC, "-", np.inf, "it has no case in cnn/verify/cases.py"))
    progress("finite differences")
    result.checks += _numeric(chosen)
    progress("PyTorch")
    _check_torch(result, chosen, wanted)
    progress("ONNX vectors")
    _check_onnx(result, wanted, everything=not names)
    result.seconds = time.perf_counter() - start
    return result


def _numeric(chosen: Iterable[Any]) -> list[Check]:
    found = []
    for case in chosen:
        if isinstance(case, case_types.LayerCase) or (isinstance(case, case_types.LossCase) and case.smooth):
            check: Any = numeric.layer_checks if isinstance(case, case_types.LayerCase) else numeric.loss_checks
            found += guarded(case.name, NUMERIC, "gradients", partial(check, case.name, case))
    return found


def _check_torch(result: Verification, chosen: Iterable[Any], wanted: Iterable[str]) -> None:
    from cnn.verify import pytorch  # only when needed: importing PyTorch takes a second

    if not pytorch.installed():
        return
    checks: dict[type, Any] = {
        case_types.LayerCase: pytorch.layer_checks,
        case_types.InitialCase: pytorch.initial_checks,
        case_types.LossCase: pytorch.loss_checks,
        case_types.OptimizerCase: pytorch.optimizer_checks,
        case_types.ClippingCase: pytorch.clipping_checks,
        case_types.AverageCase: pytorch.average_checks,
        case_types.ScheduleCase: pytorch.schedule_checks,
    }
    result.torch = pytorch.version()
    for name in wanted:
        result.checks += pytorch.default_checks(name)
    for case in chosen:
        run = partial(checks[type(case)], case.name, case)
        result.checks += guarded(case.name, FLOAT64, "parity", run)


def _check_onnx(result: Verification, wanted: Sequence[str], everything: bool) -> None:
    from cnn.verify import onnx_run, onnx_vectors

    if not onnx_vectors.installed():
        return
    found = onnx_run.run(wanted, everything)
    result.onnx = onnx_vectors.version()
    for folder, checks in found.checks.items():
        result.checks += checks
        result.vectors[folder] = (sum(check.passed for check in checks), len(checks))
    result.left_out = found.left_out
    if not found.left_out:  # otherwise at least the expanded ones are left out
        result.onnx += ", without vectors; pip install onnx==1.22.0, the last version that has them"
