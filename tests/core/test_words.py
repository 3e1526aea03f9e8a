"""Words of other libraries: each error names ours, and what works today stays as it is."""

import copy
import inspect
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import cnn
from cnn import data, layers, loss, optim, training, zoo
from cnn.cli.parser import Parser
from cnn.cli.train import add_arguments
from cnn.core.explain import NotHere, explain_arguments
from cnn.core.words import ATTRIBUTES, INSTEAD_OF, NAMES, WORDS_FOR
from cnn.layers import Conv2d, Dropout, Flatten, Linear, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.module import Module, Parameter
from cnn.optim import SGD, Adam, Optimizer
from cnn.sequential import Sequential

X, Y = np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1])


def model():
    return Sequential([Flatten(), Linear(4, 2)], CrossEntropyLoss(from_logits=True), Adam())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: model().fit(X, Y, verbose=0), "fit has no argument 'verbose': use verbose_freq"),
        (lambda: model().fit(X, Y, n_epochs=1), "fit has no argument 'n_epochs': use epochs"),
        (lambda: model().fit(X, Y, max_iter=1), "use epochs"),
        (lambda: model().fit(X, Y, epoch=1), "did you mean epochs?"),
        (lambda: model().fit(X, Y, batchsize=1), "did you mean batch_size?"),
        (lambda: model().fit(X, Y, val_data=(X, Y)), "use validation_data"),
        (lambda: model().fit(X, Y, validation_fraction=0.5), "use validation_split"),
        (lambda: model().fit(X, Y, shuffle=True), "a new order in each epoch"),
        (lambda: model().fit(X, Y, metrics=["accuracy"]), "cnn.metrics"),
        (lambda: model().fit(X, Y, learning_rate=0.1), "Adam(lr=0.001)"),
        (lambda: model().fit(X, Y, random_state=0), "use rng"),
        (lambda: model().evaluate(X, Y, verbose=0), "leave it out: it prints nothing"),
        (lambda: model().predict(X, device="cuda"), "everything runs on the CPU"),
        (lambda: model().predict(features=X), "use x"),
        (lambda: model().backward(), "model.loss_func.backward()"),
        (lambda: training.train(model(), X, Y, n_epochs=1), "train has no argument 'n_epochs': use epochs"),
        (lambda: Sequential([Flatten()], loss="mse"), "Sequential has no argument 'loss': use loss_func"),
        (lambda: Sequential([Flatten()], criterion=CrossEntropyLoss()), "use loss_func"),
        (lambda: Conv2d(1, filters=8, kernel_size=3), "Conv2d has no argument 'filters': use out_channels"),
        (lambda: Conv2d(1, 8, kernel=3), "use kernel_size"),
        (lambda: Conv2d(1, 8, 3, strides=2), "use stride"),
        (lambda: Conv2d(1, 8, 3, activation="relu"), "ReLU() after this one"),
        (lambda: Linear(4, units=2), "use out_features"),
        (lambda: Linear(4, 2, use_bias=False), "use bias"),
        (lambda: Dropout(rate=0.5), "use p"),
        (lambda: ReLU(inplace=True), "ReLU has no argument 'inplace': leave it out: no layer writes into its input"),
        (lambda: ReLU(True), "ReLU takes no arguments, got True"),
        (lambda: Flatten(start_dim=1), "all axes but the first"),
        (lambda: layers.MaxPool2d(pool_size=2), "use kernel_size"),
        (lambda: layers.BatchNorm2d(4, epsilon=1e-3), "BatchNorm2d has no argument 'epsilon': use eps"),
        (lambda: layers.Softmax(axis=1), "use dim"),
        (lambda: loss.BCELoss(from_logits=True), "BCEWithLogitsLoss()"),
        (lambda: CrossEntropyLoss(from_logit=True), "did you mean from_logits?"),
        (lambda: Adam(model().parameters(), learning_rate=0.1), "Adam has no argument 'learning_rate': use lr"),
        (lambda: Adam(beta_1=0.9), "betas=(0.9, 0.999)"),
        (lambda: SGD(decay=0.1), "use weight_decay"),
        (lambda: optim.StepLR(Adam(), step=3), "did you mean step_size?"),
        (lambda: optim.ReduceLROnPlateau(Adam(), gamma=0.1), "use factor"),
        (lambda: data.DataLoader(X, Y, num_workers=2), "DataLoader has no argument 'num_workers': leave it out"),
        (lambda: data.DataLoader(X, Y, transform=[]), "use transforms"),
        (lambda: data.HorizontalFlip(prob=0.5), "HorizontalFlip has no argument 'prob': use p"),
        (lambda: data.Rotation(angle=5), "use degrees"),
        (lambda: data.ImageFolder("photos"), "ImageFolder: use cnn.data.image_folder(path)"),
        (lambda: data.ImageFolder(root="photos", transform=None), "ImageFolder: use cnn.data.image_folder(path)"),
        (lambda: data.image_folder("photos", target_size=64), "image_folder has no argument 'target_size': use image_size"),
        (lambda: data.image_folder("photos", batch_size=64), "DataLoader(x, y, batch_size=32)"),
        (lambda: data.image_folder("photos", transform=[]), "DataLoader(x, y, transforms=[...])"),
        (lambda: data.image_folder("photos", validation_split=0.1), "use validation"),
        (lambda: training.EarlyStopping(restore_best_weights=True), "ends with its best weights"),
        (lambda: training.Checkpoint(filepath="x"), "use folder"),
        (lambda: Dropout(qwertz=1), "it takes p, rng"),
    ],
)  # fmt: skip
def test_an_argument_of_another_library_names_ours(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    assert said in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: model().compile, "Sequential has no compile: pass loss_func and optimizer"),
        (lambda: model().train_on_batch, "use train_step(x, y)"),
        (lambda: model().partial_fit, "train_step"),
        (lambda: model().score, "use evaluate(x, y)"),
        (lambda: model().cuda, "everything runs on the CPU"),
        (lambda: Conv2d(1, 1, 1).cpu, "Conv2d has no cpu: leave it out"),
        (lambda: CrossEntropyLoss().cuda, "CrossEntropyLoss has no cuda"),
        (lambda: Parameter([1.0]).numpy, "Parameter has no numpy: it holds a NumPy array: use .data"),
        (lambda: Parameter([1.0]).detach, "use .data"),
        (lambda: Adam().learning_rate, "Adam has no learning_rate: use lr"),
        (lambda: training.History().history, "history.train_loss"),
        (lambda: model().count_params, "model.summary()"),
        (lambda: model().weights, "use parameters()"),
        (lambda: Linear(2, 2).weights, "Linear has no weights: use parameters(), or weight of a layer"),
        (lambda: Conv2d(1, 1, 1).kernel, "Conv2d has no kernel: use weight"),
        (lambda: data.random_split, "validation_split=0.2"),
        (lambda: zoo.resnet18, "did you mean resnet?"),
        (lambda: zoo.vgg16, "use vgg()"),
        (lambda: layers.Conv2D, "did you mean Conv2d?"),
        (lambda: layers.Dense, "use Linear(in_features, out_features)"),
        (lambda: loss.MeanSquaredError, "use MSELoss"),
        (lambda: optim.lr_scheduler, "cnn.optim.StepLR"),
        (lambda: optim.RMSProp, "did you mean RMSprop?"),
        (lambda: cnn.nn, "cnn.layers"),
        (lambda: cnn.Sequentail, "did you mean Sequential?"),
    ],
)
def test_an_attribute_of_another_library_names_ours(ask, said):
    with pytest.raises(AttributeError) as caught:
        ask()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"), [("val_loss", "history.val_loss"), ("loss", "history.train_loss"), (0, "lists")]
)
def test_a_history_is_no_dict(name, said):
    with pytest.raises(TypeError, match=f"History has no items, but lists: use .*{said}"):
        training.History()[name]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from cnn.layers import Dense", "use Linear(in_features, out_features)"),
        ("from cnn.layers import Conv2D", "did you mean Conv2d?"),
        ("from cnn.layers import CrossEntropyLoss", "it is cnn.loss.CrossEntropyLoss"),
        ("from cnn.layers import Sequential", "it is cnn.Sequential"),
        ("from cnn import Conv2d", "it is cnn.layers.Conv2d"),
        ("from cnn.optim import EarlyStopping", "it is cnn.training.EarlyStopping"),
        ("from cnn.data import RandomHorizontalFlip", "use HorizontalFlip"),
        ("from cnn.data import Dataloader", "did you mean DataLoader?"),
        ("from cnn.training import ModelCheckpoint", "use Checkpoint"),
        ("from cnn.loss import MSEloss", "did you mean MSELoss?"),
        ("from cnn.optim import AdaGrad", "did you mean Adagrad?"),
        ("from cnn import nn", "layers are in cnn.layers"),
        ("from cnn.layers import qwertz", "cannot import name"),
    ],
)
def test_importing_a_name_of_another_library_names_ours(statement, said):
    with pytest.raises(ImportError) as caught:
        exec(statement)
    assert said in str(caught.value)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cpu", "mps"])
def test_a_device_is_left_out(device):
    with pytest.raises(ValueError, match="everything runs on the CPU: leave out"):
        model().to(device)
    with pytest.raises(ValueError, match="float32 or float64, got 'qwertz'"):
        model().to("qwertz")


def test_a_setting_that_would_change_nothing_is_refused():
    """A parameter that was to be frozen would have been trained, and a learning rate would have stayed."""
    optimizer, net = Adam(), model()
    with pytest.raises(AttributeError, match="Adam has no learning_rate: use lr"):
        optimizer.learning_rate = 0.1
    with pytest.raises(AttributeError, match=r"Parameter has no trainable: write parameter\.requires_grad = False"):
        net.parameters()[0].trainable = False

    class Mine(Optimizer):
        def __init__(self):
            super().__init__()
            self.learning_rate = 3

    assert Mine().learning_rate == 3
    assert "learning_rate" in dir(Mine())


def test_the_gradient_of_a_loss_is_not_the_loss():
    net = model()
    value = net.loss_func(net(X), Y)
    assert type(value) is float
    with pytest.raises(ValueError, match=r"one number: if that is the loss, pass loss_func.backward\(\) instead"):
        net.backward(value)


def test_words_for_missing_things_do_not_show():
    net = model()
    for thing, name in (
        (net, "Sequential"),
        (net, "Differentiable"),
        (Parameter([1.0]), "Buffer"),
        (Adam(), "Optimizer"),
    ):
        words = set(ATTRIBUTES[name])
        assert words.isdisjoint(dir(thing))
        assert not any(hasattr(thing, word) for word in words)
        assert set(dir(thing)) == {
            n for n in object.__dir__(thing) if not isinstance(inspect.getattr_static(thing, n, 0), NotHere)
        }
    assert "fit" in dir(net)
    assert pickle.loads(pickle.dumps(Adam(lr=0.5))).lr == copy.deepcopy(Adam(lr=0.5)).lr == 0.5
    assert repr(copy.deepcopy(net)) == repr(net)


def test_signatures_and_own_classes_stay_as_they_are():
    assert list(inspect.signature(Conv2d).parameters)[:3] == ["in_channels", "out_channels", "kernel_size"]
    assert list(inspect.signature(ReLU).parameters) == []
    assert list(inspect.signature(model().fit).parameters)[:3] == ["x", "y", "validation_data"]
    assert Conv2d.__init__.__module__ == "cnn.layers.conv2d"

    class Mixin:
        def __init__(self, kernel):
            self.kernel = kernel

    class Mine(Module, Mixin):
        def __init__(self, kernel):
            super().__init__(kernel)
            self.cuda = 7

    assert not hasattr(Mine.__init__, "__wrapped__")
    assert (Mine(3).kernel, Mine(3).cuda) == (3, 7)
    assert "cuda" in dir(Mine(3))
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'filters'"):
        Mine(filters=3)


def test_an_error_inside_a_function_passes():
    inner = TypeError("inside")

    @explain_arguments
    def function(kernel_size=3):
        raise inner from KeyError("cause")

    with pytest.raises(TypeError) as caught:
        function()
    assert caught.value is inner
    assert isinstance(inner.__cause__, KeyError)
    with pytest.raises(TypeError, match="must be a list") as caught:
        model().fit(X, Y, callbacks=None)


def test_the_table_names_arguments_and_names_that_exist():
    functions = [
        getattr(module, name) for module in (layers, loss, optim, data, training, cnn.zoo) for name in module.__all__
    ]
    functions += [Sequential, Sequential.fit, Sequential.predict, cnn.manual_seed]
    known = set()
    for function in functions:
        if callable(function) and function is not training.Callback and not isinstance(function, type(None)):
            try:
                known |= set(inspect.signature(function).parameters)
            except ValueError:
                assert issubclass(function, (Exception, Warning))
    parser = Parser(prog="cnn")
    add_arguments(parser)
    options = {option.lstrip("-").replace("-", "_") for option in parser._option_string_actions}
    assert set(WORDS_FOR) <= known | options
    for name, words in WORDS_FOR.items():
        assert name not in words.split()
    for module, names in NAMES.items():
        public = sys.modules[module].__all__
        assert set(names).isdisjoint(public)
    assert set(ATTRIBUTES) == {"Differentiable", "Sequential", "Buffer", "Optimizer", "History"}
    # image_folder has no batch_size, but fit has
    assert set(INSTEAD_OF) & set(inspect.signature(Sequential.fit).parameters) == {"batch_size"}


@pytest.mark.parametrize(
    ("option", "ours"),
    [("--learning-rate", "--lr"), ("--n-epochs", "--epochs"), ("--img-size", "--image-size"), ("--random-state", "--seed"),
     ("--validation-split", "--val"), ("--epoch", "--epochs")],
)  # fmt: skip
def test_options_of_other_programs_name_ours(option, ours, capsys):
    from cnn.cli.main import main

    assert main(["train", "spiral", option, "3"]) == 2
    assert f"unknown option {option}: did you mean {ours}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [("--gpu", "everything runs on the CPU"), ("--device", "everything runs on the CPU"), ("--verbose", "--quiet")],
)
def test_options_without_a_counterpart_say_what_to_do(option, said, capsys):
    from cnn.cli.main import main

    assert main(["train", "spiral", option]) == 2
    assert re.search(f"unknown option {option}: leave it out.*{said}", capsys.readouterr().err)


def test_difflib_is_imported_only_for_an_error():
    code = "import sys, cnn; assert 'difflib' not in sys.modules; cnn.layers.Conv2d(1, 1, 1); assert 'difflib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
