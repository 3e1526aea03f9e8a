"""The command that proves the rest: `cnn verify`."""

import argparse
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from cnn.commands.terminal import note, say
from cnn.commands.words import counted
from cnn.verify.check import FLOAT32, FLOAT64, NUMERIC, ONNX, TOLERANCES, Check
from cnn.verify.run import Verification, choose
from cnn.verify.run import verify as run_checks

COLUMNS = {
    NUMERIC: "finite differences",
    FLOAT64: "PyTorch float64",
    FLOAT32: "PyTorch float32",
    ONNX: "ONNX vectors",
}
RULE = (
    "Left out is what is not float32 or float64, slides over 1 or 3 axes, or is nothing that a module of PyTorch does "
    "and cnn has."
)


def check_names(names: Sequence[str]) -> None:
    """Raise an error that lists the choices if a class is unknown."""
    choose(names)


def verify(args: argparse.Namespace) -> int:
    """Run the checks and print what they found; 1 if one failed."""
    shown = not args.json and sys.stderr is not None and sys.stderr.isatty()
    result = run_checks(args.names, lambda what: note(f"{what} ...") if shown else None)
    if args.json:
        say(json.dumps(_facts(result), indent=2))
    else:
        _print(result, told=not args.names or args.left_out, in_full=args.left_out)
    return 1 if result.failures else 0


def _print(result: Verification, told: bool, in_full: bool) -> None:
    """Print table, failures and score, and if ``told`` what was left out."""
    say(_table(result))
    for check in result.failures:
        say(f"FAILED {check}")
    passed = len(result.checks) - len(result.failures)
    say(f"{passed:,} of {counted(len(result.checks), 'check')} passed, in {result.seconds:.0f} s")
    limits = ", ".join(f"{name} {TOLERANCES[source]:.0e}" for source, name in COLUMNS.items())
    say(f"error: max|a - b| / max|b| of each array; at most: {limits}")
    for check in result.checks:
        if check.passed and check.tolerance != TOLERANCES[check.source]:
            say(f"{check.what}: its numbers were typed in with few digits, so {check.tolerance:.0e}")
    say(f"PyTorch {result.torch}\nonnx {result.onnx}")
    if result.vectors:
        parts = [f"{good} of {ran} in {folder}" for folder, (good, ran) in result.vectors.items()]
        say(f"ONNX vectors passed: {', '.join(parts)}")
        if told:
            _print_left_out(result, in_full)


def _print_left_out(result: Verification, in_full: bool) -> None:
    say(f"left out: {len(result.left_out):,}. {RULE}")
    reasons = sorted({omission.reason for omission in result.left_out})
    for reason in reasons:
        found = [omission for omission in result.left_out if omission.reason == reason]
        say(f"{len(found):>6,}  {reason}")
        if in_full:
            for omission in found:
                say(f"          {omission.folder}/{omission.name} ({omission.operator})")
    if not in_full:
        say("--left-out prints their names")


def _table(result: Verification) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    for name in COLUMNS.values():
        table.add_column(name, justify="right", no_wrap=True)
    for kind, names in result.groups.items():
        table.add_section()
        table.add_row(f"[bold]{kind}[/]")
        for name in names:
            table.add_row(name, *(_cell(result, name, source) for source in COLUMNS))
    text = io.StringIO()
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    Console(file=text, width=110, force_terminal=colours, no_color=not colours).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").splitlines())


def _cell(result: Verification, name: str, source: str) -> str:
    """Return how many checks of a class passed and the worst error, or why there are none."""
    if source in (FLOAT64, FLOAT32) and result.torch.startswith("not"):
        return "not installed"
    if source == ONNX and result.onnx.startswith("not"):
        return "not installed"
    checks = result.of(name, source)
    if not checks:
        return "-"
    passed, worst = sum(check.passed for check in checks), max(_errors(checks))
    text = f"{passed}/{len(checks)}  {worst:.1e}"
    return text if passed == len(checks) else f"[bold red]{text}[/]"


def _errors(checks: Iterable[Check]) -> list[float]:
    return [math.inf if math.isnan(check.error) else check.error for check in checks]


def _facts(result: Verification) -> dict[str, Any]:
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
    return {
        "passed": len(result.checks) - len(result.failures),
        "total": len(result.checks),
        "torch": result.torch,
        "onnx": result.onnx,
        "seconds": round(result.seconds, 1),
        "classes": result.groups,
        "vectors": {folder: {"passed": good, "run": ran} for folder, (good, ran) in result.vectors.items()},
        "checks": checks,
        "rule": RULE,
        "left_out": [omission._asdict() for omission in result.left_out],
    }
