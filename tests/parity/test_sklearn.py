"""Weights of classes and samples, and metrics, against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
from sklearn.utils.class_weight import compute_class_weight

from cnn import Sequential
from cnn.layers import Linear, Sigmoid, Softmax
from cnn.loss import BCELoss, CrossEntropyLoss
from cnn.loss.weighted import class_weighted
from cnn.metrics import class_report, label_report, multilabel_confusion_matrix

RNG = np.random.default_rng(0)


def test_balanced_weights_of_classes():
    y = np.array([0] * 50 + [1] * 7 + [2] * 3)
    ours = class_weighted(CrossEntropyLoss(), "balanced", y, (60, 3)).weight
    np.testing.assert_allclose(ours, compute_class_weight("balanced", classes=np.arange(3), y=y), rtol=1e-15)


def test_balanced_weights_of_each_label():
    y = (RNG.random((40, 3)) < [0.1, 0.5, 0.8]).astype(np.float64)
    ours = class_weighted(BCELoss(), "balanced", y, y.shape)
    for label in range(3):
        no, yes = compute_class_weight("balanced", classes=np.array([0.0, 1.0]), y=y[:, label])
        np.testing.assert_allclose(np.ravel(ours.weight)[label], no, rtol=1e-15)
        np.testing.assert_allclose(np.ravel(ours.pos_weight)[label], yes / no, rtol=1e-15)


@pytest.mark.parametrize("batch_size", [7, 256])
@pytest.mark.parametrize("kind", ["classes", "one label"])
def test_sample_weights_in_evaluate(kind, batch_size):
    x, weights = RNG.standard_normal((90, 4)), RNG.random(90)
    if kind == "classes":
        y = RNG.integers(0, 3, 90)
        model = Sequential([Linear(4, 3, rng=0), Softmax()], loss_func=CrossEntropyLoss()).to(np.float64)
    else:
        y = RNG.integers(0, 2, (90, 1))
        model = Sequential([Linear(4, 1, rng=0), Sigmoid()], loss_func=BCELoss()).to(np.float64)
    loss, accuracy = model.evaluate(x, y, batch_size=batch_size, sample_weight=weights)
    p, labels = model.predict_proba(x), np.ravel(y)
    assert loss == pytest.approx(sklearn.metrics.log_loss(labels, p, sample_weight=weights), rel=1e-12)
    theirs = sklearn.metrics.accuracy_score(labels, np.ravel(model.predict(x)), sample_weight=weights)
    assert accuracy == pytest.approx(theirs, rel=1e-12)


def test_reports():
    true, predicted = RNG.integers(0, 4, (2, 80))
    ours = class_report(true, predicted, list("abcd"))
    theirs = sklearn.metrics.precision_recall_fscore_support(true, predicted)
    for one, other in zip((ours.precision, ours.recall, ours.f1, ours.count), theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    np.testing.assert_array_equal(ours.matrix, sklearn.metrics.confusion_matrix(true, predicted))

    true, predicted = RNG.integers(0, 2, (2, 80, 5))
    labels = label_report(true, predicted, list("abcde"))
    theirs = sklearn.metrics.precision_recall_fscore_support(true, predicted)
    for one, other in zip((labels.precision, labels.recall, labels.f1, labels.count), theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    matrices = sklearn.metrics.multilabel_confusion_matrix(true, predicted)
    np.testing.assert_array_equal(multilabel_confusion_matrix(true, predicted), matrices)
