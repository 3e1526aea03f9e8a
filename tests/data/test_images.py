"""Safe reading of one image: upright, opaque, resized; and the error messages for files that are not images."""

import contextlib
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn.core.text import printable
from cnn.data import images
from cnn.data.images import read_image
from cnn.errors import InputError
from tests.data.photos import photo, save_with_orientation


def numbers(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height=60, width=90):
    """An image that JPEG compresses almost without loss; no two corners are alike."""
    corners = np.array([[[250, 20, 20], [20, 240, 30]], [[30, 20, 220], [240, 240, 40]]], dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


def png_with_header(width, height):
    """A tiny PNG whose header claims this size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_pixels_are_those_of_the_file(tmp_path):
    pixels = numbers(5, 7)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = read_image(tmp_path / "a.png")
    assert (seen.dtype, seen.flags.c_contiguous) == (np.uint8, True)
    assert np.array_equal(seen, pixels.transpose(2, 0, 1))
    assert np.array_equal(read_image(str(tmp_path / "a.png"), size=(5, 7)), seen)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_every_orientation_is_made_upright(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    pixels = numbers(6, 9)
    save_with_orientation(
        Image.fromarray(pixels), path, orientation, **({"lossless": True} if suffix == "webp" else {})
    )
    assert np.array_equal(read_image(path), pixels.transpose(2, 0, 1))
    assert images.open_image(path)[1] == (9, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_of_every_orientation_are_alike(tmp_path, orientation):
    save_with_orientation(smooth(), tmp_path / "a.jpg", orientation, quality=95)
    seen = read_image(tmp_path / "a.jpg", size=(20, 30)).astype(int)
    expected = np.asarray(smooth().resize((30, 20), Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(int)
    assert abs(seen - expected).max() < 8


@pytest.mark.parametrize("orientation", [0, 9, 6000])
def test_an_orientation_that_does_not_exist_is_ignored(tmp_path, orientation):
    save_with_orientation(Image.fromarray(numbers(4, 6)), tmp_path / "a.png", orientation)
    assert read_image(tmp_path / "a.png").shape == (3, 4, 6)


def test_an_image_with_damaged_exif_is_read(tmp_path):
    smooth().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(range(40)))
    assert read_image(tmp_path / "a.jpg").shape == (3, 60, 90)


def test_transparent_areas_become_white(tmp_path):
    pixels = numbers(4, 4, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    alpha = pixels[:, :, 3:] / 255
    expected = pixels[:, :, :3] * alpha + 255 * (1 - alpha)
    assert abs(read_image(tmp_path / "a.png").transpose(1, 2, 0) - expected).max() <= 1
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "b.png", transparency=0)
    assert read_image(tmp_path / "b.png").transpose(1, 2, 0).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    Image.new("LA", (3, 3), (0, 0)).save(tmp_path / "c.png")
    assert read_image(tmp_path / "c.png", grey=True).min() == 255


def test_colours_of_transparent_pixels_do_not_bleed(tmp_path):
    image = Image.new("RGBA", (80, 80), (0, 0, 0, 0))  # black, and fully transparent
    image.paste((255, 255, 255, 255), (0, 0, 40, 80))
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", size=10).min() >= 254


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled(tmp_path, suffix):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}", grey=True)[0], np.round(values / 257))


def test_pixels_of_unknown_range(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif has floating-point pixels of unknown range"):
        read_image(tmp_path / "a.tif")
    Image.fromarray(np.full((4, 4), 70_000, np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"b\.tif has 32-bit pixels of unknown range"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGB"])
def test_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    image = smooth(16, 16).convert(mode)
    image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    seen = read_image(path).transpose(1, 2, 0).astype(int)
    assert abs(seen - np.asarray(image.convert("RGB")).astype(int)).max() < 25
    assert read_image(path, grey=True).shape == (1, 16, 16)


def test_grey_images_are_detected(tmp_path):
    grey = np.repeat(numbers(9, 9, 1), 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png", grey=None), grey.transpose(2, 0, 1)[:1])
    grey[4, 4, 0] ^= 1
    Image.fromarray(grey).save(tmp_path / "colours.png")
    assert read_image(tmp_path / "colours.png", grey=None).shape == (3, 9, 9)
    assert read_image(tmp_path / "grey.png").shape == (3, 9, 9)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    extra = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **extra)
    assert read_image(tmp_path / f"a.{suffix}")[:, 3, 3].tolist() == [255, 0, 0]


def test_two_images_in_a_jpeg_as_phones_write_them(tmp_path):
    smooth(600, 800).save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert images.open_image(tmp_path / "a.jpg")[1] == (800, 600)
    assert read_image(tmp_path / "a.jpg", size=16)[:, 0, 0].tolist() == pytest.approx([250, 20, 20], abs=25)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 2, 7, (3, 5), (64, 64), None]),
    st.sampled_from([True, False, None]),
)
def test_the_shape_is_as_requested(tmp_path_factory, height, width, size, grey):
    path = tmp_path_factory.mktemp("p") / "a.png"
    if min(height, width) < max(height, width) / 20:
        height = width
    Image.fromarray(numbers(height, width)).save(path)
    seen = read_image(path, size, grey)
    expected = (height, width) if size is None else (size, size) if isinstance(size, int) else size
    assert seen.shape[1:] == expected
    assert len(seen) in ({True: [1], False: [3], None: [1, 3]}[grey])


def test_the_whole_image_is_used(tmp_path):
    image = Image.new("RGB", (400, 200), "black")
    image.paste("red", (0, 0, 40, 200))
    image.save(tmp_path / "a.png")
    seen = read_image(tmp_path / "a.png", size=20)
    assert seen[0, :, :2].min() > 220
    assert seen[0, :, 3:].max() < 15


def test_scaling_averages(tmp_path):
    stripes = np.zeros((300, 300), np.uint8)
    stripes[::2] = 255  # every other line: without antialiasing it would be all black or all white
    Image.fromarray(stripes).save(tmp_path / "a.png")
    assert abs(read_image(tmp_path / "a.png", size=10, grey=True).astype(int) - 127).max() <= 3


def test_a_large_jpeg_is_decoded_small(tmp_path, monkeypatch):
    large = photo("square", (4000, 3000), np.random.default_rng(0))
    large.save(tmp_path / "a.jpg", quality=90)
    image, original_size = images.load(tmp_path / "a.jpg", (64, 64))
    assert original_size == (4000, 3000)
    assert image.size == (500, 375)  # an eighth
    small = read_image(tmp_path / "a.jpg", size=64).astype(int)
    monkeypatch.setattr(images, "DRAFT_FACTOR", 10_000)
    assert images.load(tmp_path / "a.jpg", (64, 64))[0].size == (4000, 3000)
    assert abs(small - read_image(tmp_path / "a.jpg", size=64)).mean() < 2


def test_a_draft_is_never_smaller_than_requested(tmp_path):
    save_with_orientation(smooth(300, 1000), tmp_path / "a.jpg", 6)
    image, original_size = images.load(tmp_path / "a.jpg", (100, 64))
    assert original_size == (1000, 300)
    assert min(image.size) >= 200


# Files that are not images


def test_a_decompression_bomb_is_rejected_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png_with_header(20_000, 20_000))
    (tmp_path / "b.png").write_bytes(png_with_header(12_000, 10_001))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was decoded"))
    for name in ("a.png", "b.png"):
        with pytest.raises(InputError) as error:
            read_image(tmp_path / name, size=64)
        assert str(error.value) == (
            f"{tmp_path / name} is too large: at most 120,000,000 pixels can be read; make it smaller first"
        )


def test_images_of_108_megapixels_are_allowed(tmp_path):
    (tmp_path / "a.png").write_bytes(png_with_header(12_000, 9_000))
    with pytest.raises(InputError, match="is damaged or cut short"):  # and not "too large"
        read_image(tmp_path / "a.png", size=8)


def heif(brand):
    return b"\0\0\0\x18ftyp" + brand + bytes(40)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jpg", b"", "is empty (0 bytes)"),
        ("a.heic", b"", "is empty (0 bytes)"),
        ("a.jpg", b"not an image", "is not an image that can be read: expected JPEG, PNG, GIF, BMP, TIFF or WebP"),
        ("a.txt", "Ä".encode() * 999, "is not an image that can be read"),
        ("a.jpg", b"\xff\xd8\xff", "is "),
        ("a.jpg", heif(b"heic"), "is a HEIC, HEIF or AVIF image, which is not supported: convert to JPEG first"),
        ("a.png", heif(b"mif1"), "convert to JPEG"),
        ("IMG_1.HEIC", b"anything", "convert to JPEG"),
        ("a.heif", b"anything", "convert to JPEG"),
        ("a.avif", heif(b"avif"), "convert to JPEG"),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image that can be read"),
    ],
)
def test_files_that_are_not_images(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_image(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name} {message}" if message.startswith("is") else "")
    assert message in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_a_jpeg_with_another_suffix_is_read(tmp_path):
    smooth().save(tmp_path / "a.heic", format="JPEG")
    assert read_image(tmp_path / "a.heic").shape == (3, 60, 90)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9])
def test_files_cut_short(tmp_path, suffix, fraction):
    path = tmp_path / f"a.{suffix}"
    photo("circle", (200, 150), np.random.default_rng(0)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=r"a\.\w+ is (damaged or cut short|not an image)"):
        read_image(path, size=32)


@given(st.integers(0, 2**32 - 1))
def test_damaged_files_never_raise_another_error(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("p")
    path = folder / ("a.jpg", "a.png", "a.gif", "a.bmp", "a.tif", "a.webp")[seed % 6]
    smooth(16, 24).save(path)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[rng.integers(0, len(data), 1 + seed % 20)] = rng.integers(0, 256, 1 + seed % 20)
    path.write_bytes(data.tobytes())
    with contextlib.suppress(InputError):
        assert read_image(path, size=8).shape == (3, 8, 8)


def test_missing_files_folders_and_pipes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.jpg"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="is a folder, expected an image"):
        read_image(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(InputError, match="is not a regular file"):  # and it does not wait for a writer
            read_image(tmp_path / "pipe.jpg")


def test_too_narrow(tmp_path):
    Image.new("L", (100, 4)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="is 100 x 4 pixels, too narrow to be an image: crop it first"):
        read_image(tmp_path / "a.png")
    Image.new("L", (100, 5)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (3, 5, 100)


@pytest.mark.parametrize("size", [0, -3, 2.5, (3,), True])
def test_invalid_sizes(tmp_path, size):
    with pytest.raises(ValueError, match=r"size.* must be"):
        read_image(tmp_path / "a.png", size)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("two words.jpg", "two words.jpg"),
        ("犬 und Äpfel.jpg", "犬 und Äpfel.jpg"),
        ("a\nb\x1b[31m.jpg", r"a\nb\x1b[31m.jpg"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("caf\udce9.jpg", r"caf\udce9.jpg"),
    ],
)
def test_names_are_made_printable(name, shown):
    assert printable(name) == shown
    printable(name).encode()
