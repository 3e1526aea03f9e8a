"""Image folders: which images are read, how they are split, which files are skipped, and the warnings."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn.data.folder import image_folder
from cnn.data.images import read_image
from cnn.errors import InputError
from tests.data.photos import CLASSES, ORIENTATION, make_photos


def fill(folder, counts, colour=True, names="{}.png", first=1):
    """Write ``counts[name]`` images of each class; number ``first`` and so on are their colours, but for a corner."""
    number = first - 1
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            number += 1
            shade = (number, number, 255) if colour else (number,) * 3
            image = Image.new("RGB", (12, 10), shade)
            image.paste("black" if number > 99 else "white", (10, 8, 12, 10))
            image.save(folder / name / names.format(i))


def numbers(split):
    """Return the numbers of the images in a split."""
    return split[0][:, 0, 0, 0].tolist()


def test_photos_of_all_sizes_and_orientations(tmp_path):
    paths = make_photos(tmp_path, 24, np.random.default_rng(0))
    found = image_folder(tmp_path, image_size=32, validation=0.25, seed=3)
    assert found.class_names == list(CLASSES)
    assert found.counts == dict.fromkeys(CLASSES, 8)
    assert (found.train[0].shape, found.train[0].dtype) == ((18, 3, 32, 32), np.uint8)
    assert (found.validation[0].shape, found.validation[1].dtype) == ((6, 3, 32, 32), np.int64)
    assert np.bincount(found.validation[1]).tolist() == [2, 2, 2]
    assert found.majority_baseline == pytest.approx(1 / 3)
    assert found.skipped == []
    seen = {
        pixels.tobytes(): int(y) for split in (found.train, found.validation) for pixels, y in zip(*split, strict=True)
    }
    assert len(seen) == 24
    for i, path in enumerate(paths):
        assert seen[read_image(path, 32).tobytes()] == i % 3


def test_synthetic_photos_are_reproducible(tmp_path):
    first, second = (make_photos(tmp_path / name, 4, np.random.default_rng(5)) for name in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    for i, path in enumerate(first):
        with Image.open(path) as image:
            assert image.getexif()[ORIENTATION] == i + 1


@given(
    st.lists(st.integers(2, 12), min_size=2, max_size=4),
    st.floats(0.01, 0.99),
    st.integers(0, 10**6),
)
def test_every_class_is_in_both_splits(tmp_path_factory, counts, fraction, seed):
    path = tmp_path_factory.mktemp("f")
    fill(path, {f"c{i}": count for i, count in enumerate(counts)})
    found = image_folder(path, 4, fraction, seed)
    held_out, rest = (np.bincount(split[1], minlength=len(counts)) for split in (found.validation, found.train))
    assert (held_out + rest).tolist() == counts
    assert held_out.min() >= 1
    assert rest.min() >= 1
    for count, n in zip(held_out, counts, strict=True):
        assert abs(count - fraction * n) <= 1
    assert sorted(numbers(found.train) + numbers(found.validation)) == list(range(1, sum(counts) + 1))
    again = image_folder(path, 4, fraction, seed)
    assert numbers(again.train) == numbers(found.train)
    assert found.test[0] is found.validation[0]
    assert not found.has_test


def test_the_seed_decides_which_images_are_held_out(tmp_path):
    fill(tmp_path, {"a": 20, "b": 20})
    held_out = {tuple(numbers(image_folder(tmp_path, 4, seed=seed).validation)) for seed in range(6)}
    assert len(held_out) == 6


def test_a_new_image_moves_few_others(tmp_path):
    fill(tmp_path, {"a": 40, "b": 40})
    before = numbers(image_folder(tmp_path, 4).validation)
    Image.new("RGB", (9, 9), (200, 0, 0)).save(tmp_path / "a" / "new.png")
    after = numbers(image_folder(tmp_path, 4).validation)
    assert len(set(before) - set(after)) <= 1


def test_a_single_image_is_in_the_training_set(tmp_path):
    fill(tmp_path, {"a": 1, "b": 4})
    found = image_folder(tmp_path, 4)
    assert np.bincount(found.train[1]).tolist() == [1, 3]
    assert found.validation[1].tolist() == [1]
    assert found.warnings == [
        "no validation images of a: it has only one image, or one group",
        "a has only 1 image, b only 4: at least 50 of each class are recommended",
    ]


def test_several_classes_without_validation_images(tmp_path):
    fill(tmp_path, {"a": 1, "b": 4, "c": 1})
    reason = "no validation images of a, c: each has only one image, or one group"
    assert reason in image_folder(tmp_path, 4).warnings


def test_one_channel_only_if_all_images_are_grey(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3}, colour=False)
    assert image_folder(tmp_path, 8).train[0].shape[1:] == (1, 8, 8)
    assert image_folder(tmp_path, 8, grey=False).train[0].shape[1:] == (3, 8, 8)
    Image.new("RGB", (9, 9), (250, 0, 0)).save(tmp_path / "a" / "red.png")
    found = image_folder(tmp_path, (6, 8))
    assert found.train[0].shape[1:] == (3, 6, 8)
    assert image_folder(tmp_path, 8, grey=True).train[0].shape[1:] == (1, 8, 8)
    greys = np.concatenate([found.train[0], found.validation[0]])
    greys = greys[greys[:, 1].max(axis=(1, 2)) > 0]
    assert np.array_equal(greys[:, 0], greys[:, 2])  # grey images have all three channels


def test_files_that_cannot_be_read_are_reported_and_skipped(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    for name in ("empty.jpg", "cut.png", "IMG.heic", "notes.txt", "bomb.png"):
        (tmp_path / "a" / name).touch()
    (tmp_path / "a" / "IMG.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "a" / "notes.txt").write_text("cats")
    (tmp_path / "a" / "cut.png").write_bytes((tmp_path / "a" / "0.png").read_bytes()[:50])
    Image.new("1", (12_001, 10_000)).save(tmp_path / "a" / "bomb.png")
    found = image_folder(tmp_path, 4)
    assert found.counts == {"a": 3, "b": 3}
    reasons = {str(path.relative_to(tmp_path)): why for path, why in found.skipped}
    assert reasons.pop(str(Path("a", "cut.png"))).startswith("is damaged or cut short")
    assert reasons == {
        str(Path("a", "empty.jpg")): "is empty (0 bytes)",
        str(Path("a", "IMG.heic")): "is a HEIC, HEIF or AVIF image, which is not supported: convert to JPEG first",
        str(Path("a", "notes.txt")): "is not an image that can be read: expected JPEG, PNG, GIF, BMP, TIFF or WebP",
        str(Path("a", "bomb.png")): "is too large: at most 120,000,000 pixels can be read; make it smaller first",
    }


def test_hidden_files_and_system_files_are_ignored(tmp_path):
    fill(tmp_path, {"a": 2, "b": 2, ".git": 1, "__MACOSX": 1})
    for name in ("Thumbs.db", ".DS_Store", "._0.png", "desktop.ini"):
        (tmp_path / "a" / name).write_bytes(b"x")
        (tmp_path / name).write_bytes(b"x")
    found = image_folder(tmp_path, 4)
    assert (found.class_names, found.skipped) == (["a", "b"], [])
    assert len(found.warnings) == 1  # about the small number of images


def test_files_next_to_the_class_folders_are_listed(tmp_path):
    fill(tmp_path, {"a": 2, "b": 2})
    for i in range(7):
        (tmp_path / f"{i}.jpg").touch()
    assert image_folder(tmp_path, 4).warnings[0] == (
        f"ignored in {tmp_path}: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more"
    )


def test_names_of_all_kinds(tmp_path):
    names = ["two words", "犬", "Ünï"]
    fill(tmp_path, dict.fromkeys(names, 2), names="ein Bild {} 写真.png")
    assert image_folder(tmp_path, 4).class_names == sorted(names)
    try:
        fill(tmp_path, {"line\nend": 2}, names="a\nb{}.png", first=11)
    except OSError:  # Windows has no such names
        return
    (tmp_path / "line\nend" / "a\nb.png").touch()
    found = image_folder(tmp_path, 4)
    assert "line\nend" in found.class_names
    assert found.skipped[0][1] == "is empty (0 bytes)"
    assert "\n" not in found.warnings[0]


def test_names_that_differ_only_in_case(tmp_path):
    fill(tmp_path, {"Cat": 2, "dog": 2})
    fill(tmp_path, {"Straße": 2, "Strasse": 2}, first=21)  # which casefold() makes equal
    assert not any("capital" in text for text in image_folder(tmp_path, 4).warnings)
    if (tmp_path / "cat").exists():  # a case-insensitive file system
        return
    fill(tmp_path, {"cat": 2}, first=11)
    expected = "the classes Cat and cat differ only in capital letters: if they are the same class, merge their folders"
    assert expected in image_folder(tmp_path, 4).warnings


def test_few_images(tmp_path):
    fill(tmp_path, {"a": 3, "b": 4, "c": 2})
    assert image_folder(tmp_path, 4, recommended=4).warnings == [
        "a has only 3 images, c only 2: at least 4 of each class are recommended"
    ]
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "c")
    fill(tmp_path, {"d": 4}, first=11)
    assert image_folder(tmp_path, 4, recommended=4).warnings == []


def test_the_majority_baseline(tmp_path):
    fill(tmp_path, {"a": 10, "b": 30})
    assert image_folder(tmp_path, 4, validation=0.5).majority_baseline == 0.75


# Folders of splits


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_folders_of_splits(tmp_path, name):
    fill(tmp_path / "train", {"a": 3, "b": 4})
    fill(tmp_path / name, {"a": 2, "b": 1}, names="v{}.png", first=11)
    found = image_folder(tmp_path, 4)
    assert [len(split[1]) for split in (found.train, found.validation, found.test)] == [7, 3, 3]
    assert numbers(found.train) == list(range(1, 8))
    assert found.validation[1].tolist() == [0, 0, 1]
    assert not found.has_test
    fill(tmp_path / "test", {"a": 1, "b": 3}, first=21)
    found = image_folder(tmp_path, 4)
    assert [len(split[1]) for split in (found.train, found.validation, found.test)] == [7, 3, 4]
    assert found.has_test
    assert found.counts == {"a": 6, "b": 8}
    assert found.majority_baseline == 0.75


def test_a_test_folder_without_one_for_validation(tmp_path):
    fill(tmp_path / "train", {"a": 10, "b": 10})
    fill(tmp_path / "test", {"a": 1, "b": 1}, first=31)
    found = image_folder(tmp_path, 4)
    assert [len(split[1]) for split in (found.train, found.validation, found.test)] == [16, 4, 2]


def test_a_class_called_train(tmp_path):
    fill(tmp_path, {"train": 2, "car": 2})
    assert image_folder(tmp_path, 4).class_names == ["car", "train"]
    fill(tmp_path / "val", {"car": 1})
    fill(tmp_path / "train", {"car": 2, "bus": 2})
    with pytest.raises(
        InputError, match=r"train has the class bus, but .*val does not: all splits need the same classes"
    ):
        image_folder(tmp_path, 4)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "f contains no class folders: put the images of each class into a folder of its own, such as"),
        ({"cat": 3}, "f has only one class, cat: at least two are needed"),
        ({"data/cat": 3, "data/dog": 3}, r"at least two are needed\. Are the classes in .*data\?"),
        ({"cat": 3, "dog": 0}, r"dog has no image that can be read: add images or remove the folder"),
        (
            {"train": 3, "val": 3},
            "train contains no class folders: put the images of each class into a folder of its own",
        ),
        ({"train/a": 1, "train/b": 1, "val/a": 1}, r"train has the class b, but .*val does not"),
        (
            {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "val/c": 1},
            r"val has the class c, but .*train does not",
        ),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 0}, r"b has no image that can be read"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1}, "has val and valid: keep one of them"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path, counts, message):
    (tmp_path / "f").mkdir()
    fill(tmp_path / "f", counts)
    with pytest.raises(InputError, match=message):
        image_folder(tmp_path / "f", 4)


def test_why_a_class_has_no_image(tmp_path):
    fill(tmp_path, {"cat": 1, "dog": 0})
    (tmp_path / "dog" / "1.HEIC").write_text("x")
    with pytest.raises(InputError, match=r"dog has no image that can be read \(1\.HEIC is a HEIC, .* convert to JPEG"):
        image_folder(tmp_path, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0}, "validation must be a fraction above 0 and below 1, such as 0.2, got 0"),
        ({"validation": 1.0}, "below 1"),
        ({"validation": float("nan")}, "got nan"),
        ({"validation": "0.2"}, "got '0.2'"),
        ({"image_size": 3}, "image_size must be an integer of at least 4, got 3"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_invalid_arguments(tmp_path, settings, message):
    fill(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(ValueError, match=message):
        image_folder(tmp_path, **settings)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        image_folder(tmp_path / "none")
