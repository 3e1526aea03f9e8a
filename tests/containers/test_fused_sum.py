"""Residual, ReLU and Sum, ReLU as one: what they do one by one."""

import numpy as np
import pytest

from cnn import Sequential, kernels
from cnn.containers.branches import Residual, Sum, added
from cnn.kernels import backend
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU
from cnn.module import Module
from cnn.utils.gradcheck import difference
from tests.containers import steps
from tests.containers.test_fused_jit import draw, everything, kinds
from tests.kernels.backends import needs_numba, using

pytestmark = needs_numba


@pytest.fixture(autouse=True)
def compiled():
    with using("jit"):
        yield


class MyResidual(Residual):
    pass


def test_which_neighbours_are_steps():
    conv = Conv2d(2, 2, 3, padding=1)
    assert kinds([Residual(Identity()), ReLU(), Sum([Identity(), Identity()]), ReLU()]) == [
        ("Residual", "ReLU"),
        ("Sum", "ReLU"),
    ]
    assert kinds([Residual(Identity()), ReLU(), MaxPool2d(2)]) == [("Residual", "ReLU")]
    assert kinds([MyResidual(Identity()), ReLU()]) == []
    assert kinds([Residual(conv), BatchNorm2d(2), ReLU()]) == []


def block(fuse, kind):
    body = Sequential([Conv2d(4, 4, 3, padding=1, bias=False, rng=0), BatchNorm2d(4)], fuse=fuse)
    shortcut = Conv2d(4, 4, 1, rng=1)
    made = {
        "residual": lambda: Residual(body),
        "shortcut": lambda: Residual(body, shortcut),
        "sum": lambda: Sum([shortcut, body]),
        "three": lambda: Sum([shortcut, body, Identity()]),
    }[kind]()
    return Sequential([Conv2d(4, 4, 1, rng=3), made, ReLU(), Conv2d(4, 3, 1, rng=2)], fuse=fuse)


@pytest.mark.parametrize("kind", ["residual", "shortcut", "sum", "three"])
@pytest.mark.parametrize("shape", [(2, 4, 5, 6), (40, 4, 20, 20)], ids=["small", "large"])
def test_fused_is_what_one_by_one_is(kind, shape):
    x = draw(shape)
    for a, b in zip(everything(block(True, kind), x), everything(block(False, kind), x), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert difference(a, b) <= 5e-6
    assert ("SumReLUStep" in steps.ran(block(True, kind), x)) == (kind != "three")


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["channels first", "channels last"])
def test_branches_of_any_layout_and_dtype(axes):
    """And what is no number stays none."""

    class As(Module):
        def __init__(self, dtype, axes):
            self.dtype, self.axes = dtype, axes

        def forward(self, x):
            made = np.ascontiguousarray(x.transpose(self.axes)).astype(self.dtype)
            return made.transpose(np.argsort(self.axes))

        def backward(self, grad):
            return grad.astype(np.float32)

    x = draw((2, 3, 4, 5))
    x[0, 0, 0, :2] = np.nan, np.inf
    grad = draw(x.shape, 1)
    for dtype in (np.float32, np.float64):
        made = []
        for fuse in (True, False):
            model = Sequential([Sum([As(dtype, axes), As(dtype, (0, 1, 2, 3))]), ReLU()], fuse=fuse)
            y = model(x)
            made.append((y, model.backward(grad.astype(y.dtype))))
        for a, b in zip(*made, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_errors_are_those_of_the_layers():
    class Wrong(Module):
        def __init__(self):
            pass

        def forward(self, x):
            return x

        def backward(self, grad):
            return None

    def run(model, x, backward):
        y = model(x)
        if backward:
            model.backward(y)

    def told(model, x, backward):
        with pytest.raises(ValueError, match="layer 1") as caught:
            run(model, x, backward)
        return str(caught.value)

    cases = [
        (lambda fuse: _of(block(fuse, "residual")[1], fuse), draw((1, 3, 5, 5)), False, "layer 1.body.0, Conv2d"),
        (lambda fuse: _of(Residual(Conv2d(4, 5, 1)), fuse), draw((1, 4, 5, 5)), False, "layer 1, Residual("),
        (lambda fuse: _of(Residual(Wrong()), fuse), draw((1, 4, 5, 5)), True, "layer 1.body, Wrong"),
    ]
    for make, x, backward, text in cases:
        fused, single = (told(make(fuse), x, backward) for fuse in (True, False))
        assert fused == single
        assert text in fused


def _of(layer, fuse):
    return Sequential([Identity(), layer, ReLU()], fuse=fuse)


def test_a_wrong_gradient_names_the_layer_and_a_second_backward_raises():
    model = Sequential([Residual(Linear(3, 3)), ReLU()])
    y = model(draw((2, 3)))
    with pytest.raises(ValueError, match=r"layer 1, ReLU\(\): ReLU.backward expects the gradient of its output"):
        model.backward(y[:1])
    y = model(draw((2, 3)))
    model.backward(y)
    with pytest.raises(RuntimeError, match="nothing saved"):
        model.backward(y)


def test_integers_are_refused_by_relu():
    class Whole(Module):
        def __init__(self):
            pass

        def forward(self, x):
            return x.astype(int)

    messages = []
    for fuse in (True, False):
        with pytest.raises(ValueError, match=r"layer 2, ReLU\(\): expected float32 or float64, got int64") as caught:
            _of(Sum([Whole(), Whole()]), fuse)(draw((2, 3)))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("after", [[Flatten(), Linear(4 * 5 * 6, 2, rng=0)], [MaxPool2d(2)]])
@pytest.mark.parametrize("name", ["array", "jit"])
def test_what_comes_next(after, name):
    """A gradient in another order than the output; a pool, which with ReLU is a group of plain NumPy."""
    kernels.use(name)
    x, found = draw((3, 4, 5, 6)), []
    for fuse in (True, False):
        layers = [Conv2d(4, 4, 1, rng=0), Residual(Conv2d(4, 4, 3, padding=1, rng=1)), ReLU(), *after]
        found.append(everything(Sequential(layers, fuse=fuse), x))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (5,), (3, 5, 7, 9), (40_001,), (8, 16, 33, 33)])
def test_its_kernels(threads, shape):
    branches = backend.load("cnn.kernels.jit.branches")
    x, z = draw(shape), draw(shape, 1)
    x.flat[:3], z.flat[:3] = (np.nan, 1, -0.0)[: x.size], (1, -1, 0)[: z.size]
    total = x + z
    with using("jit", threads):
        np.testing.assert_array_equal(added(x, z), total)
        y = branches.added_relu(x, z)
        np.testing.assert_array_equal(y, np.where(total <= 0, 0, total))
        assert not np.signbit(y[y == 0]).any()
        np.testing.assert_array_equal(branches.added_relu_grad(z, y), np.where(y <= 0, 0, z))
        for other in (np.asfortranarray(z), z[:1], np.broadcast_to(z[:1], shape)):
            made = branches.added_relu(x, other)
            if made is not NotImplemented:
                np.testing.assert_array_equal(made, np.maximum(x + other, 0))


def test_its_profile():
    model = Sequential([Residual(Linear(3, 3)), ReLU(), Linear(3, 2)])
    rows = model.profile(draw((2, 3))).rows
    assert [(row["name"], row["layer"]) for row in rows] == [
        ("0.body", "Linear"),
        ("0.shortcut", "Identity"),
        ("0 to 1", "Residual, ReLU"),
        ("2", "Linear"),
    ]
    assert all(row["forward"] > 0 and row["backward"] > 0 for row in rows)
