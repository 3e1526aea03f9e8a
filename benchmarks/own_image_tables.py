"""The tables of own_images.py, as Markdown: means over the seeds, with their standard errors."""

import statistics
from typing import Any

DEFAULT = "default"
PROGRAMS = ("cnn", "logistic", "svm", "torch")

Result = dict[str, Any]


def tables(results: list[Result], names: list[str]) -> str:
    """Return the table of all programs and, if there are variants of the command, the table of the variants."""
    variants = list(dict.fromkeys(result["variant"] for result in results if result["variant"] != DEFAULT))
    names = [name for name in names if any(result["set"] == name for result in results)]
    lines = programs_table(results, names)
    return "\n".join([*lines, "", *variants_table(results, names, variants)] if variants else lines)


def programs_table(results: list[Result], names: list[str]) -> list[str]:
    """Return the accuracy of each program on the test images, and the mean over the sets that all programs have."""
    lines = [row("set", *PROGRAMS, "cnn - torch", f"seconds: {', '.join(PROGRAMS)}"), row(*["---"] * 7)]
    means: list[list[float]] = []
    for name in names:
        found = {program: percent(results, name, program) for program in PROGRAMS}
        seconds = ", ".join(f"{mean(values(results, name, program, key='seconds')):.0f}" for program in PROGRAMS)
        difference = unpaired(found["cnn"], found["torch"])
        lines.append(row(name, *map(text, found.values()), difference, seconds))
        if all(found.values()):
            means.append([mean(accuracies) for accuracies in found.values()])
    if means:
        columns = [f"{mean(column):.1f}" for column in zip(*means, strict=True)]
        differences = [ours - torch for ours, *_, torch in means]
        lines.append(row(f"mean of {len(means)}", *columns, text(differences, "+"), ""))
    return lines


def variants_table(results: list[Result], names: list[str], variants: list[str]) -> list[str]:
    """Return the accuracy of the command with its defaults and of each variant, with the paired differences.

    The last column is the default minus the variant that was best on the test images, which no one can choose by.
    """
    head = [f"{variant}; default - {variant}" for variant in variants]
    lines = [row("set", DEFAULT, *head, "default - best"), row(*["---"] * (3 + len(variants)))]
    losses = []
    for name in names:
        base = by_seed(results, name, DEFAULT)
        cells, differences = [], {}
        for variant in variants:
            other = by_seed(results, name, variant)
            paired = [base[seed] - other[seed] for seed in sorted(base.keys() & other.keys())]
            cells.append(f"{text([*other.values()])}; {text(paired, '+')}" if paired else "")
            differences |= {variant: paired} if paired else {}
        best = min(differences, key=lambda variant: mean(differences[variant]), default=None)
        if len(differences) == len(variants):
            losses.append(mean(differences[best]))
        last = f"{best}: {text(differences[best], '+')}" if best else ""
        lines.append(row(name, text([*base.values()]), *cells, last))
    return [*lines, row(f"mean of {len(losses)}", *[""] * (1 + len(variants)), text(losses, "+"))]


def values(
    results: list[Result], name: str, program: str, variant: str = DEFAULT, key: str = "accuracy"
) -> list[float]:
    """Return one number of each seed."""
    wanted = (name, program, variant)
    return [one[key] for one in results if (one["set"], one["program"], one["variant"]) == wanted]


def percent(results: list[Result], name: str, program: str) -> list[float]:
    return [100 * accuracy for accuracy in values(results, name, program, key="accuracy")]


def by_seed(results: list[Result], name: str, variant: str) -> dict[int, float]:
    seeds = values(results, name, "cnn", variant, key="seed")
    accuracies = values(results, name, "cnn", variant, key="accuracy")
    return {int(seed): 100 * accuracy for seed, accuracy in zip(seeds, accuracies, strict=True)}


def mean(numbers: list[float]) -> float:
    return statistics.mean(numbers) if numbers else float("nan")


def standard_error(numbers: list[float]) -> float:
    return statistics.stdev(numbers) / len(numbers) ** 0.5 if len(numbers) > 1 else float("nan")


def text(numbers: list[float], sign: str = "") -> str:
    if len(numbers) < 2:
        return f"{mean(numbers):{sign}.1f}" if numbers else ""
    return f"{mean(numbers):{sign}.1f} ± {standard_error(numbers):.1f}"


def unpaired(ours: list[float], theirs: list[float]) -> str:
    """Return the difference of two means and its standard error: the same seed gives PyTorch other initial weights."""
    if not (ours and theirs):
        return ""
    error = (standard_error(ours) ** 2 + standard_error(theirs) ** 2) ** 0.5
    return f"{mean(ours) - mean(theirs):+.1f} ± {error:.1f}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
