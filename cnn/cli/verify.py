"""`cnn verify`: check the classes of cnn against finite differences, PyTorch and ONNX."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from cnn.cli.parser import Parser
from cnn.cli.terminal import print_stderr, print_stdout, print_wrapped
from cnn.verify.check import FLOAT32, FLOAT64, NOT_OURS, NUMERIC, ONNX, TOLERANCES, Check
from cnn.verify.run import Verification, choose
from cnn.verify.run import verify as run_checks

DESCRIPTION = "Check layers, losses, optimizers and schedules against finite differences, PyTorch and ONNX."
EXAMPLE = """\
example:
  cnn verify conv2d adam
prints a table with the number of checks of Conv2d and Adam that passed against finite differences, PyTorch and the
published test vectors of ONNX, and the largest error of each; then the score. Without names it checks everything, in
less than a minute, and prints how many ONNX vectors were left out, and why. PyTorch and ONNX are used if installed:
  pip install torch onnx==1.22.0

exit status: 0 all passed, 1 something failed, 2 an unknown class"""

SOURCES = (NUMERIC, FLOAT64, FLOAT32, ONNX)
COLUMN_WIDTHS = (11, 13, 13, 11)
LEGEND = (
    "Each cell: the number of checks (passed/all if some failed) and the largest error, max|ours - theirs| / "
    "max|theirs|; - : nothing to compare with."
)
LEFT_OUT_RULE = (
    "Left out are vectors with dtypes other than float32 and float64, with one or three spatial axes, of operators for "
    "which PyTorch has no module, and ({}) of modules or arguments of PyTorch that cnn lacks."
)


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn verify`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="a class, such as Conv2d or conv2d (default: all)")
    parser.add_argument("--json", action="store_true", help="print every check as JSON")
    parser.add_argument("--left-out", action="store_true", help="print the names of all vectors that were left out")


def check(args: argparse.Namespace) -> None:
    """Raise a ValueError if a class is unknown, or if --left-out comes with names."""
    choose(args.names)
    if args.names and args.left_out:
        raise ValueError("--left-out lists the vectors of all classes: omit the names")


def run(args: argparse.Namespace) -> int:
    """Run the checks, print the results, and return the exit status: 1 if a check failed or there was none."""
    show_progress = not args.json and sys.stderr is not None and sys.stderr.isatty()
    result = run_checks(args.names, lambda part: print_stderr(f"{part} ...") if show_progress else None)
    if args.json:
        print_stdout(json.dumps(_json_results(result, names_left_out=args.left_out), indent=2))
    else:
        _print(result, left_out=not args.names, names_left_out=args.left_out)
    return 1 if result.failures or not result.checks else 0


def _print(result: Verification, left_out: bool, names_left_out: bool) -> None:
    """Print the table, the failures, if wanted the vectors that were left out, and the score."""
    print_wrapped(LEGEND)
    print_stdout()
    print_stdout(_table(result))
    print_stdout()
    for check in result.failures:
        print_stdout(f"FAILED {check}")
    for check in result.checks:
        if check.passed and check.tolerance != TOLERANCES[check.source]:
            print_wrapped(
                f"* {check.what}: expected values typed by hand with four digits, tolerance {check.tolerance:.0e}"
            )
    print_wrapped(f"PyTorch {result.torch}")
    print_wrapped(f"onnx {result.onnx}")
    if result.vectors:
        parts = [f"{good} of {ran} in {folder}" for folder, (good, ran) in result.vectors.items()]
        print_wrapped(f"ONNX vectors passed: {', '.join(parts)}")
        if left_out:
            _print_left_out(result, names_left_out)
    print_wrapped(_score(result))


def _print_left_out(result: Verification, with_names: bool) -> None:
    print_wrapped(f"{len(result.left_out):,} left out. {_left_out_rule(result)}")
    for reason, found in _by_reason(result).items():
        print_wrapped(f"{len(found):>6,}  {reason}", indent=8)
        if with_names:
            for omission in found:
                print_stdout(f"          {omission['folder']}/{omission['name']} ({omission['operator']})")
    if not with_names:
        print_stdout("--left-out prints their names")


def _score(result: Verification) -> str:
    passed = len(result.checks) - len(result.failures)
    score = f"{passed:,} of {len(result.checks):,} checks passed"
    missing = {"PyTorch": result.torch, "ONNX": result.onnx}
    missing = {name: text.split("pip install ")[1].split(",")[0] for name, text in missing.items() if "pip" in text}
    if not missing:
        return f"{score}, in {result.seconds:.0f} s"
    against = "against finite differences only" if len(missing) == 2 else f"none of them against {' or '.join(missing)}"
    lacks = f"{' and '.join(missing)} {'are' if len(missing) == 2 else 'is'} not installed"
    if "without vectors" in result.onnx:
        lacks = lacks.replace("ONNX", "ONNX with vectors")
    return f"{score}, {against}: {lacks} (pip install {' '.join(missing.values())})"


def _table(result: Verification) -> str:
    names = [name for group in result.groups.values() for name in group]
    width = max(map(len, [*names, "tolerance"]))

    def row(name: str, cells: Sequence[str]) -> str:
        aligned = [cell.rjust(size + cell.endswith("*")) for cell, size in zip(cells, COLUMN_WIDTHS, strict=True)]
        return f"{name:<{width}} {' '.join(aligned)}"

    lines = [row("class", SOURCES), row("tolerance", [f"{TOLERANCES[source]:.0e}" for source in SOURCES])]
    for kind, group in result.groups.items():
        lines += ["", kind]
        lines += [row(name, [_cell(result.of(name, source)) for source in SOURCES]) for name in group]
    return "\n".join(lines)


def _cell(checks: Sequence[Check]) -> str:
    """Return the number of checks and the largest error, with a star if a check has its own tolerance."""
    if not checks:
        return "-"
    passed = sum(check.passed for check in checks)
    largest = max(math.inf if math.isnan(check.error) else check.error for check in checks)
    if passed < len(checks):
        return f"{passed}/{len(checks)} {largest:.0e}"
    star = "*" * any(check.tolerance != TOLERANCES[check.source] for check in checks)
    return f"{passed}  {largest:.1e}{star}"


def _left_out_rule(result: Verification) -> str:
    return LEFT_OUT_RULE.format(sum(omission.reason == NOT_OURS for omission in result.left_out))


def _by_reason(result: Verification) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = {reason: [] for reason in sorted({o.reason for o in result.left_out})}
    for folder, name, operator, reason in result.left_out:
        groups[reason].append({"folder": folder, "name": name, "operator": operator})
    return groups


def _json_results(result: Verification, names_left_out: bool) -> dict[str, Any]:
    checks = [
        {
            "class": check.subject,
            "source": check.source,
            "what": check.what,
            "error": check.error if math.isfinite(check.error) else None,  # JSON has no infinity
            "tolerance": check.tolerance,
            "passed": check.passed,
            "message": check.message,
        }
        for check in result.checks
    ]
    left_out = _by_reason(result)
    return {
        "passed": len(result.checks) - len(result.failures),
        "total": len(result.checks),
        "torch": result.torch,
        "onnx": result.onnx,
        "seconds": round(result.seconds, 1),
        "classes": result.groups,
        "vectors": {folder: {"passed": good, "run": ran} for folder, (good, ran) in result.vectors.items()},
        "checks": checks,
        "rule": _left_out_rule(result),
        "left_out": left_out if names_left_out else {reason: len(found) for reason, found in left_out.items()},
    }
