"""Reading many files: hashes, the background under transparency, and images on which there is nothing to see."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cnn.data.folder import image_folder
from cnn.data.image_files import LEVELS, choose_background, content_hash, read_images
from cnn.data.images import read_image
from cnn.errors import InputError


def icons(folder, shade, count=10, first=0):
    """Write icons of one colour on transparency: circles in class a, squares in class b."""
    for name in "ab":
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
            draw = ImageDraw.Draw(image)
            (draw.ellipse if name == "a" else draw.rectangle)((2 + i % 9, 3, 20 + i % 9, 22 + i // 9), fill=shade)
            image.save(folder / name / f"{i}.png")


@pytest.mark.parametrize(
    ("shade", "background"),
    [("white", "black"), ("#f4f4ff", "black"), ("black", "white"), ("#ffcc00", "white"), ("red", "white")],
)
def test_icons_are_visible_on_their_background(tmp_path, shade, background):
    icons(tmp_path, shade)
    found = image_folder(tmp_path, 16)
    assert found.background == background
    assert np.ptp(found.train[0], axis=(1, 2, 3)).min() > 100
    assert not any("one colour" in text for text in found.warnings)
    note = "transparent pixels become black: on white, 20 images would hardly be visible"
    assert (note in found.notes) == (background == "black")
    for file, pixels in zip(found.files["train"], found.train[0], strict=True):
        grey = len(pixels) == 1
        assert np.array_equal(read_image(file, 16, grey, background), pixels)


def test_white_and_black_icons_need_a_third_background(tmp_path):
    icons(tmp_path, "white")
    icons(tmp_path, "black", first=10)
    found = image_folder(tmp_path, 16)
    assert found.background == "grey"
    assert np.ptp(found.train[0], axis=(1, 2, 3)).min() > 100


def test_one_white_icon_of_many_does_not_decide(tmp_path):
    icons(tmp_path, "navy", 60)
    icons(tmp_path, "white", 1, first=60)
    (tmp_path / "b" / "60.png").unlink()
    found = image_folder(tmp_path, 16)
    assert found.background == "white"
    assert any(text.startswith("nearly of one colour: 1 image (a") for text in found.warnings)
    assert image_folder(tmp_path, 16, background="black").background == "black"


def test_opaque_images_need_no_background():
    assert choose_background([]) == ("white", 0)
    assert list(LEVELS) == ["white", "black", "grey"]
    for name, level in LEVELS.items():
        assert Image.new("RGB", (1, 1), name).getpixel((0, 0)) == (level,) * 3


@pytest.mark.parametrize("setting", [{"background": "red"}, {"background": 3}, {"fit": "stretched"}, {"fit": None}])
def test_unknown_ways_to_read(tmp_path, setting):
    icons(tmp_path, "red", 2)
    with pytest.raises(InputError, match=r"(background must be one of white, black|fit must be one of squashed, crop)"):
        image_folder(tmp_path, 16, **setting)
    if setting["fit" if "fit" in setting else "background"] is not None:
        with pytest.raises(InputError, match="must be one of"):
            read_image(tmp_path / "a" / "0.png", 16, **setting)


def test_nearly_uniform_images_are_counted_and_named(tmp_path):
    icons(tmp_path, "red", 8)
    for i in range(7):
        Image.new("RGB", (20, 20), (40 * i, 0, 99)).save(tmp_path / "a" / f"x{i}.png")
    text = next(text for text in image_folder(tmp_path, 16).warnings if "one colour" in text)
    assert text.replace("\\", "/") == (
        "nearly of one colour: 7 images (a/x0.png, a/x1.png, a/x2.png, a/x3.png, a/x4.png and 2 more)"
    )


def test_hashes_are_of_the_bytes_and_of_the_pixels(tmp_path):
    icons(tmp_path, "red", 3)
    with Image.open(tmp_path / "a" / "0.png") as image:
        image.save(tmp_path / "a" / "0.webp", lossless=True)
        image.save(tmp_path / "a" / "0.tif")
    files = sorted((tmp_path / "a").iterdir())
    skipped = []
    read = read_images(files, (16, 16), None, skipped)
    contents, pixels = zip(*read.hashes, strict=True)
    assert (skipped, len(set(contents)), len(set(pixels))) == ([], 5, 3)
    assert contents == tuple(content_hash(file) for file in files)
    assert all(len(one) == 24 for one in (*contents, *pixels))


def test_the_typical_side(tmp_path):
    icons(tmp_path, "red", 5)
    Image.new("RGB", (400, 300), "blue").save(tmp_path / "a" / "large.png")
    found = image_folder(tmp_path, 64)
    assert found.typical_side == 32
