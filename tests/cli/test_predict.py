"""`cnn predict`: images of all kinds, the input that the model gets, and the output."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.cli.predict_images import contact_sheet, read_for_model
from cnn.layers import Conv2d, Flatten, Linear, Sigmoid, Softmax
from cnn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from cnn.sequential import Sequential
from tests.cli.example_files import json_lines, write_image


def read_pixels(file):
    with Image.open(file) as image:
        return np.asarray(image)


def test_blocks_and_percentages(run, brightness_model):
    write_image("a.png")
    write_image("b.jpg", size=(640, 480), background=20, square=250)
    code, out, err = run("predict", brightness_model, "a.png", "b.jpg", "--top", "2")
    assert (code, err) == (0, "")
    first, second = out.split("\n\n")
    assert first.splitlines()[0] == "a.png  (60 x 40 pixels, inverted: its border is light, 255 of 255)"
    assert second.splitlines()[0] == "b.jpg  (640 x 480 pixels, not inverted: its border is dark, 20 of 255)"
    rows = first.splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["dark", "light"]
    assert [float(row.split()[0]) for row in rows] == sorted((float(row.split()[0]) for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("invert", "top_class", "reason"),
    [
        ("auto", "dark", "inverted: its border is light, 250"),
        ("yes", "dark", "inverted, as requested"),
        ("no", "light", "not inverted, as requested"),
    ],
)
def test_invert_of_a_light_image(run, brightness_model, invert, top_class, reason):
    write_image("a.png", background=250)
    _, out, _ = run("predict", brightness_model, "a.png", "--invert", invert, "--top", "1")
    assert out.splitlines()[1].endswith(f" %  {top_class}")
    assert reason in out.splitlines()[0]


@pytest.mark.parametrize("border", [127, 128])
def test_the_border_alone_decides(brightness_model, border):
    image = Image.new("L", (80, 80), 255 - border)
    image.paste(border, (0, 0, 80, 2))
    image.paste(border, (0, 78, 80, 80))
    image.paste(border, (0, 0, 2, 80))
    image.paste(border, (78, 0, 80, 80))
    image.save("a.png")
    result = read_for_model("a.png", (1, 8, 8))
    assert (result.border, result.inverted) == (border, border > 127.5)


def test_images_for_colour_models_are_inverted_only_on_request(run, colour_model):
    Image.new("RGB", (9, 9), (250, 200, 200)).save("a.png")
    code, out, _ = run("predict", colour_model, "a.png", "--top", "1")
    assert code == 0
    assert out.startswith("a.png  (9 x 9 pixels)\n")
    assert out.splitlines()[1].endswith("class 0")
    _, out, _ = run("predict", colour_model, "a.png", "--top", "1", "--invert", "yes")
    assert "inverted, as requested" in out
    assert not out.splitlines()[1].endswith("class 0")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("background", [255, 0])
def test_modes(mode, background):
    if mode == "I;16":
        array = np.full((40, 60), background * 257, np.uint16)
        array[14:27, 24:37] = (255 - background) * 257
        Image.fromarray(array).save("a.png")
    else:
        write_image("a.png", background=background, square=255 - background, mode=mode)
    result = read_for_model("a.png", (1, 40, 60), invert="no").pixels
    assert (result.dtype, result.shape) == (np.uint8, (1, 40, 60))
    assert (result[0, 0, 0], result[0, 20, 30]) == (background, 255 - background)
    assert read_for_model("a.png", (3, 28, 28)).pixels.shape == (3, 28, 28)


def test_16_bits_keep_their_brightness():
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save("a.png")
    result = read_for_model("a.png", (1, 8, 8), invert="no").pixels
    assert np.array_equal(result[0], np.round(np.arange(64).reshape(8, 8) * 1000 / 257))


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpegs(mode):
    write_image("a.jpg", mode=mode)
    result = read_for_model("a.jpg", (1, 28, 28)).pixels[0]
    assert result[14, 14] > 240
    assert result[:, 0].max() < 10


def test_transparent_is_white():
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (8, 8, 12, 12))
    image.save("a.png")
    result = read_for_model("a.png", (1, 20, 20), invert="no").pixels[0]
    assert (result[0, 0], result[10, 10]) == (255, 0)
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.paste(1, (8, 8, 12, 12))
    palette.save("b.png", transparency=0)
    result = read_for_model("b.png", (1, 20, 20), invert="no").pixels[0]
    assert (result[0, 0], result[10, 10]) == (255, 9)


def test_light_objects_on_a_transparent_background_become_light_on_black():
    image = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    image.paste((250, 240, 230, 255), (5, 5, 15, 15))
    image.save("a.png")
    result = read_for_model("a.png", (1, 20, 20))
    assert (result.inverted, result.border) == (False, 0)
    assert result.pixels[0, 0, 0] == 0
    assert result.pixels[0, 10, 10] > 230
    Image.new("RGBA", (20, 20), (255, 255, 255, 0)).save("b.png")  # completely transparent
    assert read_for_model("b.png", (1, 20, 20), invert="no").pixels.min() == 255


@pytest.mark.parametrize(("square", "warned"), [(105, True), (115, True), (116, False)])
def test_images_of_nearly_one_colour(run, brightness_model, square, warned):
    write_image("a.png", size=(8, 8), background=100, square=square)
    code, _, err = run("predict", brightness_model, "a.png")
    line = "warning: a.png: the image is nearly one colour; --show-input FILE shows the input of the model\n"
    assert (code, err) == (0, line if warned else "")
    if warned:
        assert "nearly one colour; see b.png\n" in run("predict", brightness_model, "a.png", "--show-input", "b.png")[2]


def test_colour_images_of_one_colour(run, colour_model):
    Image.new("RGB", (9, 9), (250, 100, 0)).save("a.png")
    assert "nearly one colour" in run("predict", colour_model, "a.png")[2]


def test_images_are_rotated_as_exif_says():
    image = Image.new("RGB", (40, 20), "white")
    image.paste("black", (0, 0, 10, 20))  # left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise: left becomes top
    image.save("a.jpg", exif=exif)
    result = read_for_model("a.jpg", (1, 40, 20), invert="no")
    assert result.size == (20, 40)
    assert result.pixels[0, 2].max() < 50
    assert result.pixels[0, -2].min() > 200


def test_an_image_of_the_size_of_the_model_is_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save("a.png")
    assert np.array_equal(read_for_model("a.png", (1, 28, 28), invert="no").pixels[0], pixels)
    assert np.array_equal(read_for_model("a.png", (1, 28, 28), invert="yes").pixels[0], 255 - pixels)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (28, 14), (56, 28), (1000, 700), (60, 1000)])
def test_proportions_are_kept_and_the_rest_is_background(size):
    Image.new("L", size, 200).save("a.png")
    result = read_for_model("a.png", (1, 28, 28), invert="no").pixels
    assert result.min() == result.max() == 200
    if min(size) > 2:
        Image.fromarray(np.pad(np.zeros((size[1] - 2, size[0] - 2), np.uint8), 1, constant_values=255)).save("b.png")
        columns = np.flatnonzero(read_for_model("b.png", (1, 28, 28), invert="no").pixels[0].min(axis=0) < 100)
        assert abs(len(columns) - 28 * min(1, size[0] / size[1])) <= 2


def test_json(run, brightness_model):
    write_image("a.png")
    code, out, err = run("predict", brightness_model, "a.png", "b.png", "--json", "--top", "5")
    first, second = json_lines(out)
    assert code == 1
    assert err == "error: there is no file b.png\n"
    assert (first["image"], first["inverted"], first["border_brightness"]) == ("a.png", True, 255)
    assert [row["name"] for row in first["classes"]] == ["dark", "light"]
    assert sum(row["probability"] for row in first["classes"]) == pytest.approx(1)
    assert second == {"image": "b.png", "error": "there is no file b.png"}


def test_show_input(run, brightness_model):
    write_image("a.png", size=(40, 40))
    write_image("b.png", background=0, square=255)
    code, _, err = run("predict", brightness_model, "a.png", "--show-input", "input.png")
    assert (code, err) == (0, "the input of the model is saved in input.png\n")
    shown = read_pixels("input.png")
    result = read_for_model("a.png", (1, 8, 8)).pixels[0]
    assert shown.shape == (296, 296, 3)
    assert np.array_equal(shown[8:-8, 8:-8, 0][::35, ::35], result)
    assert np.array_equal(shown[8:-8, 8:-8, 2][34::35, 34::35], result)
    assert run("predict", brightness_model, *["a.png", "b.png"] * 5, "--show-input", "input.png")[0] == 0
    assert read_pixels("input.png").shape == (2 * 288 + 8, 8 * 288 + 8, 3)


def test_show_input_in_colours(run, colour_model):
    Image.new("RGB", (9, 9), (250, 200, 100)).save("a.png")
    run("predict", colour_model, "a.png", "--show-input", "input.png")
    assert tuple(read_pixels("input.png")[100, 100]) == (250, 200, 100)


def test_show_input_that_cannot_be_written(run, brightness_model):
    write_image("a.png")
    code, out, err = run("predict", brightness_model, "a.png", "--show-input", Path("nowhere", "input.png"))
    assert code == 1
    assert out.startswith("a.png")
    assert "could not write" in err
    assert "there is no folder nowhere; create it first" in err


def test_large_images_are_not_enlarged():
    assert read_pixels(io.BytesIO(contact_sheet([np.zeros((1, 300, 200), np.uint8)]))).shape == (316, 216, 3)


def save_model(shape, path):
    model = Sequential([Flatten(), Linear(int(np.prod(shape or (4,))), 2), Softmax()], loss_func=CrossEntropyLoss())
    model.input_shape = shape
    model.save(path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, "does not contain the shape of its inputs: set model.input_shape = (1, 28, 28) before save"),
        ((2,), "the model takes inputs of 2 numbers, not images of 1 or 3 channels x height x width"),
        ((4, 8, 8), "the model takes inputs of 4 x 8 x 8, not images"),
    ],
)
def test_models_that_do_not_take_images(run, shape, message):
    write_image("a.png")
    save_model(shape, "m.safetensors")
    code, out, err = run("predict", "m.safetensors", "a.png")
    assert (code, out) == (1, "")
    assert message in err


def test_the_models_own_preprocessing_is_used(run):
    model = Sequential([Flatten(), Linear(1, 2), Softmax()], loss_func=CrossEntropyLoss())
    model[1].weight.data, model[1].bias.data = [[1], [-1]], [0, 0]
    model.input_shape, model.preprocessing = (1, 1, 1), {"scale": 1.0, "mean": [100.0], "std": [50.0]}
    model.save("m.safetensors")
    Image.new("L", (1, 1), 125).save("a.png")
    _, out, _ = run("predict", "m.safetensors", "a.png", "--invert", "no", "--json")
    first = json.loads(out)["classes"][0]
    assert first == {"name": "class 0", "probability": pytest.approx(1 / (1 + np.exp(-1)), rel=1e-5)}


@pytest.mark.parametrize(
    ("names", "outputs", "expected"),
    [
        (["cat", "dog"], 1, ["90.0 %  dog", "10.0 %  cat"]),
        (None, 1, ["90.0 %  yes", "10.0 %  no"]),
        (["sun", "sea", "sky"], 3, ["90.0 %  sun", "90.0 %  sea", "10.0 %  sky"]),
        (None, 3, ["90.0 %  label 0", "90.0 %  label 1", "10.0 %  label 2"]),
    ],
)
@pytest.mark.parametrize("with_logits", [True, False])
def test_models_that_answer_yes_or_no(run, names, outputs, expected, with_logits):
    """One output is the probability of the second class; several outputs are one label each."""
    linear = Linear(4, outputs)
    linear.weight.data = np.zeros((outputs, 4))
    linear.bias.data = np.log(9) * np.array([1, 1, -1])[:outputs]
    last = [] if with_logits else [Sigmoid()]
    model = Sequential([Flatten(), linear, *last], loss_func=BCEWithLogitsLoss() if with_logits else BCELoss())
    model.input_shape, model.class_names = (1, 2, 2), names
    model.save("model.safetensors")
    write_image("a.png")
    code, out, _ = run("predict", "model.safetensors", "a.png")
    assert code == 0
    assert [row.strip() for row in out.splitlines()[1:]] == expected


@pytest.mark.parametrize(
    ("layers", "loss_func", "says"),
    [
        ([Conv2d(1, 3, 1), Softmax()], CrossEntropyLoss(), "no single class for an image, but outputs of 3 x 8 x 8"),
        ([Conv2d(1, 1, 1)], BCEWithLogitsLoss(), "no single class for an image, but outputs of 1 x 8 x 8"),
        ([Flatten(), Linear(64, 1)], MSELoss(), r"has no classes: its loss is MSELoss\(\), without"),
        ([Flatten(), Linear(64, 1)], None, "has no classes: its loss is None, without a final Softmax"),
    ],
)
def test_a_model_without_one_class_for_each_image(run, layers, loss_func, says):
    model = Sequential(layers, loss_func=loss_func)
    model.input_shape = (1, 8, 8)
    model.save("m.safetensors")
    write_image("a.png")
    code, out, err = run("predict", "m.safetensors", "a.png")
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"error: the model .*{says}.*: use model.predict\(x\) in Python\n", err)
