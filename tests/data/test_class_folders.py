"""The layout of image folders: usual names, nested images, runs, system folders, and advice for what is unclear."""

import json
import os
import unicodedata

import numpy as np
import pytest

from cnn.data import class_folders
from cnn.data.folder import image_folder
from cnn.errors import InputError
from tests.data.test_folder import fill, numbers

RUN = {"data": "/x", "model": "mlp", "epochs": 1, "batch_size": 2, "lr": 0.1, "seed": 0, "lr_schedule": "none"}


def test_a_class_folder_with_a_config_json_is_a_class(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3, "c": 3})
    (tmp_path / "a" / "config.json").write_text('{"model": "camera"}', encoding="utf-8")
    (tmp_path / "c" / "inner").mkdir()
    (tmp_path / "c" / "inner" / "config.json").write_text("{", encoding="utf-8")
    found = image_folder(tmp_path, 4)
    assert found.counts == {"a": 3, "b": 3, "c": 3}
    assert [path.name for path, _ in found.skipped] == ["config.json", "config.json"]


def test_runs_are_ignored_and_named(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    for folder in ("run-1", "runs/a-1", "runs/a-2", "a/run-2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text(json.dumps(RUN), encoding="utf-8")
    found = image_folder(tmp_path, 4)
    assert found.class_names == ["a", "b"]
    assert found.warnings[0] == f"ignored in {tmp_path}: run-1{os.sep} (a run), runs{os.sep} (a run)"
    assert found.skipped == [(tmp_path / "a" / "run-2", "is a run of cnn train")]


def test_images_in_folders_inside_a_class_folder_belong_to_the_class(tmp_path):
    fill(tmp_path, {"a": 2, "a/more": 2, "a/more/deep": 2, "b": 3, "b/.hidden": 1, "b/@eaDir": 1})
    found = image_folder(tmp_path, 4)
    assert (found.counts, found.skipped) == ({"a": 6, "b": 3}, [])
    assert sorted(numbers(found.train) + numbers(found.validation)) == list(range(1, 10))


def test_links_that_go_round_and_folders_too_deep(tmp_path):
    fill(tmp_path, {"a": 2, "b": 2})
    deep = tmp_path / "b"
    for i in range(class_folders.MAX_DEPTH + 1):
        deep = deep / str(i)
    fill(deep, {".": 2}, first=11)
    try:
        (tmp_path / "a" / "loop").symlink_to(tmp_path / "a", target_is_directory=True)
    except OSError:  # Windows asks for a permission
        pytest.skip("no symbolic links")
    found = image_folder(tmp_path, 4)
    assert found.counts == {"a": 2, "b": 2}
    assert [why for _, why in found.skipped] == [
        "is a link to a folder that contains it",
        f"is more than {class_folders.MAX_DEPTH} folders below the class folder: move its images up",
    ]


@pytest.mark.parametrize("name", [*class_folders.SYSTEM_FOLDERS, "@eaDir", "__MACOSX", "System Volume Information"])
def test_folders_of_the_operating_system_are_no_classes(tmp_path, name):
    fill(tmp_path, {"a": 2, "b": 2, name: 1})
    assert image_folder(tmp_path, 4).class_names == ["a", "b"]


def test_names_that_differ_in_unicode_normalisation_alone_are_one_class(tmp_path):
    names = [unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD")]
    fill(tmp_path, {names[0]: 3, "b": 3})
    if (tmp_path / names[1]).exists():
        pytest.skip("a file system that normalises names")
    fill(tmp_path, {names[1]: 2}, first=11)
    found = image_folder(tmp_path, 4)
    assert found.counts == {"Käse": 5, "b": 3}
    assert not any("capital" in text for text in found.warnings)


def test_folders_of_splits_may_differ_in_unicode_normalisation(tmp_path):
    for i, form in enumerate(("NFC", "NFD")):
        fill(tmp_path / ("train", "val")[i], {unicodedata.normalize(form, "Käse"): 2, "b": 2}, first=1 + 10 * i)
    assert image_folder(tmp_path, 4).validation[1].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("Training", "Validation", "Testing"), True),
        (("TRAIN", "Dev", "holdout"), True),
        (("train", "eval", "held-out"), True),
        (("Train", "Val", "Test"), False),
    ],
)
def test_usual_names_of_splits(tmp_path, names, told):
    for i, name in enumerate(names):
        fill(tmp_path / name, {"a": 2, "b": 3}, first=1 + 10 * i)
    found = image_folder(tmp_path, 4)
    assert (found.class_names, found.has_test) == (["a", "b"], True)
    assert [numbers(split)[0] for split in (found.train, found.validation, found.test)] == [1, 11, 21]
    text = f"{names[0]}, {names[1]}, {names[2]} are the train, validation, test images"
    assert (text in found.notes) == told


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"val/a": 1, "val/b": 1, "test/a": 1, "test/b": 1}, "has val and test but no folder of training images: call"),
        ({"train/a": 1, "train/b": 1, "mine/a": 1, "mine/b": 1}, "if mine holds the validation images, call it val"),
        (
            {f"{name}/{k}": 1 for name in ("train", "dev", "val") for k in "ab"},
            "has dev and val: keep one of them",
        ),
        (
            {f"{name}/{k}": 1 for name in ("train", "training", "val") for k in "ab"},
            "has train and training: keep one of them",
        ),
    ],
)
def test_splits_that_are_not_clear(tmp_path, counts, message):
    fill(tmp_path, counts)
    with pytest.raises(InputError, match=message):
        image_folder(tmp_path, 4)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            "test",
            r"test has 3 files but no class folders: move it out of .*, train, then classify it with cnn predict; or",
        ),
        (
            "val",
            r"val has 3 files but no class folders: sort its images into folders of the classes, as in .*train, or",
        ),
    ],
)
def test_a_folder_of_a_split_without_classes(tmp_path, split, message):
    """The layout of competitions: train/cat, train/dog, and unsorted images in test."""
    fill(tmp_path / "train", {"cat": 5, "dog": 5})
    fill(tmp_path, {split: 3}, first=31)
    with pytest.raises(InputError, match=message):
        image_folder(tmp_path, 4)


def test_a_class_called_train_with_folders_inside(tmp_path):
    fill(tmp_path, {"train/steam": 2, "train/diesel": 2, "car/red": 2, "car/blue": 2})
    assert image_folder(tmp_path, 4).counts == {"car": 4, "train": 4}


def test_folders_that_all_classes_have_are_named(tmp_path):
    fill(tmp_path, {f"{name}/{vendor}": 2 for name in ("animals", "food") for vendor in ("apple", "google")})
    found = image_folder(tmp_path, 4)
    assert found.class_names == ["animals", "food"]
    assert found.warnings[0] == (
        f"all classes in {tmp_path} have the same folders, apple, google, whose images are read as images of the class; "
        "if apple and google are the classes, move them up"
    )
    grouped = image_folder(tmp_path, 4, group_by="*/{group}")
    assert not any("move them up" in text for text in grouped.warnings)
    assert np.array_equal(np.sort(grouped.train[1]), [0, 0, 1, 1])
