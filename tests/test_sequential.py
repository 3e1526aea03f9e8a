"""Sequential: building, training, using and describing a model."""

import copy
import functools
import html.parser
import inspect
import threading

import numpy as np
import pytest

import cnn
from cnn.containers.branches import Concat, Residual, Sum
from cnn.errors import InputError
from cnn.layers import Conv2d, Dropout, Flatten, Identity, Linear, MaxPool2d, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, LossFunc, MSELoss
from cnn.module import Module, Parameter
from cnn.optim import SGD, Adam
from cnn.sequential import Sequential


def classifier(softmax=True, optimizer=True, seed=0):
    cnn.manual_seed(seed)
    layers = [Linear(2, 16), ReLU(), Dropout(0.1), Linear(16, 3)] + [Softmax()] * softmax
    return Sequential(
        layers, loss_func=CrossEntropyLoss(from_logits=not softmax), optimizer=Adam(lr=0.01) if optimizer else None
    )


def points(n=90):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 2)) + 4 * np.eye(3)[y][:, :2], y


def test_it_learns_and_all_metrics_agree():
    x, y = points()
    model = classifier()
    history = model.fit(x, y, validation_data=(x, y), epochs=60, batch_size=16, verbose_freq=0, rng=0)
    assert len(history) == 60
    assert history.train_loss[-1] < history.train_loss[0] / 2
    loss, accuracy = model.evaluate(x, y)
    assert accuracy > 0.9
    assert (loss, accuracy) == (history.val_loss[-1], history.val_accuracy[-1])
    assert np.mean(model.predict(x) == y) == pytest.approx(accuracy)
    p = model.predict_proba(x)
    assert p.dtype == np.float32
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-6
    assert -np.log(p[np.arange(len(y)), y]).mean() == pytest.approx(loss, rel=1e-5)


def test_the_mode_of_every_layer_is_restored():
    x, y = points()
    model = classifier()
    model.layers[0].eval()
    model.evaluate(x, y)
    model.predict(x)
    model.activations(x)
    model.summary((2,))
    assert [layer.training for layer in model] == [False, True, True, True, True]


def test_logits_and_softmax_train_to_the_same_weights():
    """The joint formula is used in both, so not even the last bit differs."""
    x, y = points()
    states = []
    for softmax in (True, False):
        model = classifier(softmax)
        model.fit(x, y, epochs=3, verbose_freq=0, rng=1)
        states.append(model.state_dict())
        assert np.abs(model.predict_proba(x).sum(axis=1) - 1).max() < 1e-6
        assert set(model.predict(x)) <= {0, 1, 2}
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


def test_the_loop_written_by_hand_equals_the_joint_formula():
    x, y = points()
    model, other = classifier(), classifier()
    model.layers[2].p = other.layers[2].p = 0.0
    model.to(np.float64)
    other.to(np.float64)
    loss, prediction = model.loss_and_grad(x, y)
    by_hand = other.loss_func(other(x), y)
    other.backward(other.loss_func.backward())
    assert by_hand == pytest.approx(loss, rel=1e-12)
    assert np.allclose(prediction, other(x), rtol=1e-12)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert np.abs(ours.grad - theirs.grad).max() <= 1e-12 * np.abs(theirs.grad).max()


def test_train_step_is_loss_and_grad_step_and_zero_grad():
    x, y = points()
    x = x.astype(np.float32)
    model, other = classifier(), classifier()
    loss = model.train_step(x, y)
    expected, _ = other.loss_and_grad(x, y)
    other.optimizer.step()
    other.zero_grad()
    assert loss == expected
    assert all((a.data == b.data).all() for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_the_gradient_of_the_data_is_left_out_only_with_an_optimizer():
    x = np.zeros((2, 2), np.float32)
    with_optimizer, without = classifier(), classifier(optimizer=False)
    for model, needed in ((with_optimizer, False), (without, True)):
        model(x)
        grad = model.backward(np.ones((2, 3), np.float32))
        assert (grad is not None) == needed
        assert [layer.needs_input_grad for layer in model] == [needed, True, True, True, True]


def test_the_first_layer_is_found_through_containers():
    branches = [Sequential([Conv2d(1, 2, 3, padding=1), ReLU()]), Residual(Conv2d(1, 1, 1))]
    model = Sequential([Sequential([Concat(branches)]), Conv2d(3, 1, 1)], optimizer=Adam())
    x = np.ones((2, 1, 5, 5), np.float32)
    assert model.backward(np.ones_like(model(x))) is None
    assert [p.grad is not None for p in model.parameters()] == [True] * 6
    flags = {name: m.needs_input_grad for name, m in model.named_modules() if isinstance(m, Conv2d)}
    assert flags == {"0.0.0.0": False, "0.0.1.body": False, "1": True}


def test_layers_taken_from_a_model_return_their_input_gradients_again():
    model = classifier()
    part = Sequential(model.layers[:2])
    x = np.ones((2, 2), np.float32)
    assert part.backward(np.ones_like(part(x))) is not None


def test_fit_takes_any_real_dtype_and_any_integer_labels():
    x, y = points()
    for dtype in (np.float16, np.float32, np.float64):
        for labels in (np.uint8, np.int16, np.int64):
            model = classifier()
            model.fit(x.astype(dtype), y.astype(labels), epochs=1, verbose_freq=0)
            assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
            assert model.predict(x.astype(dtype)).shape == (90,)
    double = classifier().to(np.float64)
    double.fit(x.astype(np.float32), y, epochs=1, verbose_freq=0)
    assert double.predict_proba(x).dtype == np.float64


def test_one_hot_labels_train_the_same_and_have_an_accuracy():
    x, y = points()
    histories = [
        classifier().fit(x, targets, validation_data=(x, targets), epochs=2, verbose_freq=0, rng=0)
        for targets in (y, np.eye(3)[y], np.eye(3, dtype=int)[y])
    ]
    for history in histories[1:]:
        assert history.train_accuracy == histories[0].train_accuracy
        assert history.val_loss == pytest.approx(histories[0].val_loss, rel=1e-6)


def test_input_arrays_are_not_written_to():
    x, y = points()
    x, y = x.astype(np.float32), y.copy()
    x.flags.writeable = y.flags.writeable = False
    model = classifier()
    model.fit(x, y, epochs=1, verbose_freq=0)
    model.evaluate(x, y)
    model.predict(x)
    assert len(model.history) == 1


def test_regression_predicts_outputs_and_has_no_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    y = x @ [[1.0], [-2.0]]
    model = Sequential([Linear(2, 1, rng=0)], loss_func=MSELoss(), optimizer=Adam(lr=0.1))
    history = model.fit(x, y, validation_data=(x, y), epochs=50, verbose_freq=0, rng=0)
    assert model.predict(x).shape == (64, 1)
    assert np.abs(model.predict(x) - y).max() < 0.05
    assert np.isnan(history.train_accuracy + history.val_accuracy).all()
    assert np.isnan(model.evaluate(x, y)[1])
    with pytest.raises(ValueError, match="no classes"):
        model.predict_proba(x)


def test_a_custom_loss():
    class Absolute(LossFunc):
        def forward(self, prediction, target):
            self.save_for_backward(np.sign(prediction - target) / prediction.size)
            return float(np.abs(prediction - target).mean())

        def backward(self):
            return self.saved()[0]

    x = np.linspace(0, 1, 20)[:, None]
    model = Sequential([Linear(1, 1, rng=0)], loss_func=Absolute(), optimizer=Adam(lr=0.05))
    history = model.fit(x, 2 * x, epochs=80, verbose_freq=0, rng=0)
    assert history.train_loss[-1] < 0.1


def test_a_container_protocol():
    model = classifier()
    assert len(model) == 5
    assert [type(layer) for layer in model] == [Linear, ReLU, Dropout, Linear, Softmax]
    assert model[0] is model.layers[0]
    assert model[-1] is model.layers[-1]
    assert isinstance(model[1:3], Sequential)
    assert model[1:3].layers == model.layers[1:3]


def test_repr_builds_the_model_again():
    branches = Sum([Residual(Conv2d(2, 2, 3, padding="same", bias=False)), Concat([Identity(), Identity()])][:1])
    model = Sequential([branches, MaxPool2d(2, stride=1), Flatten(), Linear(8, 3), Softmax()], CrossEntropyLoss())
    names = {name: getattr(package, name) for package in (cnn, cnn.layers, cnn.loss) for name in package.__all__}
    assert repr(eval(repr(model), names)) == repr(model)


def test_activations_of_every_layer_by_name():
    model = Sequential([Residual(Sequential([Linear(2, 2), ReLU()])), Linear(2, 3)])
    x = np.ones((4, 2))
    outputs = model.activations(x)
    assert list(outputs) == ["0.body.0", "0.body.1", "0.body", "0.shortcut", "0", "1"]
    assert (outputs["1"] == model.predict(x)).all()
    assert (outputs["0.body.1"] == np.maximum(outputs["0.body.0"], 0)).all()
    assert model._saved is None


def test_summary_counts_parameters_work_and_memory():
    model = Sequential([Conv2d(1, 8, 3, padding=1), MaxPool2d(2), Flatten(), Linear(8 * 4, 10), Softmax()])
    summary = model.summary((1, 4, 4))
    assert [row.parameters for row in summary.rows] == [80, 0, 0, 330, 0]
    assert [row.multiply_adds for row in summary.rows] == [8 * 16 * 9, 0, 0, 320, 0]
    assert [row.memory for row in summary.rows] == [8 * 16 * 4, 8 * 4 * 4, 128, 40, 40]
    text = str(summary)
    for part in ("8 x 4 x 4", "1,152", "in all", "410", "1 x 4 x 4"):
        assert part in text
    assert "layer" in text.splitlines()[0]


def test_summary_as_html_is_well_formed():
    tags = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)

        def handle_endtag(self, tag):
            assert tags.pop() == tag

    page = classifier().summary((2,))._repr_html_()
    Parser().feed(page)
    assert tags == []
    assert "Linear(in_features=2" in page
    assert "Dropout(p=0.1)" in page


def test_summary_needs_a_shape_which_fit_sets():
    model = classifier()
    with pytest.raises(ValueError, match="input_shape="):
        model.summary()
    model.fit(*points(), epochs=1, verbose_freq=0)
    assert model.summary().input_shape == (2,)
    with pytest.raises(ValueError, match="layer 0, Linear"):
        model.summary((3,))


def test_shared_weights_are_counted_once():
    first, second = Linear(2, 2), Linear(2, 2)
    second.weight = first.weight
    model = Sequential([first, ReLU(), second], optimizer=Adam())
    assert model.summary((2,)).parameters == 8
    assert len(model.optimizer.params) == 3


def test_a_copy_is_independent():
    model = classifier()
    other = copy.deepcopy(model)
    other.fit(*points(), epochs=1, verbose_freq=0)
    assert (model.layers[0].weight.data != other.layers[0].weight.data).any()
    assert model.optimizer.params[0] is model.layers[0].weight
    assert other.optimizer.params[0] is other.layers[0].weight


def test_preprocess_uses_the_settings():
    model = classifier()
    pixels = np.full((1, 2, 1, 1), 255, np.uint8)
    assert (model.preprocess(pixels) == 1).all()
    model.preprocessing = {"scale": 1 / 255, "mean": [0.5, 1.0], "std": 0.25}
    assert model.preprocess(pixels).ravel().tolist() == [2.0, 0.0]


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (4, 1, 5, 6), (3, 5, 6), (1, 5, 6), (5, 6), ()])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_preprocess_has_the_bits_of_its_formula_and_leaves_the_pixels_alone(shape, kind):
    """Also where the settings have more channels than the pixels."""
    model = classifier()
    model.preprocessing = {"scale": 1 / 255, "mean": [0.4914, 0.4822, 0.4465], "std": [0.2470, 0.2435, 0.2616]}
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    before = pixels.copy()
    mean, std = (np.float32(model.preprocessing[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    expected = (pixels.astype(np.float32) * np.float32(1 / 255) - mean) / std
    result = model.preprocess(pixels)
    assert result.shape == expected.shape
    assert (result == expected).all()
    assert (pixels == before).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_bits(seed):
    states = []
    for _ in range(2):
        model = classifier(seed=seed)
        model.fit(*points(), epochs=2, verbose_freq=0)
        states.append(model.state_dict())
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


def test_a_nested_final_softmax_is_skipped_too():
    x, y = points()
    x = x.astype(np.float32) * 100  # saturated: the loop written by hand would lose its gradient
    cnn.manual_seed(0)
    flat = Sequential([Linear(2, 3), Softmax()], CrossEntropyLoss(), Adam())
    cnn.manual_seed(0)
    nested = Sequential([Linear(2, 3), Sequential([Identity(), Sequential([Softmax()])])], CrossEntropyLoss(), Adam())
    results = [model.loss_and_grad(x, y) for model in (flat, nested)]
    assert results[0][0] == results[1][0] > 10
    assert (results[0][1] == results[1][1]).all()
    assert (flat[0].weight.grad == nested[0].weight.grad).all()


def test_predicting_in_one_thread_does_not_affect_training_in_another():
    x, y = points()
    modes, seen = [], threading.Event()

    class Spy(Identity):
        def forward(self, x):
            if threading.current_thread() is not threading.main_thread():
                seen.set()
                return super().forward(x)
            modes.append(self.training)
            return super().forward(x)

    model = Sequential([Linear(2, 3), Spy(), Softmax()], CrossEntropyLoss(), Adam())
    stop = threading.Event()

    def keep_predicting():
        while not stop.is_set():
            model.predict(x)

    thread = threading.Thread(target=keep_predicting)
    thread.start()
    assert seen.wait(20)
    model.fit(x, y, epochs=20, verbose_freq=0)
    stop.set()
    thread.join()
    assert modes.count(False) == 2  # the checks of the labels before training, and of the loss after it
    assert modes.count(True) == 60
    assert all(layer.training for layer in model)


def test_layers_cannot_be_replaced_without_the_optimizer_noticing():
    x, y = points()
    model = classifier()
    with pytest.raises(TypeError, match="tuple"):
        model.layers[0] = Linear(2, 16)
    with pytest.raises(AttributeError):
        model.layers = [Linear(2, 3)]
    model[0].weight = Parameter(np.zeros((16, 2), np.float32))
    with pytest.raises(ValueError, match=r"does not train 0\.weight.*model\.optimizer = Adam\(lr=\.\.\.\)"):
        model.fit(x, y)
    model.optimizer = Adam(lr=0.01)
    model.fit(x, y, epochs=1, verbose_freq=0)
    assert (model[0].weight.data != 0).any()


def test_training_some_parameters_is_allowed():
    x, y = points()
    model = classifier(optimizer=False)
    model.optimizer = Adam(model[3].parameters(), lr=0.01)
    before = model.state_dict()
    model.fit(x, y, epochs=1, verbose_freq=0)
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {"3.weight", "3.bias"}


def test_an_interrupted_step_leaves_nothing_behind():
    x, y = points()
    model, other = classifier(), classifier()
    model.loss_and_grad(x.astype(np.float32), y)  # gradients that no step used
    for one in (model, other):
        one[2].rng = np.random.default_rng(5)
        one.fit(x, y, epochs=1, verbose_freq=0, rng=0)
    assert all((a.data == b.data).all() for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_errors_in_custom_layers_name_them():
    class Forgets(Identity):
        def __init__(self, where):
            self.where = where

        def forward(self, x):
            y = super().forward(x)
            return None if self.where == "forward" else y

        def backward(self, grad):
            super().backward(grad)
            return grad[:1] if self.where == "shape" else None

    x, y = points()
    for where, says in (
        ("forward", "layer 1, Forgets\\(where='forward'\\): forward must return an array, but returned NoneType"),
        ("backward", "layer 1, Forgets\\(where='backward'\\): backward must return the gradient of the input"),
        (
            "shape",
            "layer 0, Linear.*backward expects the gradient of its output.*backward of layer 1, Forgets.* made this",
        ),
    ):
        model = Sequential([Linear(2, 3), Forgets(where), Softmax()], CrossEntropyLoss(), Adam())
        with pytest.raises(ValueError, match=says):
            model.fit(x, y)


class OwnLoss(Sequential):
    """Doubles the loss of training, and adds one to that of evaluation."""

    def loss_and_grad(self, x, y):
        loss, prediction = super().loss_and_grad(x, y)
        return 2 * loss, prediction

    def loss_and_prediction(self, x, y):
        loss, prediction = super().loss_and_prediction(x, y)
        return 1 + loss, prediction


def test_training_and_evaluation_call_methods_that_a_subclass_overrides():
    x, y = points()
    cnn.manual_seed(0)
    plain = Sequential([Linear(2, 3), Softmax()], CrossEntropyLoss(), SGD(lr=0.1))
    own = OwnLoss(copy.deepcopy(list(plain.layers)), CrossEntropyLoss(), SGD(lr=0.1))
    expected, history = (model.fit(x, y, epochs=2, verbose_freq=0, rng=0) for model in (plain, own))
    np.testing.assert_allclose(history.train_loss, 2 * np.array(expected.train_loss), rtol=1e-12)
    assert history.train_accuracy == expected.train_accuracy
    loss, accuracy = plain.evaluate(x, y)
    np.testing.assert_allclose(own.evaluate(x, y)[0], 1 + loss, rtol=1e-12)
    assert own.evaluate(x, y)[1] == accuracy
    x = x.astype(np.float32)
    assert own.train_step(x, y) == 2 * plain.train_step(x, y)


def logged(function, calls):
    @functools.wraps(function)
    def run(*arguments):
        calls.append(function.__name__)
        return function(*arguments)

    return run


def test_training_calls_wrapped_methods_too():
    x, y = points()
    x = x.astype(np.float32)
    model, calls = classifier(), []
    model.loss_and_grad = logged(model.loss_and_grad, calls)
    model.loss_and_prediction = logged(model.loss_and_prediction, calls)
    model.fit(x[:64], y[:64], epochs=1, verbose_freq=0)
    model.train_step(x, y)
    model.evaluate(x, y)
    assert calls == ["loss_and_grad"] * 3 + ["loss_and_prediction"]

    class Logged(Sequential):
        loss_and_grad = logged(Sequential.loss_and_grad, calls)

    calls.clear()
    Logged([Linear(2, 3), Softmax()], CrossEntropyLoss(), SGD(lr=0.1)).fit(x[:64], y[:64], epochs=1, verbose_freq=0)
    assert calls == ["loss_and_grad"] * 2


def test_a_module_may_borrow_the_methods_of_a_sequential():
    class Wrapper(Module):
        def __init__(self, net):
            self.net, self.loss_func, self.optimizer = net, net.loss_func, net.optimizer
            self.loss_and_grad = net.loss_and_grad

        def children(self):
            return {"net": self.net}

        def forward(self, x):
            return self.net(x)

    x, y = points()
    expected = classifier().fit(x, y, epochs=1, verbose_freq=0, rng=0)
    history = cnn.training.fit(Wrapper(classifier()), x, y, epochs=1, verbose_freq=0, rng=0)
    assert history.train_loss == expected.train_loss


def test_a_subclass_may_have_an_attribute_objective():
    class WithObjective(Sequential):
        objective = "minimise"

    x, y = points()
    model = WithObjective([Linear(2, 3), Softmax()], CrossEntropyLoss(), SGD(lr=0.1))
    assert len(model.fit(x, y, epochs=1, verbose_freq=0).train_loss) == 1


def test_accuracy_is_that_of_predict_even_where_probabilities_round_to_the_same():
    layer = Linear(1, 2)
    layer.weight.data, layer.bias.data = np.array([[0.0], [1e-9]], np.float32), np.zeros(2, np.float32)
    model = Sequential([layer, Softmax()], CrossEntropyLoss(), SGD(lr=0.0))
    x, y = np.ones((6, 1), np.float32), np.array([0, 1, 1, 0, 1, 1])
    assert model.evaluate(x, y)[1] == np.mean(model.predict(x) == y)


def test_backward_after_layers_that_were_called_one_by_one():
    x, _ = points()
    x = x.astype(np.float32)
    model, other = classifier(optimizer=False), classifier(optimizer=False)
    h = x
    for module in (model, other):
        module.eval()
    for layer in model.layers:
        h = layer(h)
    np.testing.assert_allclose(h, other(x), rtol=1e-6)
    np.testing.assert_allclose(model.backward(h), other.backward(h), rtol=1e-4, atol=1e-7)
    with pytest.raises(RuntimeError, match=r"Softmax\.backward has nothing saved"):
        model.backward(h)


def test_backward_after_a_forward_that_failed_halfway_is_an_error():
    class OnlySmall(Identity):
        def forward(self, x):
            if len(x) > 5:
                raise InputError("too many")
            return super().forward(x)

    model = Sequential([Linear(2, 4), Sequential([ReLU()]), OnlySmall(), Linear(4, 2)], fuse=False)
    grad = model(np.ones((5, 2), np.float32))
    with pytest.raises(ValueError, match=r"layer 2.*too many"):
        model(np.ones((6, 2), np.float32))
    with pytest.raises(RuntimeError, match=r"Linear\.backward has nothing saved"):
        model.backward(grad)


def test_a_layer_without_a_gradient_is_named_and_no_other():
    class Forgetful(Identity):
        def backward(self, grad):
            pass

    model = Sequential([Linear(2, 3), Forgetful(), ReLU()])
    grad = model(np.ones((5, 2), np.float32))
    with pytest.raises(ValueError, match="returned None") as error:
        model.backward(grad)
    assert "layer 1" in str(error.value)
    assert "made this gradient" not in str(error.value)


def test_a_shallow_copy_shares_the_forward_pass():
    model = Sequential([Linear(2, 3), ReLU()])
    grad = model(np.ones((5, 2), np.float32))
    copied = copy.copy(model)
    model.backward(grad)
    with pytest.raises(RuntimeError, match="nothing saved"):
        copied.backward(grad)


def test_a_copy_has_steps_of_its_own():
    model = classifier()
    model.predict(np.ones((4, 2), np.float32))
    assert model._fused
    copied = copy.deepcopy(model)
    assert not copied._fused
    assert copied.layers[0].weight is not model.layers[0].weight


@pytest.mark.parametrize("method", ["__init__", "fit"])
def test_every_argument_has_an_entry_of_its_own_or_shares_one_type(method):
    function = getattr(Sequential, method)
    text = Sequential.__doc__ if method == "__init__" else function.__doc__
    entries = [line.strip().partition(" : ") for line in text.splitlines() if " : " in line]
    named = {name: kind for names, _, kind in entries for name in names.split(", ")}
    assert set(inspect.signature(function).parameters) - {"self"} <= set(named)
    assert not [
        name for name, kind in named.items() if "; " in kind and not name.startswith(("class_n", "input", "pre"))
    ]
