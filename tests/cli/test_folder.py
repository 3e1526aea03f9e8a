"""A folder of images on the command line: loading, building, evaluation and prediction."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnn
from cnn.cli import augmentation, datasets, train_recipes
from cnn.cli.predict_images import read_for_model
from cnn.cli.train_settings import FOLDER_SETTINGS, MODELS, settings_for
from cnn.data.images import read_image
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError
from cnn.layers import Flatten, Linear, Sigmoid
from cnn.loss import BCELoss, BCEWithLogitsLoss
from cnn.sequential import Sequential
from tests.cli.example_files import json_lines
from tests.data.photos import save_with_orientation


def shades(folder, count=6, size=(40, 30), colour=True, seed=0):
    """Write dark and light images, two classes that a model learns in one epoch."""
    rng = np.random.default_rng(seed)
    for name, level in (("dark", 40), ("light", 200)):
        path = Path(folder) / name
        path.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(level - 30, level + 30, (size[1], size[0], 3), dtype=np.uint8)
            image = Image.fromarray(pixels if colour else pixels[:, :, 0])
            save_with_orientation(image, path / f"{i}.png", 1 + i % 8)


def trained(folder, run="run", **chosen):
    """Write the run folder of a training, without training."""
    settings = settings_for(folder, **chosen)
    dataset = datasets.load(folder, settings.seed, True, settings.image_size, settings.validation)
    cnn.manual_seed(0)
    model = train_recipes.plan(dataset, settings).model
    Path(run).mkdir()
    model.save(Path(run, "model.safetensors"))
    config = {"data": dataset.data, **vars(settings)}
    Path(run, "config.json").write_text(json.dumps(config), encoding="utf-8")
    return dataset, Sequential.load(Path(run, "model.safetensors"))


# load


def test_a_folder_is_a_dataset(capsys):
    shades("my images", 10)
    Path("my images", "light", "bad.jpg").touch()
    dataset = datasets.load("my images", 1)
    assert capsys.readouterr().err == "reading the images in my images ...\n"
    assert (dataset.name, dataset.title, dataset.kind) == ("my images", "the images in my images", "images")
    assert dataset.data == str(Path("my images").resolve())
    assert dataset.class_names == ["dark", "light"]
    assert [len(part[0]) for part in (dataset.train, dataset.validation, dataset.test)] == [16, 4, 4]
    assert dataset.input_shape == (3, 64, 64)
    assert not dataset.has_test
    assert dataset.notes == [
        "images per class: dark 10, light 10",
        "1 file could not be used:",
        f"  {Path('light', 'bad.jpg')} is empty (0 bytes)",
        "baseline: always guessing dark, one of the largest classes, is correct for 50.0% of the validation images",
        "there is no folder of test images: all figures are of the validation images",
        "half of the images have at most 40 pixels a side: --image-size 40 is faster than 64 and may be more accurate",
        "warning: dark has only 10 images, light only 10: at least 50 of each class are recommended",
    ]
    assert dataset.skipped == dataset.notes[1:3]


@pytest.mark.parametrize(
    ("size", "image_size", "suggested"),
    [((32, 20), 64, 32), ((8, 8), 64, 16), ((60, 60), 64, None), ((100, 80), 64, None), ((32, 32), 32, None)],
)
def test_small_images_suggest_a_smaller_net(size, image_size, suggested):
    shades("f", size=size)
    notes = [line for line in datasets.load("f", 0, True, image_size).notes if "--image-size" in line]
    assert [f"--image-size {suggested} is faster than {image_size}" in line for line in notes] == [True] * bool(
        suggested
    )


def test_the_model_reads_an_image_as_its_run_did():
    """White icons on transparency: the run chose black under them, one channel, and 16 pixels."""
    for name, box in (("left", (2, 2, 10, 18)), ("right", (10, 2, 18, 18))):
        Path("icons", name).mkdir(parents=True)
        for i in range(5):
            image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
            image.paste((255, 255, 255, 255 - i), box)
            image.save(Path("icons", name, f"{i}.png"))
    dataset, model = trained("icons", image_size=16)
    assert model.preprocessing["background"] == "black"
    for i, file in enumerate(dataset.test_files):
        pixels = model.read_image(Path("icons", file))
        assert (pixels.shape, pixels.dtype) == ((1, 16, 16), np.uint8)
        assert (pixels == dataset.test[0][i]).all()
        assert (
            pixels == read_for_model(Path("icons", file), (1, 16, 16), preprocessing=model.preprocessing).pixels
        ).all()
        assert model.predict(model.preprocess(pixels[None])).shape == (1,)
    with pytest.raises(FileNotFoundError, match=r"no file nothing\.png"):
        model.read_image("nothing.png")
    del model.preprocessing["fit"]
    with pytest.raises(InputError, match=r"not trained on a folder of images: use cnn\.data\.read_image"):
        model.read_image(Path("icons", file))


@pytest.mark.parametrize("count", [10, 12])
def test_many_classes_are_counted(count):
    rng = np.random.default_rng(0)
    for k in range(count):
        Path("f", f"a class with a name of many letters {k:02}").mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("f", f"a class with a name of many letters {k:02}", f"{i}.png"))
    notes = datasets.load("f", 0, quiet=True).notes
    assert (notes[0] == "images per class: 3 in each of 12 classes") == (count > 10)
    assert "letters 00, one of the largest classes, is correct for" in notes[1]
    assert notes[-1] == "warning: each class has only 3 images: at least 50 are recommended"
    Image.new("RGB", (8, 8)).save(Path("f", "a class with a name of many letters 04", "3.png"))
    if count > 10:
        assert datasets.load("f", 0, quiet=True).notes[0] == (
            "images per class: 12 classes; the smallest, a class with a name of many letters 00, has 3, the median is 3, "
            "the largest, a class with a name of many letters 04, has 4"
        )


def test_many_skipped_files_are_counted():
    shades("f")
    for i in range(9):
        Path("f", "dark", f"x{i}.jpg").touch()
    notes = datasets.load("f", 0, quiet=True).notes
    assert "9 files could not be used:" in notes
    assert "  and 4 more" in notes


def test_a_folder_of_test_images():
    shades("f/train")
    shades("f/test", 3)
    dataset = datasets.load("f", 0, quiet=True)
    assert dataset.has_test
    assert not any("no folder of test images" in line for line in dataset.notes)
    # copies of test images are left out of the training images, so light is the larger class
    baseline = "baseline: always guessing light, the largest class, is correct for 50.0% of the validation images"
    assert baseline in dataset.notes


def test_names_take_precedence_over_folders_and_a_path_is_a_folder(monkeypatch):
    shades("spiral")
    assert datasets.load("spiral", 0).kind == "points"
    assert datasets.load("./spiral", 0, quiet=True).kind == "images"
    assert datasets.load(str(Path("spiral").resolve()), 0, quiet=True).name == "spiral"
    monkeypatch.chdir("spiral")
    assert datasets.load(".", 0, quiet=True).name == "spiral"


def test_neither_a_name_nor_a_folder():
    with pytest.raises(InputError) as error:
        datasets.load("flowrs", 0)
    assert str(error.value) == (
        "unknown data set 'flowrs'. Known: fashion-mnist, mnist, spiral; and there is no folder flowrs"
    )
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        datasets.check_name("mnits")
    Path("a.zip").touch()
    with pytest.raises(InputError, match=r"a\.zip is a file: give a folder with one folder of images per class"):
        datasets.check_name("a.zip")


# settings and build


def test_settings_of_folders():
    chosen = settings_for("anywhere", image_size=32, validation=0.5, lr=None)
    assert (chosen.model, chosen.image_size, chosen.validation) == ("photo-cnn", 32, 0.5)
    assert chosen.lr == FOLDER_SETTINGS.lr
    assert settings_for("mnist").image_size is None
    with pytest.raises(ValueError, match="--image-size is for a folder of images: it cannot change mnist"):
        settings_for("mnist", image_size=32)
    with pytest.raises(ValueError, match="--val is for a folder of images"):
        settings_for("spiral", validation=0.1)
    with pytest.raises(ValueError, match="--model photo-cnn takes images, but spiral has points: use --model mlp"):
        settings_for("spiral", model="photo-cnn")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("size", "colour"), [(16, True), (64, False)])
def test_every_model_takes_folders(model, size, colour):
    shades("f", 3, colour=colour)
    dataset, built = trained("f", model=model, image_size=size)
    channels = 3 if colour else 1
    assert built.class_names == ["dark", "light"]
    assert built.input_shape == (channels, size, size)
    settings = built.preprocessing
    assert (settings["size"], settings["colour"]) == ([size, size], "rgb" if colour else "grey")
    x = datasets.model_inputs(built, dataset.train[0])
    assert x.dtype == np.float32
    assert abs(x.mean(axis=(0, 2, 3))).max() < 0.01
    assert built.predict_proba(x).shape == (4, 2)


def test_the_last_transform_gives_the_input_of_the_model():
    shades("f")
    dataset, model = trained("f", image_size=32)
    x, y = dataset.train
    draws = SampleRNG(seed=0, epoch=1, indices=np.arange(len(x)))
    same, _ = train_recipes.normalize(model)(x, y, draws)
    assert np.array_equal(same, datasets.model_inputs(model, x))
    before = x.copy()
    changed = x
    for transform in (*augmentation.transforms("strong+flip", (32, 32)), train_recipes.normalize(model)):
        changed, y = transform(changed, y, draws)
    assert np.array_equal(x, before)
    assert (changed.shape, changed.dtype) == (x.shape, np.float32)
    assert not np.array_equal(changed, same)
    assert datasets.load("spiral", 0).transforms == ()


def test_a_folder_can_be_learned():
    shades("f", 20)
    settings = settings_for("f", image_size=16, epochs=8)
    dataset = datasets.load("f", 0, True, settings.image_size)
    cnn.manual_seed(0)
    model = train_recipes.plan(dataset, settings).model
    x, y = dataset.train
    for epoch in range(1, settings.epochs + 1):
        for start in range(0, len(x), 8):
            batch = np.random.default_rng(epoch).permutation(len(x))[start : start + 8]
            xb, yb = x[batch], y[batch]
            for k, transform in enumerate((*dataset.transforms, train_recipes.normalize(model))):
                xb, yb = transform(xb, yb, SampleRNG(0, epoch, batch, k))
            model.train_step(xb, yb)
    assert model.evaluate(datasets.model_inputs(model, dataset.test[0]), dataset.test[1])[1] == 1


# predict and evaluate


@pytest.mark.parametrize("colour", [True, False])
def test_prediction_reads_images_as_training_does(run, colour):
    shades("f", 9, colour=colour)
    _, model = trained("f", image_size=16)
    files = sorted(Path("f").rglob("*.png"))
    code, out, err = run("predict", "run", *files, "--json")
    assert (code, err) == (0, "")
    for file, row in zip(files, json_lines(out), strict=True):
        pixels = read_image(file, 16, grey=not colour)
        expected = model.predict_proba(model.preprocess(pixels[None]))[0]
        found = {one["name"]: one["probability"] for one in row["classes"]}
        assert [found["dark"], found["light"]] == pytest.approx(expected.tolist(), rel=1e-5)
        assert row.get("inverted") == (None if colour else False)  # nobody inverts photographs in colour
        assert ("border_brightness" in row) == (not colour)


def test_predict_shows_its_input(run):
    shades("f")
    trained("f", image_size=16)
    _, out, _ = run("predict", "run", Path("f", "light", "5.png"), "--show-input", "input.png")
    assert out.startswith(f"{Path('f', 'light', '5.png')}  (40 x 30 pixels)\n")
    with Image.open("input.png") as image:
        shown = np.asarray(image)[8:-8, 8:-8]
    step = len(shown) // 16
    assert np.array_equal(shown[::step, ::step].transpose(2, 0, 1), read_image(Path("f", "light", "5.png"), 16))
    assert "inverted, as requested" in run("predict", "run", Path("f", "light", "5.png"), "--invert", "yes")[1]


def test_evaluate_uses_the_held_out_images(run, monkeypatch):
    shades("f", 10)
    dataset, model = trained("f", image_size=16, validation=0.3, seed=4)
    monkeypatch.chdir("run")  # the run stores the absolute path of the folder
    code, out, err = run("evaluate", ".")
    loss, accuracy = model.evaluate(datasets.model_inputs(model, dataset.validation[0]), dataset.validation[1])
    assert code == 0
    assert "reading the images in" in err
    first, second, *_ = out.splitlines()
    assert first.endswith(", 6 validation images, because there is no folder of test images")
    assert float(second.split()[1]) == pytest.approx(loss, abs=1e-4)
    assert f"accuracy  {accuracy:.4f}" in out


def test_evaluate_on_another_folder_uses_all_images(run):
    shades("f", 10)
    trained("f", image_size=16)
    shades("g", 3, colour=False)
    Path("g", "light", "x.jpg").touch()
    code, out, err = run("evaluate", "run", "--data", "g", "--json")
    assert code == 0
    assert json.loads(out)["samples"] == 6
    assert f"  {Path('light', 'x.jpg')} is empty (0 bytes)\n" in err


def test_evaluate_on_images_of_other_classes(run):
    shades("f")
    trained("f", image_size=16)
    shades("g")
    Path("g", "light").rename(Path("g", "bright"))
    code, _, err = run("evaluate", "run", "--data", "g")
    assert code == 1
    assert "the model has the classes dark, light, but g has bright, dark: give another --data" in err


def test_evaluate_when_the_folder_is_gone(run):
    shades("f")
    trained("f", image_size=16)
    shutil.rmtree("f")
    code, _, err = run("evaluate", "run")
    assert code == 1
    assert "there is no folder" in err
    assert "use other data with --data NAME" in err


@pytest.mark.parametrize("with_logits", [False, True])
def test_a_model_that_answers_yes_or_no_is_evaluated_on_a_folder_of_two_classes(run, with_logits):
    shades("data")
    layers = [Flatten(), Linear(3 * 8 * 8, 1), *([] if with_logits else [Sigmoid()])]
    model = Sequential(layers, loss_func=BCEWithLogitsLoss() if with_logits else BCELoss())
    model[1].weight.data = np.full((1, 192), 40 / 192)
    model[1].bias.data = [-20]
    model.input_shape = (3, 8, 8)
    model.save("m.safetensors")
    code, out, _ = run("evaluate", "m.safetensors", "--data", "data")
    assert code == 0
    assert "accuracy  1.0000  (12 of 12 correct" in out
    assert [line.split()[:3] for line in out.splitlines()[5:7]] == [
        ["dark", "1.000", "1.000"],
        ["light", "1.000", "1.000"],
    ]
    code, out, _ = run("evaluate", "m.safetensors", "--data", "data", "--json")
    assert json.loads(out)["accuracy"] == 1
