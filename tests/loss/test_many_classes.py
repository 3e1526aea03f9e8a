"""The gradient of a loss over many classes is as exact as over few: float32 against float64, for each backend."""

import numpy as np
import pytest

from cnn.layers import LogSoftmax, Softmax
from cnn.loss import CrossEntropyLoss, NLLLoss
from cnn.utils.gradcheck import difference
from tests.kernels.backends import needs_numba, using

LARGEST_ERROR = 2e-6  # of the largest entry but the targets'
BACKENDS = ["reference", "array", pytest.param("jit", marks=needs_numba)]


def cross_entropy(logits, ids, **options):
    """Loss and gradient of the fused formula."""
    loss_func = CrossEntropyLoss(from_logits=True, **options)
    return loss_func(logits, ids), loss_func.backward()


def smoothed(logits, ids):
    return cross_entropy(logits, ids, label_smoothing=0.1)


def weighted(logits, ids):
    return cross_entropy(logits, ids, weight=np.linspace(0.5, 2, logits.shape[1]))


def probabilities(logits, ids):
    """Targets that are probabilities, half of which belong to the class, and half to all."""
    one_hot = np.expand_dims(ids, 1) == np.arange(logits.shape[1]).reshape(-1, *[1] * (logits.ndim - 2))
    return cross_entropy(logits, (one_hot / 2 + 1 / (2 * logits.shape[1])).astype(logits.dtype))


def after_softmax(logits, ids):
    layer, loss_func = Softmax(dim=1), CrossEntropyLoss()
    return loss_func(layer(logits), ids), layer.backward(loss_func.backward())


def after_log_softmax(logits, ids):
    layer, loss_func = LogSoftmax(dim=1), NLLLoss()
    return loss_func(layer(logits), ids), layer.backward(loss_func.backward())


WAYS = [cross_entropy, smoothed, weighted, probabilities, after_softmax, after_log_softmax]


def errors(way, logits, ids):
    """Return the error of the loss, and those of the gradient at targets and elsewhere, relative to the largest there."""
    (loss, grad), (exact_loss, exact) = way(logits, ids), way(logits.astype(np.float64), ids)
    assert grad.dtype == np.float32
    at_targets = np.zeros(grad.shape, bool)
    np.put_along_axis(at_targets, np.expand_dims(ids, 1), True, axis=1)
    of_grad = [difference(grad[places], exact[places]) for places in (at_targets, ~at_targets)]
    return abs(loss - exact_loss) / exact_loss, *of_grad


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("classes", [10, 129, 1_000, 100_000])
@pytest.mark.parametrize("order", ["rows", "columns", "pixels"])
def test_errors_do_not_grow(backend, way, classes, order):
    """Logits within 10 of zero; classes contiguous in memory, and far apart: then NumPy adds one after another."""
    rng = np.random.default_rng(classes)
    shape = {"rows": (5, classes), "columns": (5, classes), "pixels": (2, classes, 3)}[order]
    logits = np.asarray(rng.uniform(-10, 10, shape).astype(np.float32), order="F" if order == "columns" else "C")
    ids = rng.integers(0, classes, (shape[0], *shape[2:]))
    with using(backend):
        found = errors(way, logits, ids)
    print(f"{backend} {way.__name__} {classes} {order}: {found[0]:.1e} {found[1]:.1e} {found[2]:.1e}")
    assert max(found) <= LARGEST_ERROR
