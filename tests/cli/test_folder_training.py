"""`cnn train FOLDER`, as a user would run it: generated photos with bad files among them, and Fashion-MNIST as files.

Each takes a minute or two.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnn.data
from cnn.data.images import read_image
from cnn.sequential import Sequential
from tests.cli.example_files import json_lines
from tests.data.photos import CLASSES, make_photos

pytestmark = pytest.mark.slow

PHOTOS, UNSEEN = 500, 102  # the latter divisible by the classes
STRANGE = "ein Foto\nmit Zeilen 写真 .jpg"


def spoil(folder):
    """Add the other files that a folder of photos may contain; return how many files cannot be used."""
    some = sorted((folder / "circle").glob("*.jpg"))
    whole = some[0].read_bytes()
    (folder / "circle" / "empty.jpg").write_bytes(b"")
    (folder / "square" / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "square" / "text.png").write_text("no image")
    (folder / "triangle" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    Image.new("1", (20_000, 20_000)).save(folder / "triangle" / "bomb.png")
    for hidden in (".DS_Store", "Thumbs.db"):
        (folder / "circle" / hidden).write_bytes(b"x")
    (folder / ".hidden").mkdir()
    # and files that can be used: transparent, 16 bits, CMYK, animated, and a name that is difficult for terminals
    image = Image.open(some[1])
    image.load()
    small = image.resize((80, 60))
    cut = small.convert("RGBA")
    cut.putalpha(200)
    cut.save(folder / "circle" / "alpha.png")
    Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 257).save(folder / "circle" / "deep.png")
    small.convert("CMYK").save(folder / "circle" / "print.jpg")
    small.save(folder / "circle" / "moving.gif", save_all=True, append_images=[small.rotate(90)])
    (folder / "circle" / STRANGE).write_bytes(whole)
    return 5


def unseen_accuracy(process, run, folder, names):
    """The fraction of images for which `cnn predict` prints the class that is the name of their folder."""
    paths = [path for name in names for path in sorted((folder / name).iterdir())]
    done = process("predict", run, *paths, "--json")
    assert done.returncode == 0
    found = json_lines(done.stdout)
    return np.mean(
        [result["classes"][0]["name"] == path.parent.name for result, path in zip(found, paths, strict=True)]
    )


def test_five_hundred_photographs(process, tmp_path):
    folder, unseen = tmp_path / "my photos", tmp_path / "unseen"
    make_photos(folder, PHOTOS, np.random.default_rng(0))
    make_photos(unseen, UNSEEN, np.random.default_rng(1))
    bad = spoil(folder)
    began = time.monotonic()
    done = process("train", folder, "--out", "run")
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert f"{bad} files could not be used" in done.stderr
    for text in (
        "HEIC",
        "convert to JPEG",
        "empty.jpg",
        "bomb.png is too large",
        "the largest class, is correct for",
    ):
        assert text in done.stderr
    for name in ("curves.png", "confusion.png", "mistakes.png", "model.safetensors"):
        assert Path("run", name).is_file()
    accuracy = unseen_accuracy(process, "run", unseen, CLASSES)
    print(
        f"{PHOTOS} photographs: {accuracy:.3f} of {UNSEEN} unseen ones correct, trained in {seconds:.0f} s\n{done.stderr}"
    )
    assert accuracy >= 0.90
    assert seconds < 600  # three minutes on two idle cores
    model = Sequential.load("run/model.safetensors")
    seen = read_image(next(unseen.glob("circle/*")), size=(64, 64), grey=False)
    assert model.predict(model.preprocess(seen[None])).shape == (1,)


def test_fashion_mnist_as_files(process, tmp_path):
    x, y, x_test, y_test = cnn.data.fashion_mnist()
    names = cnn.data.dataset_info("fashion-mnist").class_names
    folder, unseen = tmp_path / "clothes", tmp_path / "unseen"
    for where, pixels, labels, count in ((folder, x, y, 200), (unseen, x_test, y_test, 100)):
        for label, name in enumerate(names):
            (where / name.replace("/", "-")).mkdir(parents=True)
            for i in np.flatnonzero(labels == label)[:count]:
                Image.fromarray(pixels[i, 0]).save(where / name.replace("/", "-") / f"{i}.png")
    began = time.monotonic()
    done = process("train", folder, "--out", "run")
    assert done.returncode == 0, done.stderr
    accuracy = unseen_accuracy(process, "run", unseen, [name.replace("/", "-") for name in names])
    print(
        f"Fashion-MNIST as files: {accuracy:.3f} of 1,000 unseen correct, {time.monotonic() - began:.0f} s\n{done.stderr}"
    )
    assert accuracy >= 0.78
