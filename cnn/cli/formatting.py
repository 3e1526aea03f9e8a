"""Short texts that the commands print."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from cnn.core.text import count_text as count_text
from cnn.core.text import printable
from cnn.metrics import accuracy_interval
from cnn.model.summary import shape_text

CLASSES_SHOWN = 10
SKIPPED_SHOWN = 5


def sample_shape_text(shape: tuple[int, ...]) -> str:
    """Return the shape of one sample as text.

    Examples
    --------
    >>> sample_shape_text((1, 28, 28)), sample_shape_text((2,))
    ('1 x 28 x 28', '2 numbers')
    """
    return count_text(shape[0], "number") if len(shape) == 1 else shape_text(shape)


def correct_text(accuracy: float, count: int) -> str:
    """Return how many of the samples are correct, with the 95 % interval of the accuracy.

    Examples
    --------
    >>> correct_text(0.915, 10_000)
    '9,150 of 10,000 correct; 95 % interval 0.909 to 0.920'
    """
    correct = round(accuracy * count)
    low, high = accuracy_interval(correct, count)
    return f"{correct:,} of {count:,} correct; 95 % interval {low:.3f} to {high:.3f}"


def shell_quoted(name: str | Path) -> str:
    """Return a file name, quoted if a shell needs that."""
    text = str(name)
    if os.name == "nt":
        return f'"{text}"' if " " in text else text
    return shlex.quote(text)


def program_name() -> str:
    """Return how to call this program in a shell: `cnn` if the shell finds it."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return "python -m cnn"
    # Called from another program, argv[0] is the name of that program
    return "cnn" if program.stem != "cnn" or shutil.which("cnn") else shell_quoted(sys.argv[0])


def class_sizes(counts: dict[str, int]) -> str:
    """Return how many images each class has; of many classes, only the smallest, the median and the largest.

    Examples
    --------
    >>> class_sizes({"cat": 30, "dog": 1200}), class_sizes({f"class {k}": 6 for k in range(40)})
    ('cat 30, dog 1,200', '6 in each of 40 classes')
    >>> class_sizes({f"class {k}": 6 + k for k in range(40)})
    '40 classes; the smallest, class 0, has 6, the median is 25, the largest, class 39, has 45'
    """
    order = sorted(counts, key=counts.__getitem__)
    if len(order) <= CLASSES_SHOWN:
        return ", ".join(f"{printable(name)} {count:,}" for name, count in counts.items())
    if counts[order[0]] == counts[order[-1]]:
        return f"{counts[order[0]]:,} in each of {len(order):,} classes"
    smallest, largest = (f"{printable(name)}, has {counts[name]:,}" for name in (order[0], order[-1]))
    median = counts[order[(len(order) - 1) // 2]]
    return f"{len(order):,} classes; the smallest, {smallest}, the median is {median:,}, the largest, {largest}"


def skipped_files(path: Path, skipped: list[tuple[Path, str]]) -> list[str]:
    """Return which files in a folder could not be used, and why."""
    if not skipped:
        return []
    shown = [f"  {printable(file.relative_to(path))} {why}" for file, why in skipped[:SKIPPED_SHOWN]]
    more = len(skipped) - len(shown)
    shown += [f"  and {more:,} more"] if more else []
    return [f"{count_text(len(skipped), 'file')} could not be used:", *shown]


def training_text(config: dict[str, Any]) -> str:
    """Return how a model was trained; any key may be missing from a config.json that was edited by hand.

    Examples
    --------
    >>> training_text({"model": "mlp", "data": "spiral", "epochs": 3, "batch_size": 32, "status": "finished"})
    'mlp trained on spiral: 3 epochs, batch size 32, finished'
    """
    texts = {"batch_size": "batch size {}", "lr": "lr {}", "seed": "seed {}", "status": "{}"}
    parts = [f"recipe {config['recipe']}"] if "recipe" in config else []
    parts += [count_text(config["epochs"], "epoch")] if "epochs" in config else []
    if isinstance(config.get("fine_tune"), int):
        parts[-1:] = [f"{part} of the head" for part in parts[-1:]]
        rate = f" at lr {config['fine_tune_lr']:g}" if isinstance(config.get("fine_tune_lr"), float) else ""
        parts += [f"{count_text(config['fine_tune'], 'epoch')} of the upper layers{rate}"]
    parts += [text.format(config[key]) for key, text in texts.items() if key in config]
    names = [f"{part}_{name}" for part in ("test", "validation") for name in ("accuracy", "balanced_accuracy")]
    results = {name.replace("_", " "): config.get(name) for name in names}
    parts += [f"{name} {value:.4f}" for name, value in results.items() if isinstance(value, float)]
    return f"{config.get('model', 'a model')} trained on {config.get('data', 'unknown data')}: {', '.join(parts)}"
