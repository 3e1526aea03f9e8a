"""The command that proves the rest: `cnn verify`."""

import argparse
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from cnn.cli.terminal import note, say
from cnn.verify.check import FLOAT32, FLOAT64, NUMERIC, ONNX, TOLERANCES, Check
from cnn.verify.onnx_layers import NOT_OURS
from cnn.verify.run import Verification, choose
from cnn.verify.run import verify as run_checks

SOURCES = (NUMERIC, FLOAT64, FLOAT32, ONNX)
WIDTHS = (11, 13, 13, 11)
MEANING = (
    "Each cell: checks made (passed/made if some failed), and the largest error, max|ours - theirs| / max|theirs|; "
    "- : nothing to compare with."
)
RULE = (
    "Left out are vectors of other types than float32 and float64, of one or three axes, of operators that PyTorch has "
    "no module for, and ({}) of modules or arguments of PyTorch that cnn lacks."
)


def check_names(names: Sequence[str]) -> None:
    """Raise an error that says what there is if a class is unknown."""
    choose(names)


def verify(args: argparse.Namespace) -> int:
    """Run the checks and print what they found; 1 if one failed, or if there was nothing to check with."""
    if args.names and args.left_out:
        args.parser.error("--left-out is about all vectors: leave the names away")
    shown = not args.json and sys.stderr is not None and sys.stderr.isatty()
    result = run_checks(args.names, lambda what: note(f"{what} ...") if shown else None)
    if args.json:
        say(json.dumps(_facts(result, in_full=args.left_out), indent=2))
    else:
        _print(result, told=not args.names, in_full=args.left_out)
    return 1 if result.failures or not result.checks else 0


def _print(result: Verification, told: bool, in_full: bool) -> None:
    """Print table, failures, if ``told`` what was left out, and at last the score."""
    _wrapped(MEANING)
    say()
    say(_table(result))
    say()
    for check in result.failures:
        say(f"FAILED {check}")
    for check in result.checks:
        if check.passed and check.tolerance != TOLERANCES[check.source]:
            _wrapped(f"* {check.what}: typed in by hand with four digits, so at most {check.tolerance:.0e}")
    _wrapped(f"PyTorch {result.torch}")
    _wrapped(f"onnx {result.onnx}")
    if result.vectors:
        parts = [f"{good} of {ran} in {folder}" for folder, (good, ran) in result.vectors.items()]
        _wrapped(f"ONNX vectors passed: {', '.join(parts)}")
        if told:
            _print_left_out(result, in_full)
    _wrapped(_score(result))


def _print_left_out(result: Verification, in_full: bool) -> None:
    _wrapped(f"{len(result.left_out):,} left out. {_rule(result)}")
    for reason, found in _by_reason(result).items():
        _wrapped(f"{len(found):>6,}  {reason}", indent=8)
        if in_full:
            for omission in found:
                say(f"          {omission['folder']}/{omission['name']} ({omission['operator']})")
    if not in_full:
        say("--left-out prints their names")


def _score(result: Verification) -> str:
    passed = len(result.checks) - len(result.failures)
    score = f"{passed:,} of {len(result.checks):,} checks passed"
    missing = {"PyTorch": result.torch, "ONNX": result.onnx}
    missing = {name: told.split("pip install ")[1].split(",")[0] for name, told in missing.items() if "pip" in told}
    if not missing:
        return f"{score}, in {result.seconds:.0f} s"
    alone = "against finite differences alone" if len(missing) == 2 else f"none of them against {' or '.join(missing)}"
    lacks = f"{' and '.join(missing)} {'are' if len(missing) == 2 else 'is'} not installed"
    if "without vectors" in result.onnx:
        lacks = lacks.replace("ONNX", "ONNX with vectors")
    return f"{score}, {alone}: {lacks} (pip install {' '.join(missing.values())})"


def _table(result: Verification) -> str:
    names = [name for group in result.groups.values() for name in group]
    width = max(map(len, [*names, "at most"]))

    def row(name: str, cells: Sequence[str]) -> str:
        aligned = [cell.rjust(size + cell.endswith("*")) for cell, size in zip(cells, WIDTHS, strict=True)]
        return f"{name:<{width}} {' '.join(aligned)}"

    lines = [row("class", SOURCES), row("at most", [f"{TOLERANCES[source]:.0e}" for source in SOURCES])]
    for kind, group in result.groups.items():
        lines += ["", kind]
        lines += [row(name, [_cell(result.of(name, source)) for source in SOURCES]) for name in group]
    return "\n".join(lines)


def _cell(checks: Sequence[Check]) -> str:
    """Return how many checks there are and the worst error; a star if one has a tolerance of its own."""
    if not checks:
        return "-"
    passed = sum(check.passed for check in checks)
    worst = max(math.inf if math.isnan(check.error) else check.error for check in checks)
    if passed < len(checks):
        return f"{passed}/{len(checks)} {worst:.0e}"
    star = "*" * any(check.tolerance != TOLERANCES[check.source] for check in checks)
    return f"{passed}  {worst:.1e}{star}"


def _wrapped(text: str, indent: int = 2) -> None:
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    say(textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False))


def _rule(result: Verification) -> str:
    return RULE.format(sum(omission.reason == NOT_OURS for omission in result.left_out))


def _by_reason(result: Verification) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = {reason: [] for reason in sorted({o.reason for o in result.left_out})}
    for folder, name, operator, reason in result.left_out:
        groups[reason].append({"folder": folder, "name": name, "operator": operator})
    return groups


def _facts(result: Verification, in_full: bool) -> dict[str, Any]:
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
        "rule": _rule(result),
        "left_out": left_out if in_full else {reason: len(found) for reason, found in left_out.items()},
    }
