"""Text from outside cannot act on a terminal, and names in plots and tables are shown as they are."""

import dataclasses
import importlib
import inspect
import io
import pkgutil
import re
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from rich.console import Console

import cnn
from cnn.cli import summary, terminal, train_recipes
from cnn.cli.labelled_images import first_names
from cnn.core.text import brief, printable, printable_lines, short_text
from cnn.data import FASHION_MNIST, DataLoader, HorizontalFlip, Mixup, Normalize, progress
from cnn.layers import Flatten, Linear, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.metrics import class_report
from cnn.optim import Adam, WeightAverage
from cnn.report import plots
from cnn.report.canvas import describe
from cnn.sequential import Sequential
from cnn.training import Checkpoint, EarlyStopping, train

HARMFUL = [
    "\x1b[2J",
    "\x9b31m",
    "\x07",
    "\x00",
    "\u202e",
    "\u202a",
    "\u2066",
    "\u2069",
    "\u200f",
    "\x7f",
    "\r",
    "\ud800",
]
NAMES = [f"a{c}b" for c in HARMFUL] + ["two\nlines"]


def is_harmless(text):
    return all(c.isprintable() for c in text.replace("\n", ""))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_every_harmful_character_is_escaped(name):
    assert is_harmless(printable(name))
    assert "\n" not in printable(name)
    assert printable(name).startswith(("a\\", "two\\"))
    assert is_harmless(printable_lines(name))
    assert is_harmless(short_text(name))


def test_usual_names_stay_as_they_are():
    for name in ("T-shirt", "Größe 42", "猫", "[bold]", "a\\b", "🙂"):
        assert printable(name) == printable_lines(name) == name


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_commands_print_nothing_harmful(monkeypatch, name, stream):
    written = io.StringIO()
    monkeypatch.setattr(sys, stream, written)
    getattr(terminal, f"print_{stream}")(f"class {name}\nsecond line")
    assert is_harmless(written.getvalue())
    assert written.getvalue().endswith("\nsecond line\n")


@pytest.mark.parametrize("name", [*NAMES, "[bold red]x[/]", "<b>x</b>"], ids=ascii)
def test_class_names_in_tables_and_commands(tmp_path, monkeypatch, name):
    report = class_report([0, 1, 1], [0, 1, 0], [name, "other"])
    assert is_harmless(repr(report))
    assert is_harmless(report._repr_html_())
    assert "<b>" not in report._repr_html_()
    assert len(repr(report).splitlines()) == len(repr(class_report([0, 1, 1], [0, 1, 0], ["x", "other"])).splitlines())
    assert is_harmless(first_names([name, "other"]))
    model = Sequential([Flatten(), Linear(4, 2), Softmax()], loss_func=CrossEntropyLoss())
    model.class_names, model.input_shape = [name, "other"], (1, 2, 2)
    model.save(tmp_path / "model.safetensors")
    assert Sequential.load(tmp_path / "model.safetensors").class_names == [name, "other"]
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    summary.run(type("Arguments", (), {"run": tmp_path / "model.safetensors"}))
    [line] = [line for line in written.getvalue().splitlines() if line.startswith("2 classes: ")]
    assert line == f"2 classes: {printable(name)}, other"


@pytest.mark.parametrize("name", [*NAMES, "$5 to $10", "$\\frac$", "a$b$"], ids=ascii)
def test_class_names_in_plots(tmp_path, name):
    names = [name, "other"]
    pixels = np.zeros((2, 1, 4, 4))
    drawn = [
        plots.confusion([0, 1, 1], [0, 1, 0], names),
        plots.samples(pixels, [0, 1], names),
        plots.mistakes(pixels, [0, 1], [[0.1, 0.9], [0.2, 0.8]], names),
        plots.points(np.eye(2), [0, 1], names),
    ]
    for number, ax in enumerate(drawn):
        plots.save(ax, tmp_path / f"{number}.png")  # a formula that cannot be parsed would raise an error
        texts = [text.get_text() for text in ax.findobj(lambda artist: hasattr(artist, "get_text"))]
        assert all(is_harmless(text) for text in texts)
        assert is_harmless(describe(ax))
        assert "\\$" not in describe(ax)


def test_markup_in_the_name_of_a_download(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=written, force_terminal=True, width=120))
    with progress.download_bar("[red]a\x1b[2Jb[/red]"):
        pass
    assert "[red]a\\x1b[2Jb[/red]" in written.getvalue()


def records():
    """All dataclasses and named tuples of the library that hold arrays."""
    for info in pkgutil.walk_packages(cnn.__path__, "cnn."):
        if info.name == "cnn.__main__" or info.name.startswith("cnn.kernels."):
            continue
        for record in vars(importlib.import_module(info.name)).values():
            if not inspect.isclass(record) or record.__module__ != info.name:
                continue
            if dataclasses.is_dataclass(record) or hasattr(record, "_fields"):
                hints = get_type_hints(record)
                if any("ndarray" in str(hint) for hint in hints.values()):
                    yield record, hints


def a_value(hint):
    pixels = np.random.default_rng(0).normal(size=(30, 3, 8, 8))
    text = str(hint)
    if "DatasetInfo" in text:
        return FASHION_MNIST
    if text.startswith("dict"):
        return {f"name {i}": pixels if "ndarray" in text else [Path("a.png")] * 900 for i in range(50)}
    if text.startswith("tuple"):
        return (pixels, np.arange(900))
    if text.startswith("list"):
        return [f"class {i}" for i in range(900)]
    return pixels if "ndarray" in text else Sequential([Linear(2, 2)]) if "Sequential" in text else "text"


def test_no_repr_dumps_pixels():
    found = {}
    for record, hints in records():
        values = {name: a_value(hint) for name, hint in hints.items() if "ClassVar" not in str(hint)}
        one = record(**values)
        found[record.__name__] = text = repr(one)
        assert text.startswith(f"{record.__name__}(")
        assert "\n" not in text
        assert len(text) < 1500, text
        shown = dataclasses.fields(one) if dataclasses.is_dataclass(one) else []
        if type(one).__name__ != "LoadedDataset" and all(field.repr for field in shown):
            assert "float64 (30, 3, 8, 8)" in text
        assert not re.search(r"-?\d\.\d{4,}", text), text
    assert {"Dataset", "ImageFolder", "LoadedDataset", "ModelImage", "FiniteDifferences", "Vector"} <= set(found)


def test_reprs_of_what_a_training_uses_are_short(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(600, 1, 8, 8)).astype(np.float32), np.arange(600) % 2
    model = Sequential([Flatten(), Linear(64, 2)], CrossEntropyLoss(from_logits=True), Adam())
    loader = DataLoader(x, y, batch_size=300, transforms=[HorizontalFlip()])
    assert repr(loader) == (
        "DataLoader(600 samples of float32 (1, 8, 8), batch_size=300, shuffle=True, transforms=(HorizontalFlip(p=0.5)))"
    )
    steps = list(train(model, loader, validation_data=(x, y), epochs=2))
    plan = train_recipes.Plan(model, loader, [], print, "linear", "text")
    stopping, average = EarlyStopping(), WeightAverage(model)
    for value in (
        steps[-1],
        loader,
        plan,
        stopping,
        average,
        Checkpoint(tmp_path),
        model.optimizer,
        Normalize(0.5, 0.25),
        Mixup(1.0),
    ):
        text = repr(value)
        assert "\n" not in text
        assert len(text) < 400
        assert "array(" not in text
    assert repr(plan).startswith("Plan(model=Sequential(...), loader=DataLoader(600 samples")
    assert len(repr(model.history).splitlines()) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((2, 3), np.uint8), "uint8 (2, 3)"),
        ([np.zeros(3)], "[float64 (3,)]"),
        ((), "()"),
        ({"a": np.zeros(2)}, "{'a': float64 (2,)}"),
        (["x"] * 7, "['x', ... 7 items]"),
        ("x" * 100, "'" + "x" * 59 + "..."),
        ("a\nb", r"'a\nb'"),
        ({i: i for i in range(9)}, "{0: 0, ... 9 items}"),
    ],
)  # fmt: skip
def test_brief(value, text):
    assert brief(value) == text
