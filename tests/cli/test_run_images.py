"""The images that a run was trained on: left out by `cnn evaluate`, required by `--resume`, known by their content."""

import functools
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.cli import datasets, run_images
from cnn.cli.predict_images import read_for_model
from cnn.data.image_fit import FITS
from cnn.data.images import read_image
from cnn.errors import InputError
from cnn.sequential import Sequential
from tests.cli.example_files import config
from tests.cli.test_folder import shades

FAST = ("--image-size", "16", "--epochs", "1", "--model", "mlp", "--quiet")


@pytest.fixture
def trained_run(run, no_plots):
    """A run on 20 images, of which 4 were held out."""
    shades("f", 10)
    assert run("train", "f", "--out", "r", *FAST)[0] == 0
    return Path("r")


def test_the_run_lists_its_images(trained_run):
    content = json.loads((trained_run / "images.json").read_text(encoding="utf-8"))
    assert {name: len(content[name]) for name in ("train", "validation")} == {"train": 16, "validation": 4}
    assert content["conversion"]["background"] == "white"
    files = [*content["train"], *content["validation"]]
    assert sorted(files) == sorted(f"{name}/{i}.png" for name in ("dark", "light") for i in range(10))
    assert Sequential.load(trained_run / "model.safetensors").preprocessing["background"] == "white"


@pytest.mark.parametrize("how", ["copied", "moved", "renamed", "converted", "itself"])
def test_training_images_are_left_out(run, trained_run, how):
    expected = json.loads(run("evaluate", trained_run, "--json")[1])
    folder = "f" if how == "itself" else "g"
    if how == "moved":
        Path("f").rename("g")
    elif how != "itself":
        shutil.copytree("f", "g")
    if how in ("renamed", "converted"):
        for file in sorted(Path("g").rglob("*.png")):
            if how == "renamed":
                file.rename(file.with_name(f"x{hash(file.name)}.png"))
            else:
                with Image.open(file) as image:
                    image.save(file.with_suffix(".tif"), exif=image.getexif())
                file.unlink()
    code, out, err = run("evaluate", trained_run, "--data", folder)
    assert code == 0
    assert "left out 16 of 20 images: the model was trained on them\n" in err
    assert out.splitlines()[0].endswith("4 validation images, because there is no folder of test images")
    result = json.loads(run("evaluate", trained_run, "--data", folder, "--json")[1])
    assert (result["samples"], result["left_out"]) == (4, 16)
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert result["accuracy"] == expected["accuracy"]


@pytest.mark.parametrize(
    ("side", "before", "after", "are_known"),
    [
        (40, {"format": "PNG"}, {"format": "PNG", "compress_level": 0}, True),
        (40, {"format": "PNG"}, {"format": "BMP"}, True),
        (40, {"format": "PNG"}, {"format": "WEBP", "lossless": True}, True),
        (40, {"format": "PNG", "mode": "RGBA"}, {"format": "PNG"}, True),
        (40, {"format": "PNG", "mode": "L"}, {"format": "TIFF", "mode": "RGB"}, True),
        (40, {"format": "PNG", "mode": "P"}, {"format": "PNG", "mode": "RGB"}, True),
        (60, {"format": "JPEG"}, {"format": "PNG"}, True),
        (64, {"format": "JPEG"}, {"format": "PNG"}, False),  # read at half its size, as it is 4 times that of the net
        (40, {"format": "JPEG", "quality": 90}, {"format": "JPEG", "quality": 80}, False),
        (40, {"format": "PNG"}, {"format": "JPEG", "quality": 95}, False),
        (40, {"format": "PNG"}, {"format": "PNG", "size": (80, 80)}, False),
    ],
)
def test_images_that_were_saved_again(run, no_plots, side, before, after, are_known):
    """They are known by equal bytes or equal pixels at the size of the net, and by nothing else; docs/data.md says so."""

    def save(image, path, *, format, mode=None, size=None, **settings):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = image if mode is None else image.convert(mode)
        image = image if size is None else image.resize(size, Image.Resampling.BICUBIC)
        image.save(path, format=format, **settings)

    rng = np.random.default_rng(0)
    for i in range(12):
        image = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        name = f"{'ab'[i % 2]}/{i}.png"  # the content tells the format
        save(image, Path("f", name), **before)
        with Image.open(Path("f", name)) as saved:
            save(saved, Path("g", name), **after)
    assert run("train", "f", "--out", "r", *FAST)[0] == 0
    code, out, _ = run("evaluate", "r", "--data", "g", "--json")
    assert code == 0
    assert json.loads(out)["left_out"] == (10 if are_known else 0)


def test_new_images_beside_the_old_ones(run, trained_run):
    shutil.copytree("f", "g")
    Image.new("RGB", (20, 20), (200, 180, 200)).save("g/light/new.png")
    code, out, _ = run("evaluate", trained_run, "--data", "g")
    assert code == 0
    assert "5 images, of which 4 were its validation images" in out


def test_only_training_images(run, trained_run):
    content = json.loads((trained_run / "images.json").read_text(encoding="utf-8"))
    for name in content["validation"]:
        Path("f", name).unlink()
    code, out, err = run("evaluate", trained_run)
    assert (code, out) == (1, "")
    assert "error: the model was trained on all 16 images in " in err
    assert "give others, --data FOLDER" in err


def test_a_class_without_images(run, trained_run):
    shades("g/test", 3)
    shutil.rmtree("g/test/dark")
    for image in Path("g/test/light").iterdir():
        with Image.open(image) as old:
            old.rotate(90, expand=True).save(image)
    code, out, err = run("evaluate", trained_run, "--data", "g")
    assert code == 0
    assert "no images of dark: the result is about the other classes\n" in err
    assert "3 test images" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("dark", "light"))] == ["dark", "light"]
    assert "3 images\n" in run("evaluate", trained_run, "--data", "g/test")[1]
    shutil.rmtree("g/test/light")
    code, _, err = run("evaluate", trained_run, "--data", "g/test")
    assert (code, "contains no class folders" in err) == (1, True)


def forget_images(folder, is_early):
    """Remove the list of images of a run, and what its model knows of their background if it is of an early version."""
    (folder / "images.json").unlink()
    if is_early:
        model = Sequential.load(folder / "model.safetensors")
        model.preprocessing = {name: value for name, value in model.preprocessing.items() if name != "background"}
        model.save(folder / "model.safetensors")


@pytest.mark.parametrize("is_early", [True, False])
def test_a_run_without_a_list_works_as_before(run, trained_run, is_early):
    new = json.loads(run("evaluate", trained_run, "--json")[1])
    forget_images(trained_run, is_early)
    code, out, _ = run("evaluate", trained_run, "--json")
    assert code == 0
    assert json.loads(out) == {**new, "left_out": 0}
    assert "4 validation images" in run("evaluate", trained_run)[1]
    assert json.loads(run("evaluate", trained_run, "--data", "f", "--json")[1])["samples"] == 4
    assert run("train", "--resume", trained_run, "--epochs", "2", "--quiet")[0] == 0
    assert len((trained_run / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("model", ["r", "elsewhere/model.safetensors"])
def test_training_images_that_are_not_known(run, trained_run, model):
    shutil.copytree("f", "g")
    Path("elsewhere").mkdir()
    shutil.copy("r/model.safetensors", "elsewhere")
    (trained_run / "images.json").unlink()
    code, out, err = run("evaluate", model, "--data", "g")
    assert code == 0
    assert "it is not known which images the model was trained on: some may be among these\n" in err
    assert "20 images" in out


@pytest.mark.parametrize("is_early", [True, False])
def test_a_run_without_a_list_splits_copies_as_it_did(run, no_plots, monkeypatch, is_early):
    shades("f", 12)
    for file in sorted(Path("f").rglob("*.png")):
        number = int(file.stem)
        if number >= 4:
            file.write_bytes(file.with_name(f"{number % 4}.png").read_bytes())
    with monkeypatch.context() as patch:
        if is_early:
            patch.setattr(datasets, "load", functools.partial(datasets.load, by_name=True))
        assert run("train", "f", "--out", "r", *FAST)[0] == 0
    trained = config(Path("r"))
    forget_images(Path("r"), is_early)
    code, out, _ = run("evaluate", "r", "--json")
    assert code == 0
    assert json.loads(out)["samples"] == trained["validation_samples"]
    assert json.loads(out)["loss"] == pytest.approx(trained["validation_loss"], rel=1e-6)
    assert run("train", "--resume", "r", "--epochs", "2", "--quiet")[::2] == (0, "")


def test_the_background_of_a_run_that_lost_its_list(run, no_plots):
    for k, name in enumerate(("flat", "tall")):
        Path("f", name).mkdir(parents=True)
        for i in range(8):
            image = Image.new("RGBA", (24, 24), (0, 0, 0, 0))
            image.paste("white", (4, 4, 8 + i, 20) if k else (4, 4, 20, 8 + i))
            image.save(f"f/{name}/p{i // 2}_{i}.png")
    assert run("train", "f", "--out", "r", *FAST, "--group-by", "{group}_*")[0] == 0
    shutil.copytree("r", "lost")
    Path("lost", "images.json").unlink()
    results = [json.loads(run("evaluate", name, "--json")[1]) for name in ("r", "lost")]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-6)
    for name in ("r", "lost"):
        assert run("train", "--resume", name, "--epochs", "2", "--quiet")[::2] == (0, "")
    assert Path("r", "model.safetensors").read_bytes() == Path("lost", "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "line 1 column 2"),
        ("[]", "it does not contain a JSON object"),
        ({"train": 3}, "expected the files of train and their hashes, got 3"),
        ({"train": {"a": ["x"]}}, "expected a list of two hashes for a, got ['x']"),
        ({"validation": {"a": ["x", 3]}}, "expected a list of two hashes for a, got ['x', 3]"),
        ({"test": {"a": {"x": 1, "y": 2}}}, "expected a list of two hashes for a, got {'x': 1, 'y': 2}"),
        ({"train": {"a": {"x": "1", "y": "2"}}}, "expected a list of two hashes for a, got {'x': '1', 'y': '2'}"),
        ({"train": {"a": "ab"}}, "expected a list of two hashes for a, got 'ab'"),
        ({"train": None}, "it lacks 'train'"),
        ({"validation": None}, "it lacks 'validation'"),
        ({"conversion": None}, "it lacks 'conversion'"),
        ({"conversion": {"fit": "squashed", "background": 3}}, "expected the texts fit and background in conversion"),
        ({"conversion": "white"}, "expected the texts fit and background in conversion, got 'white'"),
        ({"trian": {}}, "it has an unknown part, 'trian'"),
    ],
)
def test_a_damaged_list(run, trained_run, change, message):
    path = trained_run / "images.json"
    if not isinstance(change, str):
        content = json.loads(path.read_text(encoding="utf-8")) | change
        change = json.dumps({name: value for name, value in content.items() if value is not None})
    path.write_text(change, encoding="utf-8")
    code, _, err = run("evaluate", trained_run)
    assert code == 1
    assert "images.json is damaged: " in err
    assert message in " ".join(err.split())
    assert run("train", "--resume", trained_run, "--epochs", "2")[0] == 1


def test_a_list_without_the_images_of_the_net_it_started_from(run, trained_run):
    """Without them, a run that started from another would claim to know all images that it was trained on."""
    code, _, err = run("train", "f", "--from", trained_run, "--epochs", 1, "--out", "b")
    assert code == 0, err
    path = Path("b", "images.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["earlier"]
    path.write_text(json.dumps(content), encoding="utf-8")
    for command in (("evaluate", "b"), ("train", "--resume", "b", "--epochs", 2), ("train", "f", "--from", "b")):
        code, _, err = run(*command)
        assert (code, "images.json is damaged: it lacks 'earlier', the images that '" in err) == (1, True)


# resume


def test_data_that_moved(run, trained_run, no_plots):
    shutil.copytree("r", "straight")
    assert run("train", "--resume", "straight", "--epochs", "2", "--quiet")[0] == 0
    Path("f").rename("elsewhere")
    code, _, err = run("train", "--resume", "r", "--epochs", "2", "--quiet")
    assert code == 1
    assert "on which r was trained: if it has moved, give --data FOLDER" in err
    code, _, err = run("train", "--resume", "r", "--epochs", "2", "--quiet", "--data", "elsewhere")
    assert (code, err) == (0, "")
    assert config(Path("r"))["data"] == str(Path("elsewhere").resolve())
    assert Path("r", "model.safetensors").read_bytes() == Path("straight", "model.safetensors").read_bytes()


def test_moved_data_must_be_the_same(run, trained_run):
    shutil.copytree("f", "g")
    Path("g", "dark", "0.png").unlink()
    Path("g", "dark", "1.png").write_bytes(Path("g", "light", "1.png").read_bytes())
    Path("g", "light", "1.png").unlink()
    before = {file: file.read_bytes() for file in Path("r").rglob("*") if file.is_file()}
    code, _, err = run("train", "--resume", "r", "--epochs", "2", "--quiet", "--data", "g")
    assert code == 1
    assert f"{Path('g')} are not those that r was trained on: 2 missing (" in err
    assert "dark/0.png" in err
    assert "dark/1.png" in err
    assert {file: file.read_bytes() for file in Path("r").rglob("*") if file.is_file()} == before


def test_another_version_of_the_decoder(run, trained_run):
    path = trained_run / "images.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for files in (content["train"], content["validation"]):
        files.update({name: [pair[0], "of earlier pixels"] for name, pair in files.items()})
    path.write_text(json.dumps(content), encoding="utf-8")
    code, _, err = run("train", "--resume", "r", "--epochs", "2", "--quiet")
    assert code == 1
    text = " ".join(err.split())
    assert "are the same files that r was trained on, but 20 of them (train dark/0.png, " in text
    assert "give other pixels with this version of Pillow. Install the version that the run was started with" in text


def test_names_from_a_mac(run, no_plots):
    shades("f", 10)
    for file in sorted(Path("f").rglob("*.png")):
        file.rename(file.with_name(f"{'eéèzêw'[int(file.stem) % 6]}{file.stem}.png"))
    assert run("train", "f", "--out", "r", *FAST)[0] == 0
    shutil.copytree("r", "straight")
    assert run("train", "--resume", "straight", "--epochs", "2", "--quiet")[::2] == (0, "")
    shutil.copytree("f", "g")
    for file in sorted(Path("g").rglob("*.png")):
        file.rename(file.with_name(unicodedata.normalize("NFD", file.name)))
    assert run("train", "--resume", "r", "--epochs", "2", "--quiet", "--data", "g")[::2] == (0, "")
    assert Path("r", "model.safetensors").read_bytes() == Path("straight", "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("f", "--data", "g"), "--data is for --resume: give the folder to train on without it"),
        (("--resume", "r", "--data", "nowhere"), "there is no folder"),
        (
            ("--resume", "r", "--group-by", "{group}_*"),
            "only --epochs, --fine-tune, --data and --from may change, not --group-by",
        ),
        (("f", "--group-by", "*"), "argument --group-by: expected a pattern of file names with {group} in it once"),
        (("mnist", "--group-by", "{group}_*"), "--group-by is for a folder of images: it cannot change mnist"),
    ],
)
def test_arguments_that_do_not_fit(run, trained_run, arguments, message, capsys):
    try:
        code, _, err = run("train", *arguments)
    except SystemExit as stop:
        code, err = stop.code, capsys.readouterr().err
    assert code in (1, 2)
    assert message in err


# groups, and one image a class


def test_groups_are_kept_together_and_stored(run, no_plots):
    shades("f", 12)
    for file in sorted(Path("f").rglob("*.png")):
        file.rename(file.with_name(f"p{int(file.stem) // 3}_{file.stem}.png"))
    pattern = "{group}_*"
    code, _, err = run("train", "f", "--out", "r", *FAST[:-1], "--group-by", pattern)
    assert code == 0
    assert "groups of images by {group}_*: 4" in err
    assert config(Path("r"))["group_by"] == pattern
    content = json.loads(Path("r", "images.json").read_text(encoding="utf-8"))
    sides = [{Path(name).name.split("_")[0] for name in content[split]} for split in ("train", "validation")]
    assert (len(sides[0]), len(sides[1]), sides[0] & sides[1]) == (3, 1, set())
    assert run("train", "--resume", "r", "--epochs", "2", "--quiet")[0] == 0
    assert json.loads(run("evaluate", "r", "--json")[1])["samples"] == 6


def test_one_image_a_class_is_refused_before_there_is_a_run(run):
    shades("f", 1)
    code, _, err = run("train", "f", "--out", "r")
    assert code == 1
    assert "no image can be held out for validation" in err
    assert not Path("r").exists()


# backgrounds


def test_predict_and_evaluate_repeat_the_background(run, no_plots):
    for k, name in enumerate(("flat", "tall")):
        Path("f", name).mkdir(parents=True)
        for i in range(8):
            image = Image.new("RGBA", (24, 24), (0, 0, 0, 0))
            image.paste("white", (4, 4, 8 + i, 20) if k else (4, 4, 20, 8 + i))
            image.save(f"f/{name}/{i}.png")
    code, _, err = run("train", "f", "--out", "r", *FAST[:-1])
    assert code == 0
    assert "transparent pixels become black" in err
    model = Sequential.load("r/model.safetensors")
    assert model.preprocessing["background"] == "black"
    dataset = datasets.load("f", 0, True, 16)
    out = json.loads(run("predict", "r", "f/tall/3.png", "--json")[1])
    found = {one["name"]: one["probability"] for one in out["classes"]}
    all_files = [*dataset.hashes["train"], *dataset.hashes["validation"]]
    pixels = np.concatenate([dataset.train[0], dataset.validation[0]])[all_files.index("tall/3.png")]
    expected = model.predict_proba(model.preprocess(pixels[None]))[0]
    assert found["tall"] == pytest.approx(float(expected[1]), rel=1e-5)
    assert json.loads(run("evaluate", "r", "--json")[1])["loss"] == pytest.approx(config(Path("r"))["validation_loss"])


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("background", ["white", "black", "grey"])
def test_predict_reads_with_the_fit_and_background_of_the_model(fit, background):
    image = Image.new("RGBA", (60, 30), (0, 0, 0, 0))
    image.paste("red", (5, 5, 50, 15))
    image.save("a.png")
    settings = {"fit": fit, "background": background}
    found = read_for_model("a.png", (3, 16, 16), preprocessing=settings)
    assert np.array_equal(found.pixels, read_image("a.png", 16, **settings))
    with pytest.raises(InputError, match="background must be one of white, black, grey, got 'nope'"):
        read_for_model("a.png", (3, 16, 16), preprocessing={"fit": fit, "background": "nope"})


def test_a_data_set_with_names_no_files(tmp_path):
    run_images.write(tmp_path, datasets.load("spiral", 0))
    assert run_images.read(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_names_with_control_characters_are_escaped_in_errors():
    splits = {"train": {"a/\x1b[31m.png": ("1", "2")}, "validation": {}}
    images = run_images.RunImages(splits, {}, [], True)
    with pytest.raises(InputError) as error:
        run_images.check_same(Path("r"), images, datasets.load("spiral", 0))
    assert r"1 missing (train a/\x1b[31m.png)" in str(error.value)
