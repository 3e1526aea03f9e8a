"""How images of any proportions come to the size of a network: squashed, cropped or padded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn.data.folder import image_folder
from cnn.data.image_fit import FITS, resize
from cnn.data.images import read_image


def stripes(width, height, across):
    """Three stripes of equal width, red, green and blue, that lie along the longer side."""
    image = Image.new("RGB", (width, height))
    for i, colour in enumerate(("red", "lime", "blue")):
        box = (i * width // 3, 0, (i + 1) * width // 3, height)
        image.paste(colour, box if across else (0, i * height // 3, width, (i + 1) * height // 3))
    return image


@pytest.mark.parametrize("across", [True, False])
def test_what_each_shows(tmp_path, across):
    size = (90, 30) if across else (30, 90)
    stripes(*size, across).save(tmp_path / "a.png")
    squashed, cropped, padded = (
        read_image(tmp_path / "a.png", 30, fit=fit) if across else read_image(tmp_path / "a.png", 30, fit=fit).mT
        for fit in ("squashed", "cropped", "padded")
    )
    middles = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert [squashed[:, 15, x].tolist() for x in (4, 15, 25)] == middles
    assert cropped[1].min() > 200  # the green stripe alone
    assert cropped[0, :, 2:28].max() < 20
    assert [padded[:, 15, x].tolist() for x in (4, 15, 25)] == middles
    assert len(np.unique(padded[:, :9].reshape(3, -1), axis=1).T) == 1  # a margin of one colour
    assert np.array_equal(padded[:, 0, 0], padded[:, 29, 29])


@pytest.mark.parametrize(("width", "height"), [(224, 224), (512, 256), (256, 512), (300, 301)])
def test_zoomed_is_the_middle_of_cropped(width, height):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    side = 0.875 * min(width, height)
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    expected = image.resize((224, 224), Image.Resampling.BICUBIC, box=box)
    assert np.array_equal(np.asarray(resize(image, (224, 224), "zoomed")), np.asarray(expected))


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["L", "RGB", "RGBA"]),
)
def test_sizes_and_modes(width, height, new_height, new_width, mode):
    image = Image.new(mode, (width, height), 7 if mode == "L" else (7, 99, 200, 255)[: len(mode)])
    for fit in FITS:
        found = resize(image, (new_height, new_width), fit)
        assert (found.size, found.mode) == ((new_width, new_height), mode)
        if mode != "RGBA":
            assert np.ptp(np.asarray(found).reshape(new_height * new_width, -1), axis=0).max() == 0


def test_the_margin_of_an_image_with_transparency_is_transparent(tmp_path):
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste("red", (5, 5, 35, 15))
    image.save(tmp_path / "a.png")
    for background, level in (("white", 255), ("black", 0)):
        pixels = read_image(tmp_path / "a.png", 20, background=background, fit="padded")
        assert (pixels[:, :5] == level).all()
        assert pixels[0, 10, 10] == 255


@pytest.mark.parametrize("fit", FITS)
def test_folders_are_read_with_each(tmp_path, fit):
    for k, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(3):
            image = stripes(60 + 30 * i, 30, across=True)
            image.paste((0, 50 * i, 200 * k), (25 + 15 * i, 10, 40 + 15 * i, 20))
            image.save(tmp_path / name / f"{i}.png")
    found = image_folder(tmp_path, 16, fit=fit)
    assert found.fit == fit
    for file, pixels in zip(found.files["train"], found.train[0], strict=True):
        assert np.array_equal(read_image(file, 16, fit=fit), pixels)
