import threading

import numpy as np
import pytest

import cnn
from cnn import Buffer, Module, Parameter, Sequential, ShapeError, no_grad
from cnn.layers import Conv2d, Dropout, Linear, MaxPool2d, ReLU, Softmax
from cnn.module import evaluating, forward_hook

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


class Counter(Module):
    """A custom layer with a parameter, a floating-point buffer and an integer buffer."""

    def __init__(self):
        self.weight = Parameter(np.ones(2, np.float32))
        self.mean = Buffer(np.zeros(2, np.float32))
        self.count = Buffer(np.int64(3))
        self.inner = Linear(2, 2)


def test_a_buffer_copies_what_it_is_given():
    values = np.ones(3)
    buffer = Buffer(values)
    values[0] = 5
    assert buffer.data[0] == 1


def test_assigning_data_copies_into_the_existing_array():
    parameter = Parameter([1.0, 2.0])
    array = parameter.data
    parameter.data = [3, 4]
    assert parameter.data is array
    np.testing.assert_array_equal(array, [3, 4])
    with pytest.raises(ShapeError, match=r"expected an array of shape \(2,\), got \(1,\)"):
        parameter.data = [1]


def test_parameters_are_c_contiguous():
    assert Parameter(np.ones((3, 4)).T).data.flags.c_contiguous


def test_a_gradient_that_is_given_away_is_not_copied():
    parameter, grad = Parameter(np.zeros(2)), np.ones(2)
    parameter.accumulate_grad(grad, copy=False)
    assert parameter.grad is grad
    parameter.accumulate_grad(np.ones(2), copy=False)
    assert parameter.grad.tolist() == [2, 2]
    parameter.grad = None
    parameter.accumulate_grad(np.ones(2, np.float32), copy=False)
    assert parameter.grad.dtype == np.float64


def test_gradients_accumulate_in_an_array_of_their_own():
    parameter, grad = Parameter(np.zeros(2, np.float32)), np.ones(2)
    parameter.accumulate_grad(grad)
    parameter.accumulate_grad(grad)
    np.testing.assert_array_equal(parameter.grad, [2, 2])
    np.testing.assert_array_equal(grad, [1, 1])
    assert parameter.grad.dtype == np.float32
    with pytest.raises(ShapeError, match=r"shape \(2,\), the shape of the parameter, got \(1,\)"):
        parameter.accumulate_grad(np.ones(1))


def test_names_of_everything_inside():
    module = Counter()
    names = ["weight", "mean", "count", "inner.weight", "inner.bias"]
    assert [name for name, _ in module.named_tensors()] == names
    assert [name for name, _ in module.named_parameters()] == ["weight", "inner.weight", "inner.bias"]
    assert [name for name, _ in module.named_modules()] == ["", "inner"]
    assert list(module.state_dict()) == names
    assert module.state_dict()["count"].dtype == np.int64


def test_a_module_saved_by_forward_is_not_part_of_the_model():
    module = Counter()
    module.save_for_backward(Linear(1, 1))
    assert list(module.children()) == ["inner"]


def test_the_state_is_a_copy():
    module = Counter()
    module.state_dict()["weight"][0] = 7
    assert module.weight.data[0] == 1


def test_loading_lists_every_problem_and_changes_nothing():
    model = Sequential([Linear(3, 2), Linear(2, 1)])
    before = model.state_dict()
    state = {"0.weight": np.ones((2, 3)), "0.bias": np.ones(3), "1.bias": np.ones(1), "extra": np.ones(2)}
    with pytest.raises(ValueError, match="does not fit this Sequential") as caught:
        model.load_state_dict(state)
    for part in ("missing: 1.weight (1, 2)", "unexpected: extra (2,)", "wrong shape: 0.bias is (2,) in"):
        assert part in str(caught.value)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_loading_is_in_place_and_keeps_the_dtype():
    layer = Linear(3, 2)
    array = layer.weight.data
    layer.load_state_dict({"weight": np.ones((2, 3), np.float64), "bias": [1, 2]})
    assert layer.weight.data is array
    assert array.dtype == np.float32
    np.testing.assert_array_equal(layer.bias.data, [1, 2])


def test_weights_survive_a_file(tmp_path):
    for seed in (0, 1):
        layer = Conv2d(2, 3, 3, rng=seed)
        layer.save_weights(tmp_path / "weights.safetensors")
        other = Conv2d(2, 3, 3, rng=9)
        other.load_weights(tmp_path / "weights.safetensors")
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[name], array)


def test_to_converts_floating_arrays_and_gradients_only():
    module = Counter()
    module.weight.accumulate_grad(np.ones(2))
    assert module.to("float64") is module
    assert [tensor.dtype for _, tensor in module.named_tensors()] == [np.float64] * 2 + [np.int64] + [np.float64] * 2
    assert module.weight.grad.dtype == np.float64
    for wrong in ("int64", "float16", "complex64"):
        with pytest.raises(ValueError, match="float32 or float64"):
            module.to(wrong)


def test_to_clears_the_saved_values():
    layer = Linear(3, 2)
    y = layer(X)
    layer.to(np.float64)
    with pytest.raises(RuntimeError, match="nothing saved"):
        layer.backward(y)


def test_train_and_eval_reach_everything():
    module = Counter()
    assert module.eval() is module
    assert not any(part.training for part in module.modules())
    module.train()
    assert all(part.training for part in module.modules())


def test_evaluating_restores_the_mode_of_every_layer():
    model = Sequential([Dropout(), Sequential([Dropout(), ReLU()])])
    model.layers[1].eval()
    with evaluating():
        assert not any(part.training for part in model.modules())
        model(X)
        assert all(part._saved is None for part in model.modules())
    with pytest.raises(ShapeError), evaluating():
        model.layers[0](Linear(5, 2)(X))
    assert [part.training for part in model.modules()] == [True, True, False, False, False]


def test_zero_grad():
    layer = Linear(3, 2)
    layer.backward(layer(X))
    layer.zero_grad()
    assert layer.weight.grad is None
    assert layer.bias.grad is None


def test_a_forward_inside_no_grad_does_not_disturb_one_before_it():
    layer = ReLU()
    layer(X)
    with no_grad():
        layer(-X)
    np.testing.assert_array_equal(layer.backward(np.ones_like(X)), X > 0)


def test_no_grad_nests_and_ends_with_an_exception():
    layer = ReLU()
    with no_grad():
        with pytest.raises(KeyError), no_grad():
            raise KeyError
        layer(X)
        assert layer._saved is None
    layer(X)
    assert layer._saved is not None


def test_no_grad_and_forward_hooks_apply_to_one_thread():
    """Evaluating in one thread does not stop training in another."""
    trained, watched = ReLU(), []

    def train():
        trained(X)

    with no_grad(), forward_hook(lambda module, y: watched.append(module)):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert trained._saved is not None
    assert watched == []


def test_a_forward_hook_sees_every_module_until_the_context_ends():
    model, seen = Sequential([Linear(3, 2), ReLU()]), []
    with forward_hook(lambda module, y: seen.append((module, y.shape))):
        model(X)
    assert [module for module, _ in seen] == [*model.layers, model]
    model(X)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Linear(3, 2), "Linear(in_features=3, out_features=2)"),
        (Linear(3, 2, bias=False), "Linear(in_features=3, out_features=2, bias=False)"),
        (Conv2d(1, 2, 3, padding="same"), "Conv2d(in_channels=1, out_channels=2, kernel_size=(3, 3), padding='same')"),
        (MaxPool2d(2, ceil_mode=True), "MaxPool2d(kernel_size=(2, 2), stride=(2, 2), ceil_mode=True)"),
        (Dropout(0.25), "Dropout(p=0.25)"),
        (Softmax(), "Softmax()"),
        (Softmax(1), "Softmax(dim=1)"),
    ],
)
def test_repr(layer, text):
    assert repr(layer) == text


def test_a_layer_that_does_not_store_an_argument_has_a_repr_and_an_error_names_the_fix():
    class Own(Module):
        def __init__(self, size):
            pass

    assert repr(Own(3)) == "Own(...)"
    with pytest.raises(TypeError, match=r"set self.size = size"):
        Own(3).arguments()


def test_missing_methods_are_named():
    class Own(Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Own needs a method forward\(self, x\)"):
        Own()(X)
    with pytest.raises(NotImplementedError, match=r"Own needs a method backward\(self, grad\)"):
        Own().backward(X)


def test_the_public_names_are_sorted_and_defined():
    assert cnn.__all__ == sorted(cnn.__all__)
    assert all(hasattr(cnn, name) for name in cnn.__all__)


@pytest.mark.parametrize("classes", [2, 7])
def test_another_head_says_how_to_load_the_rest(tmp_path, classes):
    """The lines of the error do what they say, for a state in memory and for one in a file."""
    state = Sequential([Linear(3, 4, rng=0), ReLU(), Linear(4, 5, rng=1)]).state_dict()
    model = Sequential([Linear(3, 4, rng=2), ReLU(), Linear(4, classes, rng=3)])
    Sequential([Linear(3, 4, rng=0), ReLU(), Linear(4, 5, rng=1)]).save_weights(tmp_path / "w")
    head = model[2].weight.data.copy()
    for load in (lambda: model.load_state_dict(state), lambda: model.load_weights(tmp_path / "w")):
        with pytest.raises(
            ValueError, match=r"wrong shape: 2\.weight.*\n.*2\.bias.*\n  2 of 4 fit: 0\.weight, 0\.bias"
        ) as caught:
            load()
        names = {"model": model, "state": state}
        exec("keys = " + str(caught.value).rpartition(": ")[2], names)
        assert names["keys"].wrong_shape_keys == ["2.weight", "2.bias"]
        assert (model[0].weight.data == state["0.weight"]).all()
        assert (model[2].weight.data == head).all()


def test_a_state_of_which_nothing_fits_gives_no_such_advice():
    with pytest.raises(ValueError, match="missing: weight") as caught:
        Linear(2, 3).load_state_dict({"other": np.zeros(3)})
    assert "fit:" not in str(caught.value)


def test_strict_false_returns_the_keys_that_do_not_fit():
    model = Sequential([Linear(3, 4, rng=0), Linear(4, 2, rng=0)])
    state = {"0.weight": np.ones((4, 3)), "1.weight": np.ones((5, 4)), "2.weight": np.ones(2)}
    before = model.state_dict()
    keys = model.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["0.bias", "1.bias"]
    assert keys.unexpected_keys == ["2.weight"]
    assert keys.wrong_shape_keys == ["1.weight"]
    assert (model[0].weight.data == 1).all()
    for name in ("0.bias", "1.weight", "1.bias"):
        np.testing.assert_array_equal(model.state_dict()[name], before[name])
    assert model.load_state_dict(model.state_dict()) == ([], [], [])
    with pytest.raises(ValueError, match=r"missing: 0\.weight"):  # nothing fits: probably another prefix
        model.load_state_dict({f"module.{name}": array for name, array in before.items()}, strict=False)
    with pytest.raises(ValueError, match=r"not real numbers: 0\.weight is complex128"):
        model.load_state_dict({"0.weight": np.ones((4, 3), complex)}, strict=False)
