"""Text from outside cannot act on a terminal, and names in plots and tables are shown as they are."""

import io
import sys

import numpy as np
import pytest
from rich.console import Console

from cnn.cli import summary, terminal
from cnn.cli.evaluate import _first_names
from cnn.core.text import printable, printable_lines, short_text
from cnn.data import progress
from cnn.layers import Flatten, Linear, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.metrics import class_report
from cnn.report import plots
from cnn.report.canvas import describe
from cnn.sequential import Sequential

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
    assert is_harmless(_first_names([name, "other"]))
    model = Sequential([Flatten(), Linear(4, 2), Softmax()], loss_func=CrossEntropyLoss())
    model.class_names, model.input_shape = [name, "other"], (1, 2, 2)
    model.save(tmp_path / "model.safetensors")
    assert Sequential.load(tmp_path / "model.safetensors").class_names == [name, "other"]
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    summary.run(type("Arguments", (), {"run": tmp_path / "model.safetensors"}))
    [line] = [line for line in written.getvalue().splitlines() if line.startswith("classes: ")]
    assert line == f"classes: {printable(name)}, other"


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
