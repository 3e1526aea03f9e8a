"""`cnn predict`: names that are patterns, and files that are not images."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from cnn.data import images
from tests.cli.example_files import json_lines, write_image


def test_too_many_pixels(run, brightness_model, monkeypatch):
    write_image("a.png", size=(60, 40))
    monkeypatch.setattr(images, "MAX_PIXELS", 2399)
    assert run("predict", brightness_model, "a.png") == (1, "", f"error: a.png {images.TOO_LARGE}\n")
    monkeypatch.setattr(images, "MAX_PIXELS", 2400)
    assert run("predict", brightness_model, "a.png")[0] == 0


def test_an_image_too_large_for_the_memory(monkeypatch, run, brightness_model):
    def load(self):
        raise MemoryError

    write_image("a.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert "a.png is too large for the memory of this machine" in run("predict", brightness_model, "a.png")[2]


@pytest.mark.parametrize("format_", ["BMP", "GIF", "TIFF"])
def test_other_formats(run, brightness_model, format_):
    Image.new("L", (9, 9), 9).save("a.png", format=format_)
    code, out, _ = run("predict", brightness_model, "a.png")
    assert code == 0
    assert out.startswith("a.png  (9 x 9 pixels, not inverted: its border is dark, 9 of 255)")


def test_patterns_that_the_shell_did_not_expand(run, brightness_model):
    for name in ("b.png", "a.png", "[c].png", "d.jpg"):
        write_image(name)
    code, out, err = run("predict", brightness_model, "d.jpg", "*.png", "--json")
    assert (code, err) == (0, "")
    assert [row["image"] for row in json_lines(out)] == ["d.jpg", "[c].png", "a.png", "b.png"]
    assert json.loads(run("predict", brightness_model, "[c].pn?", "--json")[1])["image"] == "[c].png"
    code, out, err = run("predict", brightness_model, "*.jpeg", "a.png")
    assert (code, err) == (1, "error: no file matches *.jpeg\n")
    assert out.startswith("a.png")


def test_show_input_must_not_match_a_pattern(run, brightness_model):
    before = write_image("a.png").read_bytes()
    code, _, err = run("predict", brightness_model, "*.png", "--show-input", "a.png")
    assert code == 2
    assert "is one of the images to read" in err
    assert Path("a.png").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_looks_like_a_pattern(run, brightness_model):
    write_image("a.png")
    write_image("*.png")
    assert json.loads(run("predict", brightness_model, "*.png", "--json")[1])["image"] == "*.png"


@pytest.fixture
def broken(brightness_model):
    """Files that are not images, and the error message for each."""
    whole = write_image("whole.png", size=(200, 200), mode="RGB").read_bytes()
    write_image("whole.jpg", size=(400, 400), mode="RGB")
    Path("cut.png").write_bytes(whole[:150])
    Path("cut.jpg").write_bytes(Path("whole.jpg").read_bytes()[:900])
    Path("damaged.png").write_bytes(whole[:50] + bytes(20) + whole[70:])
    Path("empty.png").touch()
    Path("text.png").write_text("no image", encoding="utf-8")
    Path("folder.png").mkdir()
    Path("a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Image.new("L", (900, 3)).save("strip.png")
    return {
        "cut.png": "is damaged",
        "cut.jpg": "is damaged",
        "damaged.png": "is damaged",
        "empty.png": "empty.png is empty (0 bytes)",
        "text.png": "text.png is not an image that can be read: expected JPEG, PNG, GIF, BMP, TIFF or WebP",
        "a.heic": "a.heic is a HEIC, HEIF or AVIF image, which is not supported: convert to JPEG first",
        "folder.png": "folder.png is a folder without images",
        "missing.png": "there is no file missing.png",
        "strip.png": "strip.png is 900 x 3 pixels, too narrow to be an image",
    }


def test_broken_images_are_reported_and_skipped(run, brightness_model, broken):
    code, out, err = run("predict", brightness_model, "whole.png", *broken, "whole.jpg")
    assert code == 1
    assert out.startswith("whole.png")
    assert "\nwhole.jpg" in out
    lines = err.splitlines()
    assert len(lines) == len(broken)
    for line, (name, message) in zip(lines, broken.items(), strict=True):
        assert line.startswith("error: ")
        assert name in line
        assert message in line
