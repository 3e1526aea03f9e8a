"""The commands in terminals of 80 and 60 columns: no line is wider, so that none breaks inside a word."""

import os
from pathlib import Path

import pytest

from cnn.cli.main import main
from cnn.cli.predict_output import text_line
from cnn.cli.terminal import fitted
from cnn.core.text import width
from cnn.metrics import class_report
from tests.cli.test_folder import shades
from tests.training.screen import PseudoTerminal, Screen

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals of this kind")
LONG = "a rather long name of a flower, oxeye daisy"


@pytest.fixture(params=[80, 60])
def columns(request):
    return request.param


@pytest.fixture
def recorded(columns, monkeypatch):
    """A function of the arguments: runs the command in a terminal, and returns exit status and rows of the screen.

    A row may be wider only because of a word that is, such as the path of the temporary folder, or because it is CSV.
    """

    def call(*arguments):
        terminal = PseudoTerminal(columns)
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(columns))
            patch.delenv("CI", raising=False)
            patch.setattr("sys.stdout", terminal.stream)
            patch.setattr("sys.stderr", terminal.stream)
            status = main([str(argument) for argument in arguments])
        screen = Screen(terminal.close())
        assert len(screen.rows) > 1
        for row in screen.rows:
            assert "--csv" in arguments or len(row) <= columns or max(map(len, row.split())) > columns - 14, row
        return status, screen.rows

    return call


@pytest.fixture
def photos():
    shades("photos", 8)
    Path("photos", "dark").rename(Path("photos", LONG))
    Path("photos", "light", "one file that cannot be read, for it is damaged.jpg").write_bytes(b"")
    return Path("photos")


def test_a_folder_from_training_to_prediction(recorded, columns, photos):
    status, rows = recorded("train", photos, "--epochs", 2, "--image-size", 16, "--out", "run")
    assert status == 0
    text = " ".join(" ".join(rows).split())
    epochs = [row for row in rows if row.startswith("epoch")]
    assert len(epochs) == 2
    assert all("val acc" in row for row in epochs)
    assert any(row.startswith("validation accuracy") for row in rows)
    assert "counts the same in the mean." in text
    assert "always guessing the largest class)" in text

    status, rows = recorded("evaluate", "run")
    assert status == 0
    assert any(row.startswith("accuracy") for row in rows)
    assert any(row.startswith("light") and len(row.split()) == 5 for row in rows)  # the table is not broken

    status, rows = recorded("summary", "run")
    assert status == 0
    assert "validation accuracy" in " ".join(" ".join(rows).split())

    status, rows = recorded("predict", "run", photos / "light" / "0.png", "--top", "2")
    assert status == 0
    assert [row.split("%")[-1].strip() for row in rows if " %  " in row] in ([LONG, "light"], ["light", LONG])
    status, rows = recorded("predict", "run", photos / "light")
    assert status == 1
    assert "8 images: " in " ".join(rows)
    status, rows = recorded("predict", "run", photos / "light" / "0.png", "--csv")
    assert status == 0
    assert len(rows) == 3  # the header, a row, and the empty row after it


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("train", "no such folder of images with a long name here"), 2),
        (("train", "spiral", "--epochs", "many of them, as many as there is time for"), 2),
        (("evaluate", "a run folder that does not exist and has a long name"), 1),
        (("predict", "a run folder that does not exist and has a long name", "an image.png"), 1),
        (("summary", "."), 1),
        (("train", "spiral", "--verbosity", "3"), 2),
        (("train", "--help"), 0),
        (("evaluate", "--help"), 0),
        (("predict", "--help"), 0),
        (("summary", "--help"), 0),
        (("--help",), 0),
    ],
)
def test_errors_and_help(recorded, arguments, status):
    assert recorded(*arguments)[0] == status


def test_a_terminal_shows_some_epochs_and_a_pipe_all(recorded, run):
    _, rows = recorded("train", "spiral", "--epochs", "45")
    assert [row.split()[1] for row in rows if row.startswith("epoch")] == [
        "1/45",
        *(f"{e}/45" for e in range(3, 46, 3)),
    ]
    _, out, err = run("train", "spiral", "--epochs", "45")
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 45
    assert all("train accuracy" in line for line in lines)  # in full, and on one line
    assert "  settings  45 epochs, batch size 32, Adam, lr 0.01 decreasing to 0, seed 0\n" in err


def test_a_long_line_is_broken_between_words():
    text = "title  " + "word " * 20 + "\n\n    1  short\n"
    for columns in (30, 60, 80):
        lines = fitted(text, columns).split("\n")
        assert max(map(len, lines)) <= columns
        assert " ".join(lines).split() == text.split()
        assert lines[1].startswith("       word")
        assert lines[-3:] == ["", "    1  short", ""]
    assert fitted("x" * 50, 20) == "x" * 50  # nothing to break at: a path can be copied


def test_a_terminal_shows_how_many_files_are_done_while_the_results_go_elsewhere(monkeypatch, capsys, brightness_model):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("cnn.cli.terminal.TERMINAL_INTERVAL", 0)
    shades("photos", 3)
    Path("photos", "dark", "2.png").write_bytes(b"")
    terminal = PseudoTerminal(60)
    monkeypatch.setattr("sys.stderr", terminal.stream)
    assert main(["predict", str(brightness_model), "photos", "--csv"]) == 1
    screen = Screen(terminal.close())
    assert "1 of 6 files" in screen.frames
    assert "6 of 6 files" in screen.frames
    assert len(capsys.readouterr().out.splitlines()) == 7
    shown = [row for row in screen.rows if row]
    assert shown[0] == f"error: {Path('photos', 'dark', '2.png')} is empty (0 bytes)"
    assert shown[-1] == "1 image could not be read"


def test_nothing_is_counted_where_the_results_are_shown(recorded, brightness_model, monkeypatch):
    monkeypatch.setattr("cnn.cli.terminal.TERMINAL_INTERVAL", 0)
    shades("photos", 3)
    _, rows = recorded("predict", brightness_model, "photos")
    assert not any("of 6 files" in row for row in rows)


@pytest.mark.parametrize("columns", [60, 80, None])
def test_tables_are_shortened_only_where_they_do_not_fit(columns):
    report = class_report([0, 1, 1], [0, 1, 0], ["x" * 50, "rose"])
    table = report.text(columns).split("\n")[:-1]
    if columns is None:
        assert report.text() == repr(report)
        assert table[2].startswith("x" * 50)
    else:
        assert {len(table[0]), len(table[1])} == {columns}
        assert table[2].startswith("x" * (columns - 36) + "...  ")
    assert table[3].split() == ["rose", "1.000", "0.500", "0.667", "2"]
    short = class_report([0, 1], [0, 1], ["tulip", "rose"])
    assert short.text(60) == repr(short)


WIDE = ["猫の写真" * 4, "😀🎉", "cafe\u0301", "a plain name that is so long that it must be cut"]


@pytest.mark.parametrize("columns", [80, 60])
def test_wide_characters_take_two_columns(columns):
    """A terminal shows Chinese, Japanese, Korean and emoji characters in two columns, and an accent in none."""
    lines = class_report([0, 1, 2, 3], [0, 1, 2, 3], WIDE).text(columns).splitlines()[:-1]
    assert len({width(line) for line in lines}) == 1
    assert max(map(width, lines)) <= columns
    for text in (
        f"images per class: {', '.join(f'{name} 20' for name in WIDE * 4)}",
        f"  data      {' '.join(WIDE * 4)}",
    ):
        broken = fitted(text, columns)
        assert "".join(broken.split()) == "".join(text.split())
        assert columns - 35 < max(map(width, broken.splitlines())) <= columns
    rows = [text_line("a.png", [{"name": name, "probability": 0.5}], 40) for name in WIDE[:3]]
    assert [width(row.removesuffix("a.png")) for row in rows] == [51, 51, 51]
