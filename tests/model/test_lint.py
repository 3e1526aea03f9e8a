"""Probable mistakes are reported once, and correct nets give no warning."""

import warnings

import numpy as np
import pytest

from cnn import Concat, Residual, Sequential, ShapeError, zoo
from cnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Identity, Linear, ReLU, Sigmoid, Softmax
from cnn.loss import BCELoss, CrossEntropyLoss, MSELoss
from cnn.model.lint import ModelWarning
from cnn.module import Module
from cnn.optim import Adam


def warnings_from(model, shape):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.build(shape)
    assert all(issubclass(warning.category, ModelWarning) for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("layers", "shape", "loss", "words"),
    [
        ([Linear(2, 3), Linear(3, 1)], (2,), None, ["layers 0 and 1", "ReLU()"]),
        ([Linear(2, 3), Dropout(), Identity(), Sequential([Linear(3, 1)])], (2,), None, ["layers 0 and 3.0"]),
        ([Conv2d(1, 2, 3), BatchNorm2d(2)], (1, 5, 5), None, ["layer 0, Conv2d", "layer 1, BatchNorm2d", "bias=False"]),
        ([Linear(2, 3), BatchNorm1d(3)], (2,), None, ["layer 0, Linear", "bias=False"]),
        ([Residual(Sequential([Conv2d(1, 1, 1), BatchNorm2d(1)]))], (1, 5, 5), None, ["layer 0.body.0, Conv2d", "bias=False"]),
        ([ReLU(), Linear(5, 2)], (1, 4, 5), None, ["layer 1, Linear", "Flatten()"]),
        ([Linear(2, 3), ReLU(), Softmax()], (2,), CrossEntropyLoss(), ["layer 1, ReLU", "remove it"]),
        ([Linear(2, 3), Softmax(), Softmax()], (2,), CrossEntropyLoss(), ["layers 1 and 2 are Softmax and Softmax", "remove one"]),
        ([Linear(2, 3), Sigmoid(), Dropout(), Softmax()], (2,), CrossEntropyLoss(), ["layer 1, Sigmoid", "remove it"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_layer_and_what_to_change(layers, shape, loss, words):
    [text] = warnings_from(Sequential(layers, loss_func=loss), shape)
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("layers", "shape", "loss"),
    [
        ([Linear(2, 3), ReLU(), Linear(3, 3), Softmax()], (2,), CrossEntropyLoss()),
        ([Linear(2, 3), ReLU(), Dropout(), Linear(3, 1), Sigmoid()], (2,), BCELoss()),
        ([Linear(2, 3), ReLU()], (2,), MSELoss()),
        ([Conv2d(1, 2, 3, bias=False), BatchNorm2d(2), ReLU(), Flatten(), Linear(18, 1)], (1, 5, 5), None),
        ([Conv2d(1, 2, 3), ReLU(), BatchNorm2d(2)], (1, 5, 5), None),
        ([Concat([Linear(2, 3), Linear(2, 3)])], (2,), None),
        ([Linear(4, 2)], (3, 4), None),
    ],
)
def test_correct_nets_give_no_warning(layers, shape, loss):
    assert warnings_from(Sequential(layers, loss_func=loss), shape) == []


@pytest.mark.parametrize("name", zoo.__all__)
def test_the_nets_of_the_zoo_give_no_warning(name):
    model = getattr(zoo, name)()
    model.loss_func = CrossEntropyLoss()
    grey = dict.fromkeys(("lenet5", "small_cnn", "fashion_cnn"), (1, 28, 28))
    shape = {"mlp": (2,), "unet": (1, 32, 32), **grey}.get(name, (3, 32, 32))
    assert warnings_from(model, shape) == []


def test_the_first_call_warns_once_and_points_at_the_users_line():
    model = Sequential([Linear(2, 3), Linear(3, 1)], loss_func=MSELoss(), optimizer=Adam())
    x = np.ones((4, 2), np.float32)
    with pytest.warns(ModelWarning) as caught:
        model(x)
    assert [warning.filename for warning in caught] == [__file__]
    model(x)  # warnings are errors here
    model.fit(x, np.ones((4, 1)), epochs=1, verbose_freq=0)


def test_build_returns_every_shape_and_computes_nothing():
    class Counting(Module):
        seen = 0

        def forward(self, x):
            Counting.seen += len(x)
            return x

    model = Sequential([Conv2d(3, 8, 3, padding=1), Sequential([Counting(), Flatten()]), Linear(8 * 36, 5)])
    shapes = model.build((3, 6, 6))
    assert shapes == {"0": (8, 6, 6), "1.0": (8, 6, 6), "1.1": (288,), "1": (288,), "2": (5,)}
    assert Counting.seen == 0
    assert model.input_shape == (3, 6, 6)


def test_build_names_the_layer_and_the_number_to_change():
    model = Sequential([Conv2d(1, 4, 3), Sequential([Flatten(), Linear(20, 3)])])
    with pytest.raises(
        ShapeError, match=r"^layer 1\.1, Linear.*: expected \(N, 20\), got \(N, 2704\): set in_features=2704$"
    ):
        model.build((1, 28, 28))
    with pytest.raises(ValueError, match="each size in input_shape must be an integer of at least 1"):
        model.build((1, 28, 0))


def test_the_first_call_runs_every_layer_once():
    class Counting(Module):
        seen = ()

        def forward(self, x):
            Counting.seen += (len(x),)
            return x

    Sequential([Counting()])(np.ones((2, 3)))
    assert Counting.seen == (2,)


def test_a_forward_hook_around_the_first_call_sees_every_layer():
    model = Sequential([Linear(2, 3), Linear(3, 1)])
    with pytest.warns(ModelWarning):
        assert list(model.activations(np.ones((4, 2)))) == ["0", "1"]
    with pytest.warns(ModelWarning, match="layers 0 and 1"):
        model.build((2,))  # an explicit call warns again


def test_build_works_with_layers_that_need_samples():
    class Scaled(Module):
        def forward(self, x):
            return x / max(x.max(), 1)

    assert Sequential([Scaled(), Linear(3, 2)]).build((3,)) == {"0": (3,), "1": (2,)}
    assert Sequential([BatchNorm2d(2, track_running_stats=False)]).build((2, 4, 4)) == {"0": (2, 4, 4)}
    with pytest.raises(ShapeError, match=r"got \(N, 3\): set in_features=3"):
        Sequential([Scaled(), Linear(4, 2)]).build((3,))


def test_nets_that_may_be_intended_give_no_warning():
    class ChannelsLast(Module):
        def forward(self, x):
            return x.transpose(0, 2, 3, 1)

    assert warnings_from(Sequential([Conv2d(1, 4, 3), ChannelsLast(), Linear(4, 2)]), (1, 5, 5)) == []
    assert warnings_from(Sequential([ReLU(), Linear(5, 7), BatchNorm1d(3)]), (3, 5)) == []
    assert warnings_from(Sequential([Linear(50, 2, bias=False), Linear(2, 50)]), (50,)) == []
