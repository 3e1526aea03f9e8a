"""Metrics of labels, compared with numbers computed by hand by scikit-learn's definitions, and with class reports."""

import numpy as np
import pytest

from cnn.errors import InputError, ShapeError
from cnn.metrics import class_report, label_report, multilabel_confusion_matrix

TRUE = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
PREDICTED = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]])


def test_matrices_by_hand():
    """[[true 0, false 1], [false 0, true 1]]; the example of scikit-learn's documentation is the last."""
    matrices = multilabel_confusion_matrix(TRUE, PREDICTED)
    np.testing.assert_array_equal(matrices, [[[1, 1], [1, 2]], [[1, 1], [1, 2]], [[5, 0], [0, 0]]])
    assert matrices.dtype == np.int64
    theirs = multilabel_confusion_matrix([[1, 0, 1], [0, 1, 0]], [[1, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(theirs, [[[1, 0], [0, 1]], [[1, 0], [0, 1]], [[0, 1], [1, 0]]])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_report_by_hand(dtype):
    report = label_report(TRUE.astype(dtype), PREDICTED, ["a", "b", "c"])
    np.testing.assert_allclose(report.precision, [2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(report.recall, [2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(report.f1, [2 / 3, 2 / 3, np.nan])
    np.testing.assert_array_equal(report.count, [3, 3, 0])
    assert report.macro == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    assert "Accuracy 73.3 % (11 of 15 answers, over samples and labels)." in str(report)
    assert '"-": undefined' in str(report)
    assert "<th" in report._repr_html_()


def test_each_label_is_the_class_1_of_its_own_class_report():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 2, (2, 40, 4, 3, 2))
    report = label_report(true, predicted, list("abcd"))
    for k in range(4):
        alone = class_report(true[:, k], predicted[:, k], ["no", "yes"])
        np.testing.assert_array_equal(report.matrix[k], alone.matrix)
        for name in ("precision", "recall", "f1", "count"):
            assert getattr(report, name)[k] == getattr(alone, name)[1]


@pytest.mark.parametrize(
    ("true", "predicted", "error", "match"),
    [
        ([0, 1], [0, 1], ShapeError, r"y_true must be \(N, K\) with K labels, got \(2,\).*y_true\[:, None\]"),
        (TRUE, PREDICTED[:, :2], ShapeError, r"the same shape, got \(5, 3\) and \(5, 2\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), ShapeError, "y_true is empty"),
        (TRUE, PREDICTED * 0.7, InputError, "y_pred must hold labels of 0 and 1, got float64: pass y_pred >= 0.5"),
        (TRUE * 2, PREDICTED, InputError, "y_true must hold labels of 0 and 1"),
        (TRUE * np.nan, PREDICTED, InputError, "y_true must hold labels"),
        (TRUE.astype(str), PREDICTED, InputError, "y_true must hold labels"),
    ],
)
def test_wrong_labels_are_reported(true, predicted, error, match):
    with pytest.raises(error, match=match):
        multilabel_confusion_matrix(true, predicted)


def test_names_are_checked():
    with pytest.raises(ShapeError, match="label_names has 2 names, but there are 3 labels"):
        label_report(TRUE, PREDICTED, ["a", "b"])
    for wrong in ("abc", [1, 2, 3]):
        with pytest.raises(InputError, match="label_names must be a list of strings, one for each label"):
            label_report(TRUE, PREDICTED, wrong)
