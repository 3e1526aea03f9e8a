"""What may be assigned to a layer after it was made: a tensor of another shape, or a setting that needs one, is refused.

Compiled code took sizes from one array and trusted the other: it read and wrote outside them.
"""

import copy
import inspect
import warnings

import numpy as np
import pytest

from cnn import Buffer, InputError, Parameter, Sequential, ShapeError, no_grad
from cnn.core import assignment
from cnn.core import rng as default_rng
from cnn.kernels import backend
from cnn.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool2d,
    PReLU,
    ReLU,
    ReLU6,
    ZeroPad2d,
)
from cnn.module import Module
from tests.conformance import CASES, draw
from tests.kernels.backends import using

BACKENDS = [name for name in backend.BACKENDS if name != "jit" or backend.has_numba()]
LAYERS = [(make, shape) for make, shape in CASES if type(make()).__module__.startswith("cnn.layers.")]
WITH_TENSORS = [(make, shape) for make, shape in LAYERS if any(isinstance(v, Buffer) for v in vars(make()).values())]
IDS = [repr(make()) for make, _ in WITH_TENSORS]


def tensors(layer):
    return {name: value for name, value in vars(layer).items() if isinstance(value, Buffer)}


def others(shape):
    """Other shapes: along each axis one more, one, none and twice as many; other ranks; the same size."""
    found = [(*shape[:i], n, *shape[i + 1 :]) for i, size in enumerate(shape) for n in (size + 1, 2 * size, 1, 0)]
    found += [(*shape, 1), (1, *shape), shape[1:], shape[::-1], (int(np.prod(shape)),), (1,), ()]
    return [other for other in found if other != shape]


@pytest.mark.parametrize(("make", "shape"), WITH_TENSORS, ids=IDS)
def test_a_tensor_that_fits_is_assigned_without_making_a_layer(make, shape, monkeypatch):
    """A new layer of the same size would take the time and the memory of its initial weights."""
    layer = make()
    monkeypatch.setattr(assignment, "_new_layer", None)
    for name, tensor in tensors(layer).items():
        other = type(tensor)(np.ones(tensor.shape, tensor.dtype))
        setattr(layer, name, other)
        assert getattr(layer, name) is other


@pytest.mark.parametrize(("make", "shape"), WITH_TENSORS, ids=IDS)
def test_tensors_of_another_shape_are_refused_and_nothing_has_changed(make, shape):
    layer = make()
    before = repr(layer), {name: (id(t), t.data.copy()) for name, t in tensors(layer).items()}
    for name, tensor in tensors(layer).items():
        for other in others(tensor.shape):
            with pytest.raises(ShapeError, match=f"{name} must have shape .* make a new layer"):
                setattr(layer, name, type(tensor)(np.ones(other, tensor.dtype)))
        for wrong in (np.ones(tensor.shape, np.float32), tensor.data.tolist(), 1.0, "weight", True, Linear):
            with pytest.raises(
                TypeError, match=rf"{name} must be a .*: to change its values, write layer\.{name}\.data"
            ):
                setattr(layer, name, wrong)
        flag = isinstance(inspect.signature(type(layer)).parameters.get(name, inspect.Parameter("x", 1)).default, bool)
        if not flag:
            with pytest.raises(TypeError, match=f"{name} must be a "):
                setattr(layer, name, None)
    assert repr(layer) == before[0]
    for name, tensor in tensors(layer).items():
        assert id(tensor) == before[1][name][0]
        np.testing.assert_array_equal(tensor.data, before[1][name][1])


@pytest.mark.parametrize("used", BACKENDS)
@pytest.mark.parametrize(("make", "shape"), WITH_TENSORS, ids=IDS)
def test_tensors_of_the_same_shape_are_shared(make, shape, used):
    """Ties weights, also with one of another dtype: then the layer works, or its error says so."""
    with using(used, 1):
        first, second = make(), make()
        for name, tensor in tensors(first).items():
            setattr(second, name, tensor)
            assert getattr(second, name) is tensor
        np.testing.assert_array_equal(second(draw(shape)), make()(draw(shape)))
        for name, tensor in tensors(first).items():
            third = make()
            setattr(third, name, type(tensor)(tensor.data.astype(np.float64 if tensor.dtype.kind == "f" else np.int32)))
            try:
                y, message = third(draw(shape)), None
            except InputError as error:
                message = str(error)
            if message is None:
                np.testing.assert_allclose(y, make()(draw(shape)), rtol=1e-4, atol=1e-5)
            else:
                assert "the dtype of the parameters" in message


def test_a_bias_can_be_left_out_and_put_back():
    for layer in (Linear(4, 3, rng=0), Conv2d(4, 3, 2, rng=0), ConvTranspose2d(4, 3, 2, rng=0)):
        layer.bias = None
        assert "bias=False" in repr(layer)
        with pytest.raises(ShapeError, match=r"bias must have shape \(3,\)"):
            layer.bias = Parameter(np.zeros(1, np.float32))
        with pytest.raises(TypeError, match=r"write layer\.bias = Parameter\(array\)"):
            layer.bias = np.zeros(3, np.float32)
        layer.bias = Parameter(np.zeros(3, np.float32))
        assert "bias" not in repr(layer)
    with pytest.raises(InputError, match="weight is None, and the settings of the layer say so"):
        BatchNorm2d(3, affine=False).weight = Parameter(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="weight must be a Parameter"):
        Linear(4, 3).weight = Buffer(np.zeros((3, 4), np.float32))
    with pytest.raises(TypeError, match="must hold numbers like float32, got int64"):
        BatchNorm2d(3).running_mean = Buffer(np.zeros(3, np.int64))


NEED_NEW_TENSORS = [
    (lambda: Conv2d(4, 6, 3), {"groups": 2, "in_channels": 8, "out_channels": 3, "kernel_size": 5}),
    (lambda: Conv2d(4, 6, 3), {"kernel_size": (3, 1)}),
    (lambda: ConvTranspose2d(4, 6, 3), {"groups": 2, "in_channels": 8, "out_channels": 3, "kernel_size": 5}),
    (lambda: Linear(4, 6), {"in_features": 5, "out_features": 3}),
    (lambda: BatchNorm2d(4), {"num_features": 5, "affine": False, "track_running_stats": False}),
    (lambda: BatchNorm1d(4, affine=False, track_running_stats=False), {"affine": True, "track_running_stats": True}),
    (lambda: GroupNorm(2, 4), {"num_channels": 8, "affine": False}),
    (lambda: LayerNorm(4), {"normalized_shape": (5,), "elementwise_affine": False}),
    (lambda: PReLU(3), {"num_parameters": 1}),
]


@pytest.mark.parametrize(("make", "changes"), NEED_NEW_TENSORS, ids=[repr(make()) for make, _ in NEED_NEW_TENSORS])
def test_settings_that_need_other_tensors_are_refused(make, changes):
    for name, value in changes.items():
        layer = make()
        before = repr(layer)
        with pytest.raises(InputError, match=rf"{name}=.*make a new layer, {type(layer).__name__}\("):
            setattr(layer, name, value)
        assert repr(layer) == before


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=[repr(make()) for make, _ in LAYERS])
def test_settings_are_checked_as_by_the_constructor_and_draw_no_random_numbers(make, shape):
    """Every attribute of a layer is a setting or a tensor, so nothing else follows from a setting that is changed."""
    layer = make()
    arguments = list(inspect.signature(type(layer)).parameters)
    fixed = {"_training", "weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    fixed |= {"value"} if type(layer) is ZeroPad2d else set()
    fixed |= {"min_val", "max_val"} if type(layer) is ReLU6 else set()
    assert set(vars(layer)) <= {*arguments, *tensors(layer), *fixed}
    before = default_rng.state_dict()
    for name in arguments:
        if name in tensors(layer) or name == "rng":
            continue
        value = getattr(layer, name)
        setattr(layer, name, copy.deepcopy(value))
        assert getattr(layer, name) == value
        if not isinstance(value, bool) and value is not None:
            with pytest.raises((TypeError, ValueError)):
                setattr(layer, name, object())
            assert getattr(layer, name) == value
    assert default_rng.state_dict() == before


@pytest.mark.parametrize("used", BACKENDS)
def test_settings_that_leave_the_tensors_may_change(used):
    with using(used, 1):
        x = draw((2, 4, 9, 9))
        layers = [Conv2d(4, 6, 3, bias=False, rng=0), BatchNorm2d(6), ReLU(), MaxPool2d(2)]
        model = Sequential(layers)
        model.build(x.shape[1:])
        model(x)
        layers[0].stride, layers[0].padding, layers[0].dilation, layers[3].kernel_size, layers[1].eps = 1, 2, 2, 3, 0.1
        expected = Sequential(
            [Conv2d(4, 6, 3, 1, 2, 2, bias=False, rng=0), BatchNorm2d(6, eps=0.1), ReLU(), MaxPool2d(3, 2)]
        )
        expected.build(x.shape[1:])
        np.testing.assert_array_equal(model(x), expected(x))
        assert layers[0].padding == (2, 2)
        for name, wrong in (("stride", 0), ("stride", -1), ("padding", -1), ("dilation", 0), ("padding", "full")):
            with pytest.raises(ValueError, match=name):
                setattr(layers[0], name, wrong)
    dropout = Dropout(0.5)
    dropout.p = 0.25
    assert dropout.p == 0.25
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout.p = 2


def test_a_users_layer_is_free_and_a_subclass_of_ours_keeps_its_shapes():
    class Growing(Module):
        def __init__(self):
            self.weight, self.size = Parameter([1.0]), 1

    layer = Growing()
    layer.weight, layer.size = Parameter([1.0, 2.0]), 2
    layer.weight = [1.0]

    class Scaled(Conv2d):
        def __init__(self, channels):
            super().__init__(channels, channels, 3)
            self.channels = channels
            self.factor = None
            self.factor = Parameter([1.0])
            self.factor = Parameter([1.0, 2.0])
            self.padding = 1

    layer = Scaled(4)
    layer.channels = 5
    assert layer.padding == (1, 1)
    with pytest.raises(ShapeError, match=r"Conv2d\.weight must have shape"):
        layer.weight = Parameter(np.zeros((4, 1, 3, 3), np.float32))
    with pytest.raises(InputError, match="groups=2"):
        layer.groups = 2


def bypass(layer, name, shape, how):
    """Give a tensor another shape without an assignment that could be checked."""
    tensor = getattr(layer, name)
    values = np.ones(shape, np.float32)
    if how == "_data":
        tensor._data = values
    elif how == "vars":
        vars(layer)[name] = type(tensor)(values)
    elif how == "shape":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            tensor.data.shape = shape
    else:
        tensor.data.resize(shape, refcheck=False)


NETS = {
    "Conv2d": lambda: [Conv2d(4, 6, 3, padding=1, rng=0)],
    "Conv2d, ReLU": lambda: [Conv2d(4, 6, 3, padding=1, rng=0), ReLU()],
    "Conv2d, ReLU, MaxPool2d": lambda: [Conv2d(4, 6, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)],
    "Conv2d, BatchNorm2d": lambda: [Conv2d(4, 6, 3, rng=0), BatchNorm2d(6)],
    "Conv2d, BatchNorm2d, ReLU, MaxPool2d": lambda: [Conv2d(4, 6, 3, rng=0), BatchNorm2d(6), ReLU(), MaxPool2d(2)],
    "Conv2d of 32 channels, ReLU, MaxPool2d": lambda: [Conv2d(4, 32, 3, padding=1, rng=0), ReLU(), MaxPool2d(2)],
    "ConvTranspose2d": lambda: [ConvTranspose2d(4, 6, 3, rng=0)],
    "BatchNorm2d": lambda: [BatchNorm2d(4)],
    "Linear": lambda: [Linear(4, 6, rng=0)],
    "Linear, ReLU": lambda: [Linear(4, 6, rng=0), ReLU()],
}


@pytest.mark.filterwarnings("ignore::cnn.ModelWarning")
@pytest.mark.parametrize("how", ["_data", "vars", "shape", "resize"])
@pytest.mark.parametrize("when", ["before", "between", "inference"])
@pytest.mark.parametrize("net", NETS)
def test_writes_around_the_check_are_refused_or_right(net, when, how):
    """By compiled code and by tuned NumPy as by the plain functions: an error, or their result (some broadcast)."""
    shape = (70, 4) if "Linear" in net else (3, 4, 8, 8)
    refused = right = 0
    for position, layer in enumerate(NETS[net]()):
        for name, tensor in tensors(layer).items():
            for other in others(tensor.shape):
                if how == "shape" and np.prod(other) != tensor.size:
                    continue
                expected = run(NETS[net], shape, position, name, other, how, when, "reference")
                for used in BACKENDS[1:]:
                    found = run(NETS[net], shape, position, name, other, how, when, used)
                    if found is None:
                        refused += 1
                        continue
                    right += 1
                    assert expected is not None, (used, name, other)
                    for a, b in zip(found, expected, strict=True):
                        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=f"{used} {name} {other}")
    assert refused + right
    assert refused or how == "shape"


def run(make, shape, position, name, other, how, when, used):
    """Return outputs and gradients of a net in which a tensor got another shape, or None if that is refused."""
    with using(used, 1):
        model = Sequential(make())
        model.build(shape[1:])
        layer = model[position]
        x = draw(shape)
        try:
            if when == "inference":
                model.eval()
                with no_grad():
                    model(x)
                    bypass(layer, name, other, how)
                    return [model(x)]
            if when == "before":
                bypass(layer, name, other, how)
            y = model(x)
            if when == "between":
                bypass(layer, name, other, how)
            model.backward(np.ones_like(y))
            return [y, *(p.grad for p in model.parameters() if p.grad is not None)]
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            return None
