"""Which images are held out: copies together or left out, related images in groups, and never a class without any."""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn.data import read_image
from cnn.data.folder import image_folder
from cnn.data.folder_splits import group_of, group_pattern, hashed, hold_out
from cnn.errors import InputError
from tests.data.test_folder import fill, numbers


def copy(source, target, as_bmp=False):
    """Copy a file, or save its pixels in another format."""
    if as_bmp:
        with Image.open(source) as image:
            image.save(target.with_suffix(".bmp"))
    else:
        target.write_bytes(source.read_bytes())


def hold_out_all(labels, fraction, seed, hashes=None, groups=None):
    names = [f"{i}.png" for i in range(len(labels))]
    hashes = hashes or [(f"a{i}", f"b{i}") for i in range(len(labels))]
    return hold_out(names, np.array(labels), fraction, seed, hashes, groups or [None] * len(labels))


# Copies


@pytest.mark.parametrize("as_bmp", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_copies_stay_on_one_side(tmp_path, as_bmp, seed):
    fill(tmp_path, {"a": 12, "b": 12})
    for i in range(6):
        copy(tmp_path / "a" / f"{i}.png", tmp_path / "a" / f"copy{i}.png", as_bmp)
    found = image_folder(tmp_path, 4, 0.3, seed)
    assert not set(numbers(found.train)) & set(numbers(found.validation))
    assert len(found.train[1]) + len(found.validation[1]) == 30
    assert abs(np.sum(found.validation[1] == 0) - 0.3 * 18) < 2
    assert len(found.notes) == 1
    assert found.notes[0].startswith("copies of other images, kept on the same side as these: 6 (")
    assert found.notes[0].endswith(" and 1 more)")
    pairs = found.notes[0].partition("(")[2].removesuffix(" and 1 more)").split(", ")
    assert len(pairs) == 5
    for one, other in (pair.split(" = ") for pair in pairs):
        assert one != other
        assert (tmp_path / one).is_file()
        assert (read_image(tmp_path / one, 4) == read_image(tmp_path / other, 4)).all()


@pytest.mark.parametrize("as_bmp", [False, True])
def test_training_copies_of_held_out_images_are_left_out(tmp_path, as_bmp):
    for i, split in enumerate(("train", "val", "test")):
        fill(tmp_path / split, {"a": 4, "b": 4}, first=1 + 10 * i)
    copy(tmp_path / "val" / "a" / "1.png", tmp_path / "train" / "a" / "new.png", as_bmp)
    copy(tmp_path / "test" / "b" / "2.png", tmp_path / "train" / "b" / "new.png", as_bmp)
    copy(tmp_path / "test" / "b" / "3.png", tmp_path / "val" / "b" / "new.png", as_bmp)
    found = image_folder(tmp_path, 4)
    assert [len(split[1]) for split in (found.train, found.validation, found.test)] == [8, 8, 8]
    assert [numbers(split)[0] // 10 for split in (found.train, found.validation, found.test)] == [0, 1, 2]
    suffix = "bmp" if as_bmp else "png"
    same = "(the same file, or the same pixels at this size)"
    assert [text.replace("\\", "/") for text in found.warnings[:3]] == [
        f"left out 1 training image with copies {same} among the test images: train/b/new.{suffix} = test/b/2.png",
        f"left out 1 validation image with copies {same} among the test images: val/b/new.{suffix} = test/b/3.png",
        f"left out 1 training image with copies {same} among the validation images: train/a/new.{suffix} = val/a/1.png",
    ]
    assert sorted(found.files) == ["test", "train", "validation"]
    for name, split in (("train", found.train), ("validation", found.validation), ("test", found.test)):
        assert len(found.files[name]) == len(found.hashes[name]) == len(split[1])


def test_an_image_in_two_classes_is_left_out_and_named(tmp_path):
    fill(tmp_path, {"a": 10, "b": 10})
    for i in range(7):
        copy(tmp_path / "a" / f"{i}.png", tmp_path / "b" / f"x{i}.png", as_bmp=i % 2)
    found = image_folder(tmp_path, 4)
    assert found.counts == {"a": 3, "b": 10}
    assert not set(range(1, 8)) & set(numbers(found.train) + numbers(found.validation))
    text = found.warnings[0].replace("\\", "/")
    assert text.startswith("left out 14 images with copies (the same file, or the same pixels at this size) in another")
    assert "a/0.png = b/x0.png, a/1.png = b/x1.bmp" in text
    assert "and 2 more; keep each in its right class alone" in text


def test_a_class_that_is_a_copy_of_another(tmp_path):
    fill(tmp_path, {"a": 2, "b": 3})
    (tmp_path / "a copy").mkdir()
    for i in range(2):
        copy(tmp_path / "a" / f"{i}.png", tmp_path / "a copy" / f"{i}.png")
    with pytest.raises(
        InputError, match=r"no training image of the class a is left: left out 4 images with copies .*a/0"
    ):
        image_folder(tmp_path, 4)


def test_one_image_a_class_is_refused(tmp_path):
    fill(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(InputError, match=r"no image can be held out .* each class has only one image.*: a, b; add"):
        image_folder(tmp_path, 4)
    copy(tmp_path / "a" / "0.png", tmp_path / "a" / "1.png")
    copy(tmp_path / "b" / "0.png", tmp_path / "b" / "1.png")
    with pytest.raises(InputError, match="no image can be held out"):
        image_folder(tmp_path, 4)


# Groups


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        ("{group}_*", "anna_1_2.png", "anna"),
        ("{group}_*", "anna.png", None),
        ("{group}/*", "anna/1.png", "anna"),
        ("{group}/*", "1.png", None),
        ("*/{group}", "apple/1f600.png", "1f600"),
        ("*/{group}.png", "apple/1f600.png", "1f600"),
        ("*-{group}-*", "cat-7-b.jpg", "7"),
        ("{group}???", "anna001.jpg", "anna"),
        ("{group}", "a.b.png", "a.b"),
        ("IMG[{group}]*", "IMG[3]x.png", "3"),
        ("{group}_*", "Ka\u0308se_1.png", "K\u00e4se"),
    ],
)
def test_patterns_of_groups(pattern, name, group):
    assert group_of(name, group_pattern(pattern)) == group


@pytest.mark.parametrize("pattern", ["", "*", "group_*", "{group}{group}", "{Group}", 3])
def test_patterns_without_one_group(tmp_path, pattern):
    fill(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(
        InputError, match=r"group_by must be a pattern of file names with \{group\} in it once, such as"
    ):
        image_folder(tmp_path, 4, group_by=pattern)


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_across_classes(tmp_path, seed):
    for k in range(10):
        fill(tmp_path, {f"a/v{k}": 0, f"b/v{k}": 0})
        for name in "ab":
            for i in range(1 + k % 3):
                shade = (10 * k + i, 200 if name == "a" else 100, 9)
                image = Image.new("RGB", (9, 9), shade)
                image.paste("white", (7, 7, 9, 9))
                image.save(tmp_path / name / f"v{k}" / f"{i}.png")
    found = image_folder(tmp_path, 4, 0.3, seed, group_by="{group}/*")
    sides = [{file.parent.name for file in found.files[name]} for name in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 10
    assert abs(len(found.validation[1]) - 0.3 * len(found.train[1]) / 0.7) < 6
    assert found.notes == ["groups of images by {group}/*: 10"]


def test_files_without_a_group(tmp_path):
    fill(tmp_path, {"a": 4, "b": 4}, names="x_{}.png")
    fill(tmp_path / "a", {"more": 3}, names="y{}.png", first=20)
    found = image_folder(tmp_path, 4, group_by="more/{group}")
    assert found.notes == ["groups of images by more/{group}: 3"]
    assert found.warnings[:2] == [
        f"more/{{group}} groups nothing, no group has two images: the group of {Path('a', 'more', 'y0.png')} is y0",
        f"more/{{group}} does not match 8 images of 11, such as {Path('a', 'x_0.png')}: each is a group of its own",
    ]
    with pytest.raises(InputError, match=r"group_by='\{group\}-\*' matches no file"):
        image_folder(tmp_path, 4, group_by="{group}-*")


@pytest.mark.parametrize("pattern", ["{group}", "{group}.png", "x_{group}"])
def test_a_pattern_that_groups_nothing(tmp_path, pattern):
    fill(tmp_path, {"a": 4}, names="x_{}.png")
    fill(tmp_path, {"b": 4}, names="x_{}b.png", first=11)
    warnings = image_folder(tmp_path, 4, group_by=pattern).warnings
    assert warnings[0].startswith(f"{pattern} groups nothing, no group has two images: the group of")


def test_a_pattern_that_groups_has_no_warning(tmp_path):
    fill(tmp_path, {"a": 4, "b": 4}, names="x_{}.png")
    assert not [text for text in image_folder(tmp_path, 4, group_by="x_{group}").warnings if "group" in text]


def test_groups_on_both_sides_of_folders_of_splits(tmp_path):
    for i, split in enumerate(("train", "val", "test")):
        fill(tmp_path / split, {"a": 4, "b": 4}, names=f"{i // 2}" + "_{}.png", first=1 + 10 * i)
    warnings = image_folder(tmp_path, 4, group_by="{group}_*").warnings
    assert warnings[0] == (
        "1 group with both training and validation images, so the validation accuracy will be too optimistic: 0"
    )
    assert not any("test accuracy" in text for text in warnings)


def test_one_group_a_class(tmp_path):
    fill(tmp_path, {"a": 5, "b": 5}, names="x_{}.png")
    with pytest.raises(InputError, match="no image can be held out"):
        image_folder(tmp_path, 4, group_by="{group}_*")


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=8, max_size=60),
    st.floats(0.05, 0.9),
    st.integers(0, 9),
)
def test_a_split_never_cuts_a_group_or_empties_a_class(pairs, fraction, seed):
    labels = [label for label, _ in pairs]
    groups = [f"g{group}" for _, group in pairs]
    held = hold_out_all(labels, fraction, seed, groups=groups)
    for group in set(groups):
        assert len({bool(one) for one, own in zip(held, groups, strict=True) if own == group}) == 1
    for label in set(labels):
        assert not held[np.array(labels) == label].all()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.floats(0.05, 0.95), st.integers(0, 9))
def test_without_copies_and_groups_the_file_names_decide_in_each_class(labels, fraction, seed):
    expected = np.zeros(len(labels), dtype=bool)
    for label in set(labels):
        members = [i for i, own in enumerate(labels) if own == label]
        members.sort(key=lambda i: hashlib.blake2b(f"{seed}/{i}.png".encode(), digest_size=8).digest())
        expected[members[: min(max(1, round(fraction * len(members))), len(members) - 1)]] = True
    assert np.array_equal(hold_out_all(labels, fraction, seed), expected)


def test_early_runs_split_by_the_names_alone(tmp_path):
    fill(tmp_path, {"a": 10, "b": 10})
    for name in ("a", "b"):
        for i in range(5):
            copy(tmp_path / name / f"{i}.png", tmp_path / name / f"{i + 5}.png")
    copy(tmp_path / "a" / "0.png", tmp_path / "b" / "other.png")
    (tmp_path / "a" / "inside").mkdir()
    copy(tmp_path / "a" / "0.png", tmp_path / "a" / "inside" / "0.png")
    found = image_folder(tmp_path, 4, by_name=True)
    for label, name in enumerate(("a", "b")):
        files = sorted(file.name for file in (tmp_path / name).iterdir() if file.is_file())
        files.sort(key=lambda file: hashlib.blake2b(f"0/{file}".encode(), digest_size=8).digest())
        assert {file.name for file in found.files["validation"] if file.parent.name == name} == set(files[:2])
        assert (found.train[1] == label).sum() == len(files) - 2
    assert not any("copies" in text or "left out" in text for text in [*found.notes, *found.warnings])


def test_the_order_of_names_is_the_same_on_macos():
    for name in ("été/é1.png", "Grüße.jpg"):
        assert hashed(unicodedata.normalize("NFD", name), 3) == hashed(name, 3) != hashed(name, 4)


def test_large_groups_are_held_out_if_there_are_no_others():
    labels, groups = [0] * 40 + [1] * 40, [f"{i // 20}" for i in range(80)]
    held = hold_out_all(labels, 0.1, 0, groups=groups)
    assert [int(held[:40].sum()), int(held[40:].sum())] == [20, 20]
