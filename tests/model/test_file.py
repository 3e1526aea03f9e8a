"""Model files: what is saved is restored, and nothing in a file can do harm."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

import cnn
from cnn.containers.branches import Concat, Residual, Sum
from cnn.core.files import read_tensors, write_tensors
from cnn.layers import (
    AdaptiveMaxPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Softmax,
    Upsample,
    ZeroPad2d,
)
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.module import Module, Parameter
from cnn.optim import Adam
from cnn.sequential import Sequential


def net():
    cnn.manual_seed(0)
    layers = [
        Conv2d(1, 4, 3, padding="same", bias=False),
        ReLU(),
        Residual(Sequential([Conv2d(4, 4, 3, padding=(1, 1), groups=2)]), shortcut=Conv2d(4, 4, 1)),
        Concat([Identity(), Sum([Identity(), ReLU()])]),
        MaxPool2d(2, ceil_mode=True),
        Flatten(),
        Dropout(0.3),
        Linear(8 * 9, 3),
        Softmax(),
    ]
    return Sequential(layers, loss_func=CrossEntropyLoss())


class Scale(Module):
    """A custom layer."""

    def __init__(self, factor=1.0):
        self.factor = factor
        self.weight = Parameter(np.full(1, factor, np.float32))

    def forward(self, x):
        self.save_for_backward(x)
        return x * self.weight.data

    def backward(self, grad):
        (x,) = self.saved()
        self.weight.accumulate_grad((grad * x).sum().reshape(1))
        return grad * self.weight.data


def test_everything_is_restored(tmp_path):
    model = net()
    model.class_names = ["T-shirt", "Hose", "Größe"]
    model.preprocessing = {"scale": 1 / 255, "mean": [0.5], "std": [0.25]}
    x = np.random.default_rng(0).random((3, 1, 5, 5))
    model.input_shape = (1, 5, 5)
    path = tmp_path / "größe 1.safetensors"
    model.save(path)
    again = Sequential.load(path)
    assert repr(again) == repr(model)
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert again.class_names == model.class_names
    assert again.preprocessing == model.preprocessing
    assert again.input_shape == (1, 5, 5)
    assert again.optimizer is None
    assert list(again.state_dict()) == list(model.state_dict())


def test_the_same_model_gives_the_same_bytes_with_one_sorted_metadata_key(tmp_path):
    for name in ("a", "b"):
        net().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="numpy") as file:
        metadata = file.metadata()
    assert list(metadata) == ["cnn"]
    assert metadata["cnn"] == json.dumps(json.loads(metadata["cnn"]), sort_keys=True)


def test_float64_and_tensors_that_are_not_contiguous(tmp_path):
    model = Sequential([Linear(2, 3)], loss_func=MSELoss()).to(np.float64)
    model[0].weight._data = np.asfortranarray(model[0].weight.data)
    model.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m")
    assert again[0].weight.dtype == np.float64
    assert (again[0].weight.data == model[0].weight.data).all()


def test_a_custom_layer(tmp_path):
    model = Sequential([Linear(2, 2, rng=0), Scale(3.0)])
    path = tmp_path / "m"
    with pytest.raises(
        ValueError, match=r"Scale is a class of your own.*save_weights.*load_weights.*classes=\[Scale\]"
    ):
        model.save(path)
    assert not path.exists()
    model.save(path, classes=[Scale])
    with pytest.raises(ValueError, match=r"'Scale'.*classes=\[Scale\]"):
        Sequential.load(path)
    again = Sequential.load(path, classes=[Scale])
    assert again[1].factor == 3.0
    x = np.ones((1, 2))
    assert (again.predict(x) == model.predict(x)).all()
    model.save_weights(path)
    other = Sequential([Linear(2, 2, rng=1), Scale()])
    other.load_weights(path)
    assert (other.predict(x) == model.predict(x)).all()


def test_a_subclass_of_a_library_layer_is_a_custom_layer(tmp_path):
    class Linear(cnn.layers.Linear):
        pass

    with pytest.raises(ValueError, match="class of your own"):
        Sequential([Linear(2, 2)]).save(tmp_path / "m")


def test_weights_of_any_module(tmp_path):
    layer, other = Linear(2, 3, rng=0), Linear(2, 3, rng=1)
    layer.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    assert (layer.weight.data == other.weight.data).all()


def test_a_loaded_model_can_be_trained(tmp_path):
    x, y = np.random.default_rng(0).random((9, 1, 5, 5)), np.arange(9) % 3
    net().save(tmp_path / "m")
    model = Sequential.load(tmp_path / "m")
    model.optimizer = Adam()
    model.fit(x, y, epochs=1, verbose_freq=0)
    assert len(model.history) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["architecture"].update({"class": "os.system"}), "'os.system'"),
        (lambda d: d["architecture"]["arguments"]["layers"][0].update({"class": "__import__"}), "__import__"),
        (lambda d: d["architecture"]["arguments"]["layers"][0]["arguments"].update({"evil": 1}), "no argument 'evil'"),
        (lambda d: d["architecture"]["arguments"]["layers"][0]["arguments"].update({"in_features": -1}), "in_features"),
        (
            lambda d: d["architecture"]["arguments"]["layers"][0]["arguments"].update({"in_features": "2"}),
            "in_features",
        ),
        (lambda d: d["architecture"]["arguments"]["layers"][0]["arguments"].update({"in_features": 3}), "wrong shape"),
        (lambda d: d["architecture"]["arguments"]["layers"][0]["arguments"].update({"rng": 3}), "no argument 'rng'"),
        (lambda d: d["architecture"]["arguments"]["layers"][0]["arguments"].pop("in_features"), "in_features"),
        (lambda d: d["architecture"]["arguments"].update({"layers": 5}), "cannot be read as a model"),
        (lambda d: d["architecture"]["arguments"].update({"layers": [5]}), "layer 0 must be a Module"),
        (lambda d: d["architecture"].pop("arguments"), "cannot be read as a model"),
        (lambda d: d.update({"architecture": [1]}), "not a Sequential"),
        (lambda d: d.update({"format": 99}), "format 99"),
        (lambda d: d.pop("input_shape"), "input_shape"),
        (lambda d: d.update({"input_shape": [-1]}), "input_shape"),
        (lambda d: d.update({"class_names": [1]}), "class_names"),
        (lambda d: d.update({"preprocessing": "eval"}), "preprocessing"),
    ],
)
def test_a_description_that_was_tampered_with(tmp_path, change, says):
    path = tmp_path / "m"
    Sequential([Linear(2, 3)]).save(path)
    tensors, description = read_tensors(path)
    change(description)
    write_tensors(path, tensors, description)
    with pytest.raises(ValueError, match="m") as caught:
        Sequential.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_huge_layer_in_a_small_file_is_rejected_before_memory_is_allocated(tmp_path):
    path = tmp_path / "m"
    Sequential([Linear(2, 3)]).save(path)
    tensors, description = read_tensors(path)
    description["architecture"]["arguments"]["layers"][0]["arguments"]["in_features"] = 10**7
    write_tensors(path, tensors, description)
    with pytest.raises(ValueError, match="more"):
        Sequential.load(path)


def test_a_shared_weight_is_restored_in_both_layers(tmp_path):
    first, second = Linear(2, 2, rng=0), Linear(2, 2, rng=1)
    second.weight = first.weight
    model = Sequential([first, ReLU(), second])
    model.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m")
    assert (again.predict(np.eye(2)) == model.predict(np.eye(2))).all()
    assert again[2].weight is again[0].weight
    assert len(again.parameters()) == 3


def test_numpy_values_in_the_extras(tmp_path):
    model = Sequential([Linear(2, 2)])
    model.class_names = np.array(["a", "b"])
    model.preprocessing = {"scale": np.float32(0.5), "mean": np.zeros(1), "std": 1}
    model.save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").preprocessing == {"scale": 0.5, "mean": [0.0], "std": 1}


def test_a_link_stays_a_link_and_a_private_file_private(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    Sequential([Linear(2, 2)]).save(target)
    target.chmod(0o600)
    link.symlink_to(target)
    Sequential([Linear(2, 5)]).save(link)
    assert link.is_symlink()
    assert Sequential.load(target)[0].out_features == 5
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_with_many_large_layers_is_rejected_at_once(tmp_path):
    path = tmp_path / "m"
    Sequential([Linear(300, 300)]).save(path)
    tensors, description = read_tensors(path)
    description["architecture"]["arguments"]["layers"] *= 1000
    write_tensors(path, tensors, description)
    with pytest.raises(ValueError, match="more than"):
        Sequential.load(path)


def test_two_fresh_processes_with_one_seed_write_the_same_bytes(tmp_path):
    """A convolutional net with dropout, large enough that threads share its work."""
    program = """if True:
        import sys
        import numpy as np
        import cnn
        from cnn.loss import CrossEntropyLoss
        from cnn.optim import Adam
        from cnn.zoo import small_cnn
        cnn.manual_seed(3)
        model = small_cnn()
        model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
        rng = np.random.default_rng(0)
        model.fit(rng.random((150, 1, 28, 28)), rng.integers(0, 10, 150), epochs=2, batch_size=64, verbose_freq=0)
        model.save(sys.argv[1])
    """
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def model_of(**extras):
    model = Sequential([Conv2d(2, 3, 2), ReLU(), Flatten(), Linear(12, 4), Softmax()], loss_func=CrossEntropyLoss())
    model.input_shape = (2, 3, 3)
    for name, value in extras.items():
        setattr(model, name, value)
    return model


EXTRAS_THAT_ARE_WRONG = [
    ("input_shape", True, "input_shape must be a list of positive integers, got True"),
    ("input_shape", [True, 3, 3], "input_shape must be a list of positive integers"),
    ("input_shape", [2.0, 3, 3], "input_shape must be a list of positive integers"),
    ("input_shape", [0, 3, 3], "input_shape must be a list of positive integers"),
    ("input_shape", [2**70], "input_shape must have at most 2**28 numbers"),
    ("input_shape", [2**31, 3, 3], "input_shape must have at most 2**28 numbers"),
    ("input_shape", [1] * 33, "input_shape must have at most 2**28 numbers and 32 axes"),
    ("input_shape", "233", "input_shape must be a list of positive integers"),
    ("input_shape", [3, 3, 3], "its layers cannot work with inputs of its input_shape (3, 3, 3)"),
    ("class_names", "abcd", "class_names must be a list of strings"),
    ("class_names", [], "class_names must be a list of strings"),
    ("class_names", ["a", "b", None, "d"], "class_names must be a list of strings"),
    ("class_names", ["a", "b", "c"], "class_names must have 4 names, one for each output of the model, got 3"),
    ("class_names", ["a", "b", "c", "d", "e"], "class_names must have 4 names"),
    ("preprocessing", [], "preprocessing must be a dict"),
    ("preprocessing", {"scale": [0.5]}, "the scale of preprocessing must be a finite number, got [0.5]"),
    ("preprocessing", {"scale": True}, "the scale of preprocessing must be a finite number"),
    ("preprocessing", {"scale": None}, "the scale of preprocessing must be a finite number"),
    ("preprocessing", {"scale": float("nan")}, "the scale of preprocessing must be a finite number"),
    ("preprocessing", {"scale": 1e300}, "the scale of preprocessing must be a finite number"),
    ("preprocessing", {"scale": 2**2000}, "the scale of preprocessing must be a finite number"),
    ("preprocessing", {"mean": ["a", 1]}, "the mean of preprocessing must be finite numbers"),
    ("preprocessing", {"mean": []}, "the mean of preprocessing must be finite numbers"),
    ("preprocessing", {"mean": [[1.0], 2.0]}, "the mean of preprocessing must be finite numbers"),
    ("preprocessing", {"mean": [0.1, 0.2, 0.3]}, "the mean of preprocessing must be one number, or 2"),
    ("preprocessing", {"std": [1.0, 0.0]}, "the std of preprocessing must be finite numbers other than 0"),
    ("preprocessing", {"std": 1e-60}, "the std of preprocessing must be finite numbers other than 0"),
    ("preprocessing", {"std": float("inf")}, "the std of preprocessing must be finite numbers other than 0"),
]


@pytest.mark.parametrize(("name", "value", "says"), EXTRAS_THAT_ARE_WRONG)
@pytest.mark.parametrize("route", ["load", "save"])
def test_extras_that_are_wrong(tmp_path, route, name, value, says):
    """They are refused when a file is read, and before one is written that could not be read."""
    path = tmp_path / "m"
    if route == "save":
        with pytest.raises(ValueError, match=re.escape(says)):
            model_of(**{name: value}).save(path)
        assert not path.exists()
        return
    model_of().save(path)
    tensors, description = read_tensors(path)
    write_tensors(path, tensors, {**description, name: value})
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        Sequential.load(path)
    assert str(path) in str(caught.value)


def test_equal_class_names_are_refused_by_save_and_reported_by_load(tmp_path):
    """Older versions wrote them, and their files are still read."""
    path, says = tmp_path / "m", "class_names must be different from each other, but 'a' is there twice"
    with pytest.raises(ValueError, match=says):
        model_of(class_names=["a", "b", "c", "a"]).save(path)
    assert not path.exists()
    model_of().save(path)
    tensors, description = read_tensors(path)
    write_tensors(path, tensors, {**description, "class_names": ["a", "b", "c", "a"]})
    with pytest.warns(UserWarning, match=says) as caught:
        model = Sequential.load(path)
    assert model.class_names == ["a", "b", "c", "a"]
    assert caught[0].filename == __file__
    np.testing.assert_equal(model.state_dict(), tensors)


@pytest.mark.parametrize(
    ("layers", "shape", "names"),
    [
        ([Linear(3, 1)], (3,), ["no", "yes"]),
        ([Linear(3, 1)], (3,), ["rain"]),
        ([Conv2d(1, 5, 3, padding=1)], (1, 8, 8), list("abcde")),
        ([Conv2d(1, 5, 3, padding=1)], (1, 8, 8), None),
        ([BatchNorm2d(3, track_running_stats=False)], (3, 8, 8), list("abc")),
        ([Scale()], (3,), list("abc")),
    ],
)
def test_class_names_that_fit(tmp_path, layers, shape, names):
    model = Sequential(layers)
    model.input_shape, model.class_names = shape, names
    model.save(tmp_path / "m", classes=[Scale])
    again = Sequential.load(tmp_path / "m", classes=[Scale])
    assert (again.input_shape, again.class_names) == (shape, names)


@pytest.mark.parametrize(
    ("layer", "argument", "value"),
    [
        (AdaptiveMaxPool2d(2), "output_size", 2**13),
        (AdaptiveMaxPool2d(2), "output_size", [2**40, 1]),
        (ZeroPad2d(1), "padding", 2**31),
        (ZeroPad2d(1), "padding", 4096),  # 67 million numbers for each channel
        (Upsample(2), "scale_factor", 2**20),
        (MaxPool2d(2), "kernel_size", 2**63),
        (Flatten(), "start_dim", 2**70),
    ],
)
def test_arguments_without_weights_that_would_need_endless_time_or_memory(tmp_path, layer, argument, value):
    path = tmp_path / "m"
    model = Sequential([layer])
    model.input_shape = (8, 8, 8)
    model.save(path)
    tensors, description = read_tensors(path)
    description["architecture"]["arguments"]["layers"][0]["arguments"][argument] = value
    write_tensors(path, tensors, description)
    with pytest.raises(ValueError, match=r"must be at most|2\*\*28 numbers|takes no argument"):
        Sequential.load(path)
