"""Confusion matrix and class report, compared with numbers computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import InputError, ShapeError
from cnn.metrics import class_report, confusion_matrix

TRUE = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
PREDICTED = [0, 0, 0, 1, 1, 1, 0, 2, 0, 2]


def test_rows_are_the_true_classes():
    matrix = confusion_matrix(TRUE, PREDICTED, 4)
    np.testing.assert_array_equal(matrix, [[3, 1, 0, 0], [1, 2, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]])
    assert matrix.dtype == np.int64


labels = st.integers(1, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=40),
    )
)


@given(labels, st.sampled_from([np.uint8, np.int32, np.uint64]))
def test_the_matrix_counts_every_pair(drawn, dtype):
    classes, pairs = drawn
    true, predicted = np.array(pairs).T
    matrix = confusion_matrix(true.astype(dtype), predicted, classes)
    expected = [[pairs.count((i, j)) for j in range(classes)] for i in range(classes)]
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(confusion_matrix(predicted, true, classes), matrix.T)


def test_labels_of_any_shape():
    true, predicted = np.array(TRUE).reshape(5, 2, 1), np.array(PREDICTED).reshape(5, 2, 1)
    np.testing.assert_array_equal(confusion_matrix(true, predicted, 3), confusion_matrix(TRUE, PREDICTED, 3))


@pytest.mark.parametrize(
    ("true", "predicted", "classes", "error", "match"),
    [
        ([0, 1], [0], 2, ShapeError, r"the same shape, got \(2,\) and \(1,\)"),
        ([[0], [1]], [0, 1], 2, ShapeError, "the same shape"),
        ([], [], 2, ShapeError, "y_true is empty"),
        ([0, 1], np.eye(2), 2, InputError, r"y_pred.*float64.*y_pred.argmax\(axis=1\)"),
        ([0.0, 1.0], [0, 1], 2, InputError, r"y_true.*y_true.astype\(np.int64\)"),
        ([True, False], [0, 0], 1, InputError, "y_true must lie between 0 and 0 for 1 classes, got 0 to 1"),
        (["cat", "dog"], [0, 1], 2, InputError, "y_true.*np.unique"),
        ([0, 2], [0, 1], 2, InputError, "y_true must lie between 0 and 1 for 2 classes, got 0 to 2: pass 3 classes"),
        ([0, 1], [0, -100], 2, InputError, "y_pred.*got -100 to 0: leave out"),
        ([0, 1], [0, 1], 0, ValueError, "classes must be an integer of at least 1"),
        (np.array([2**64 - 1], np.uint64), [0], 1, InputError, "got 18446744073709551615 to"),
    ],
)
def test_wrong_labels_are_reported(true, predicted, classes, error, match):
    with pytest.raises(error, match=match):
        confusion_matrix(true, predicted, classes)


def test_yes_and_no_may_be_bool():
    true, predicted = np.array([[True], [False], [True]]), np.array([[1], [1], [0]])
    for y_true in (true, true.astype(int)):
        for y_pred in (predicted, predicted > 0):
            np.testing.assert_array_equal(confusion_matrix(y_true, y_pred, 2), [[0, 1], [1, 1]])
            assert str(class_report(y_true, y_pred, ["no", "yes"])).splitlines()[3].split()[0] == "yes"


def test_report_computed_by_hand():
    report = class_report(TRUE, PREDICTED, ["a", "b", "c"])
    np.testing.assert_allclose(report.precision, [3 / 5, 2 / 3, 1])
    np.testing.assert_allclose(report.recall, [3 / 4, 2 / 3, 2 / 3])
    np.testing.assert_allclose(report.f1, [6 / 9, 2 / 3, 4 / 5])
    np.testing.assert_array_equal(report.count, [4, 3, 3])
    assert report.macro["precision"] == pytest.approx((3 / 5 + 2 / 3 + 1) / 3)
    assert report.macro["recall"] == pytest.approx((3 / 4 + 4 / 3) / 3)
    assert report.macro["f1"] == pytest.approx((6 / 9 + 2 / 3 + 4 / 5) / 3)


def test_undefined_metrics_are_nan_and_a_dash_without_a_warning():
    """Class b is never predicted, c never occurs, d neither; warnings are errors here."""
    report = class_report([0, 1, 1], [0, 0, 2], ["a", "b", "c", "d"])
    np.testing.assert_array_equal(report.precision, [0.5, np.nan, 0, np.nan])
    np.testing.assert_array_equal(report.recall, [1, 0, np.nan, np.nan])
    np.testing.assert_allclose(report.f1, [2 / 3, 0, 0, np.nan])
    assert report.macro == pytest.approx({"precision": 0.25, "recall": 0.5, "f1": 2 / 9})
    rows = [line.split() for line in str(report).splitlines()]
    assert rows[2:6] == [
        ["a", "0.500", "1.000", "0.667", "1"],
        ["b", "-", "0.000", "0.000", "2"],
        ["c", "0.000", "-", "0.000", "0"],
        ["d", "-", "-", "-", "0"],
    ]
    assert rows[7] == ["mean", "0.250", "0.500", "0.222", "3"]
    assert '"-"' in report.notes()
    assert '"-"' not in class_report(TRUE, PREDICTED, ["a", "b", "c"]).notes()


@given(labels)
def test_f1_is_the_harmonic_mean_where_both_are_above_zero(drawn):
    classes, pairs = drawn
    report = class_report(*np.array(pairs).T, [f"class {k}" for k in range(classes)])
    both = (report.precision > 0) & (report.recall > 0)
    p, r = report.precision[both], report.recall[both]
    np.testing.assert_allclose(report.f1[both], 2 * p * r / (p + r))
    assert len(str(report).splitlines()) == classes + 5


def test_the_report_as_html_escapes_names():
    html = class_report([0, 1], [0, 1], ["<b>", "&"])._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "Accuracy 100.0 % (2 of 2" in html


def test_names_are_checked():
    with pytest.raises(InputError, match="class_names must be a list of strings"):
        class_report([0], [0], "ab")
    with pytest.raises(InputError, match="class_names must be a list of strings"):
        class_report([0], [0], [1, 2])
    with pytest.raises(InputError, match=r"y_true.*0 to 1"):
        class_report([0, 1], [0, 0], ["a"])
