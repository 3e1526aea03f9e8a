import numpy as np
import pytest

from cnn import Concat, InputError, Module, Product, Residual, Sequential, ShapeError, Sum
from cnn.layers import (
    AdaptiveAvgPool2d,
    Affine,
    Conv2d,
    Flatten,
    Hardsigmoid,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Softmax,
    Tanh,
)
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.optim import Adam
from cnn.utils.gradcheck import difference, gradcheck
from tests.conformance import draw


def conv(channels_in, channels_out, size=3):
    return Conv2d(channels_in, channels_out, size, padding="same", rng=0)


def inception():
    """A Sequential with a residual block that contains an inception block: all containers nested."""
    block = Concat([conv(2, 1, 1), Sequential([conv(2, 2), ReLU(), conv(2, 3, 2)]), Identity()])
    body = Sequential([block, conv(6, 2), Sum([conv(2, 2), Identity(), ReLU()])])
    return Sequential([conv(1, 2), Residual(body), Residual(conv(2, 3), shortcut=conv(2, 3, 1)), Flatten()])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sum([conv(2, 3), conv(2, 3, 1)]),
        lambda: Concat([conv(2, 3), Identity(), conv(2, 1, 1)]),
        lambda: Residual(Sequential([conv(2, 2), ReLU(), conv(2, 2)])),
        lambda: Residual(conv(2, 4), shortcut=conv(2, 4, 1)),
        lambda: Concat([Identity()]),
        lambda: Product([conv(2, 3), conv(2, 3, 1), conv(2, 3, 2)]),
        lambda: Product([conv(2, 3), Sequential([AdaptiveAvgPool2d(1), conv(2, 3, 1), Tanh()])]),
        lambda: Product([conv(2, 1), conv(2, 3), Sequential([conv(2, 3), AdaptiveAvgPool2d((4, 1))])]),
        lambda: Product([Identity()]),
        lambda: Sum([Residual(Residual(conv(2, 2))), Concat([conv(2, 1), conv(2, 1)])]),
    ],
)
def test_numeric_gradients(make):
    gradcheck(make(), draw((2, 2, 4, 3)))


def test_numeric_gradients_of_everything_nested():
    gradcheck(inception(), draw((2, 1, 4, 4)))


def test_concat_of_feature_vectors():
    layer = Concat([Linear(3, 2, rng=0), Identity()])
    x = draw((4, 3))
    np.testing.assert_array_equal(layer(x)[:, 2:], x)
    gradcheck(layer, x)


def test_dtype_inputs_and_saved_state():
    """float32 is kept, input arrays are not written to, and no module has saved values after backward."""
    model, x = inception(), draw((2, 1, 4, 4))
    x.flags.writeable = False
    y = model(x)
    grad = draw(y.shape, seed=1)
    grad.flags.writeable = False
    assert y.dtype == model.backward(grad).dtype == np.float32
    assert all(part._saved is None for part in model.modules())


def test_concat_keeps_images_in_channels_last_memory():
    y = Concat([conv(2, 3), Identity()])(draw((2, 2, 4, 4)))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


def test_state_dict_names():
    assert list(Residual(conv(2, 2), shortcut=Linear(2, 2, bias=False)).state_dict()) == [
        "body.weight",
        "body.bias",
        "shortcut.weight",
    ]
    assert list(Sum([Linear(2, 2, bias=False), Sequential([Linear(2, 2, bias=False)])]).state_dict()) == [
        "0.weight",
        "1.0.weight",
    ]


def test_repr_evaluates():
    import cnn
    import cnn.layers

    names = {name: getattr(package, name) for package in (cnn, cnn.layers) for name in package.__all__}
    assert repr(eval(repr(inception()), names)) == repr(inception())


# Product


def squeeze_and_excite(channels):
    """Channels are scaled by what the whole image holds."""
    gate = [AdaptiveAvgPool2d(1), conv(channels, 2, 1), ReLU(), conv(2, channels, 1), Hardsigmoid(alpha=0.2)]
    return Product([Identity(), Sequential(gate)])


def test_the_gradient_of_a_product_is_right_where_factors_are_zero():
    """One zero: its branch gets the product of the others. Two zeros: no branch gets anything, and nothing is NaN."""
    layer = Product([Affine(4), Affine(4), Affine(4)]).to(np.float64)
    factors = np.array([[0.0, 0.0, 2.0, 0.0], [3.0, 0.0, 5.0, 0.0], [7.0, 4.0, 6.0, 0.0]])
    for branch, factor in zip(layer.branches, factors, strict=True):
        branch.weight.data = factor
    x = np.array([[1.0, 2.0, -1.0, 3.0]])
    np.testing.assert_array_equal(layer(x), factors.prod(axis=0) * x**3)
    x_grad = layer.backward(np.ones_like(x))
    others = np.array([[3.0 * 7, 0, 5 * 6, 0], [0, 0, 2 * 6, 0], [0, 0, 2 * 5, 0]])
    for branch, other in zip(layer.branches, others, strict=True):
        np.testing.assert_array_equal(branch.bias.grad, other * x[0] ** 2)
        np.testing.assert_array_equal(branch.weight.grad, other * x[0] ** 3)
    np.testing.assert_array_equal(x_grad, (3 * factors.prod(axis=0) * x**2))


def test_a_gate_keeps_the_memory_order_and_survives_a_file(tmp_path):
    model = Sequential([conv(3, 8), squeeze_and_excite(8), ReLU()])
    x = draw((2, 3, 6, 5))
    y = model(x)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(Sequential.load(tmp_path / "model.safetensors")(x), y)


@pytest.mark.parametrize("branches", [("whole", "gate"), ("gate", "whole")], ids="-".join)
def test_the_order_of_a_gate_and_what_it_scales_makes_no_difference(branches):
    made = {"whole": conv(2, 3), "gate": Sequential([AdaptiveAvgPool2d(1), conv(2, 3, 1)])}
    layer, x = Product([made[name] for name in branches]).to(np.float64), draw((2, 2, 4, 3)).astype(np.float64)
    y = layer(x)
    assert y.shape == (2, 3, 4, 3)
    np.testing.assert_allclose(y, made["whole"](x) * made["gate"](x), rtol=1e-14)
    grad = draw(y.shape, np.float64, 1)
    layer.backward(grad)
    expected = (grad * made["whole"](x)).sum(axis=(2, 3))
    np.testing.assert_allclose(made["gate"][1].bias.grad, expected.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("branches", "shapes"),
    [
        (lambda: [Identity(), conv(2, 3)], r"\(2, 2, 4, 4\) and \(2, 3, 4, 4\)"),
        (lambda: [Identity(), Flatten()], r"\(2, 2, 4, 4\) and \(2, 32\)"),
        (lambda: [Identity(), AdaptiveAvgPool2d(2), AdaptiveAvgPool2d(1)], r"\(2, 2, 2, 2\) and \(2, 2, 1, 1\)"),
        (lambda: [Identity(), FirstOnly()], r"\(2, 2, 4, 4\) and \(1, 2, 4, 4\)"),
    ],
)
def test_factors_that_do_not_fit_are_rejected(branches, shapes):
    with pytest.raises(
        ShapeError, match=f"to be multiplied must have the same shape, but for axes of length 1.*{shapes}"
    ):
        Product(branches())(draw((2, 2, 4, 4)))


class FirstOnly(Module):
    def forward(self, x):
        return x[:1]


# Errors


def test_an_error_gives_the_position_of_the_layer_at_any_depth():
    model = Sequential([Flatten(), Residual(Sequential([ReLU(), Sum([Identity(), Linear(7, 8)])]))])
    with pytest.raises(InputError, match=r"^layer 1\.body\.1\.1, Linear\(in_features=7, .*\): .*set in_features=8"):
        model(draw((2, 2, 2, 2)))


def test_branches_with_incompatible_shapes_are_rejected():
    x = draw((2, 3))
    with pytest.raises(ShapeError, match=r"layer 0, Sum.*same shape, got \(2, 4\) and \(2, 3\)"):
        Sequential([Sum([Linear(3, 4), Identity()])])(x)
    with pytest.raises(ShapeError, match=r"differ only in axis 1, got \(2, 3, 4, 4\) and \(2, 3, 2, 2\)"):
        Concat([Identity(), MaxPool2d(2)])(draw((2, 3, 4, 4)))
    layer = Concat([Identity(), Identity()])
    layer(x)
    with pytest.raises(ShapeError, match="gradient with 6 channels"):
        layer.backward(draw((2, 5)))


@pytest.mark.parametrize(
    "build",
    [
        lambda layer: Sequential([layer, layer]),
        lambda layer: Sum([layer, layer]),
        lambda layer: Product([layer, layer]),
        lambda layer: Concat([Identity(), layer, Sequential([layer])]),
        lambda layer: Residual(layer, shortcut=layer),
        lambda layer: Sequential([Residual(Sequential([layer])), ReLU(), layer]),
    ],
)
def test_the_same_instance_twice_is_rejected_and_sharing_is_explained(build):
    with pytest.raises(ValueError, match=r"the same Linear instance.*to share weights, assign them, as in b\.weight"):
        build(Linear(2, 2))


@pytest.mark.parametrize("container", [Sequential, Sum, Product, Concat])
def test_objects_that_are_not_layers_are_rejected(container):
    with pytest.raises(ValueError, match="needs at least one layer"):
        container([])
    with pytest.raises(TypeError, match=r"layer 1 is the class ReLU, not a layer: write ReLU\(...\)"):
        container([Identity(), ReLU])
    with pytest.raises(TypeError, match="layer 0 must be a Module, got 'relu'"):
        container(["relu"])


# Shared weights


def test_a_shared_parameter_gets_the_sum_of_both_gradients():
    """Compared with two parameters that only have equal values."""
    x, grad = draw((4, 3)), draw((4, 3), seed=1)

    def model(share):
        a, b = Linear(3, 3, bias=False, rng=0), Linear(3, 3, bias=False, rng=0)
        if share:
            b.weight = a.weight
        return Sequential([a, ReLU(), b])

    shared, apart = model(True), model(False)
    for m in (shared, apart):
        m(x)
        m.backward(grad)
    a, b = apart.parameters()
    (both,) = shared.parameters()
    assert difference(both.grad, a.grad + b.grad) <= 1e-6
    assert list(shared.state_dict()) == ["0.weight", "2.weight"]
    gradcheck(shared, x)


def test_a_shared_parameter_is_updated_once():
    a, b = Linear(3, 3, bias=False, rng=0), Linear(3, 3, bias=False, rng=1)
    b.weight = a.weight
    before = a.weight.data.copy()
    model = Sequential([a, Tanh(), b], loss_func=MSELoss(), optimizer=Adam(lr=0.1))
    model.train_step(draw((4, 3)), draw((4, 3)))
    np.testing.assert_allclose(np.abs(a.weight.data - before), 0.1, rtol=1e-3)  # Adam's first step, one time
    assert b.weight is a.weight


# Whether the gradient of the input is needed


class Spy(Module):
    """Counts how often the gradient of its input is requested."""

    def __init__(self):
        self.asked = 0

    def forward(self, x):
        return x

    def backward(self, grad):
        self.asked += self.needs_input_grad
        return grad


def test_without_an_optimizer_a_net_returns_the_gradient_of_its_input():
    model = Sequential([Linear(3, 2), ReLU()])
    assert model.backward(model(draw((4, 3)))).shape == (4, 3)


def test_with_an_optimizer_the_gradient_of_the_input_is_not_computed():
    model = Sequential([Linear(3, 2), ReLU()], optimizer=Adam())
    assert model.backward(model(draw((4, 3)))) is None
    assert [layer.needs_input_grad for layer in model] == [False, True]
    model.optimizer = None
    assert model.backward(model(draw((4, 3)))).shape == (4, 3)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda spy, later: Sequential([spy, later, Linear(3, 2)]),
        lambda spy, later: Sequential([Sequential([spy, later]), Linear(3, 2)]),
        lambda spy, later: Sequential([Residual(Sequential([spy, later]), shortcut=Linear(3, 3)), Linear(3, 2)]),
        lambda spy, later: Sequential([Concat([Sequential([spy, later]), Identity()]), Linear(6, 2)]),
        lambda spy, later: Sequential([Sum([Identity(), Sequential([spy, later])]), Linear(3, 2)]),
    ],
)
def test_needs_input_grad_reaches_the_first_layer_through_containers(wrap):
    """All parameters get the same gradients as in a net without optimizer."""
    spy, later = Spy(), Spy()
    model = wrap(spy, later)
    x, grad = draw((4, 3)), draw((4, 2), seed=1)
    model(x)
    assert model.backward(grad).shape == x.shape
    expected = [p.grad for p in model.parameters()]
    assert (spy.asked, later.asked) == (1, 1)
    model.zero_grad()
    model.optimizer = Adam()
    model(x)
    assert model.backward(grad) is None
    assert (spy.asked, later.asked) == (1, 2)
    for p, g in zip(model.parameters(), expected, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_a_model_inside_another_returns_the_gradient_of_its_input():
    """A model that was trained separately can be the second part of another."""
    head = Sequential([Linear(3, 2), ReLU()], optimizer=Adam())
    body = Linear(4, 3)
    model = Sequential([body, ReLU(), head])
    model(draw((5, 4)))
    assert model.backward(draw((5, 2))).shape == (5, 4)
    assert body.weight.grad is not None


# Slices


def test_a_slice_is_a_net_of_the_same_layers():
    model = Sequential([Linear(3, 4), ReLU(), Linear(4, 2), Softmax()], loss_func=CrossEntropyLoss(), optimizer=Adam())
    assert len(model) == 4
    assert tuple(model) == model.layers
    assert model[-1] is model.layers[3]
    logits = model[:-1]
    assert isinstance(logits, Sequential)
    assert logits.layers == model.layers[:3]
    assert logits.loss_func is None
    assert logits.optimizer is None
    x = draw((5, 3))
    np.testing.assert_array_equal(model[-1](logits(x)), model(x))
    gradcheck(model[1:], draw((5, 4)))


def test_a_slice_of_a_model_returns_the_gradient_of_its_input():
    model = Sequential([Linear(3, 4), ReLU(), Linear(4, 2)], optimizer=Adam())
    part = model[:2]
    assert part.backward(part(draw((5, 3)))).shape == (5, 3)
    assert model.backward(model(draw((5, 3)))) is None
