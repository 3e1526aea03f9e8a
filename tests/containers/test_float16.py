"""float16 inputs of whole nets: they give what the same float32 inputs give, on every route."""

import numpy as np
import pytest

import cnn
from cnn import Sequential, zoo
from cnn.containers.branches import Concat, Residual, Sum
from cnn.layers import Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.optim import SGD
from tests.kernels.backends import needs_numba, using

BACKENDS = ["reference", "array", pytest.param("jit", marks=needs_numba)]
HALF = np.random.default_rng(0).random((6, 1, 28, 28)).astype(np.float16)
LABELS = np.arange(6) % 10


def net():
    cnn.manual_seed(0)
    model = zoo.small_cnn((1, 28, 28), 10)
    model.loss_func, model.optimizer = CrossEntropyLoss(), SGD(lr=0.1)
    return model


def by_hand(model, x):
    loss = model.loss_func(model(x), LABELS)
    model.backward(model.loss_func.backward())
    model.optimizer.step()
    return loss


ROUTES = {
    "call": lambda model, x: model(x),
    "eval": lambda model, x: model.eval()(x),
    "predict": lambda model, x: model.predict_proba(x),
    "evaluate": lambda model, x: model.evaluate(x, LABELS),
    "loss_and_grad": lambda model, x: model.loss_and_grad(x, LABELS)[1],
    "train_step": lambda model, x: model.train_step(x, LABELS),
    "by hand": by_hand,
    "fit": lambda model, x: model.fit(x, LABELS, epochs=1, rng=0, verbose_freq=0).train_loss,
    "activations": lambda model, x: model.activations(x)["0"],
}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("route", ROUTES)
def test_a_net_gives_the_bits_of_float32(route, name):
    with using(name):
        half, wide = net(), net()
        np.testing.assert_array_equal(ROUTES[route](half, HALF), ROUTES[route](wide, HALF.astype(np.float32)))
        for p, q in zip(half.parameters(), wide.parameters(), strict=True):
            np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequential([ReLU(), MaxPool2d(2), Flatten(), Linear(196, 3, rng=0)]),
        lambda: Sum([Identity(), Linear(28, 28, rng=0)]),
        lambda: Residual(Sequential([ReLU(), Conv2d(1, 1, 3, padding=1, rng=0)])),
        lambda: Concat([Identity(), Linear(28, 28, rng=0)]),
    ],
    ids=["layers without parameters first", "sum", "residual", "concat"],
)
def test_containers_widen_to_the_dtype_of_their_parameters(make, dtype, name):
    with using(name):
        half, wide = make().to(dtype), make().to(dtype)
        y, expected = half(HALF), wide(HALF.astype(dtype))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected)
        grad = half.backward(np.ones_like(y))
        assert grad.dtype == dtype
        np.testing.assert_array_equal(grad, wide.backward(np.ones_like(y)))


def test_a_user_layer_that_gives_float16_trains():
    class Half(Identity):
        def forward(self, x):
            return super().forward(x).astype(np.float16)

    model = Sequential([Linear(4, 2, rng=0), Half()], loss_func=MSELoss(), optimizer=SGD(lr=0.1))
    x = np.ones((3, 4), np.float32)
    before = model.train_step(x, np.zeros((3, 2)))
    assert model.train_step(x, np.zeros((3, 2))) < before
