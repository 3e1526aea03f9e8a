"""Metrics of classes and of labels: confusion matrices, reports, and a confidence interval for an accuracy."""

from cnn.metrics.classes import ClassReport, class_report, confusion_matrix
from cnn.metrics.interval import accuracy_interval
from cnn.metrics.labels import LabelReport, label_report, multilabel_confusion_matrix

__all__ = [
    "ClassReport",
    "LabelReport",
    "accuracy_interval",
    "class_report",
    "confusion_matrix",
    "label_report",
    "multilabel_confusion_matrix",
]
