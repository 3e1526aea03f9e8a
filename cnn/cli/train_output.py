"""What `cnn train` prints after each epoch and at the end, and the model and the predictions that it writes."""

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn.cli import run_folders
from cnn.cli.csv_text import csv_line, path_cell, text_cell
from cnn.cli.datasets import Dataset
from cnn.cli.formatting import correct_text
from cnn.core.files import write_bytes
from cnn.loss import CrossEntropyLoss
from cnn.module import Array
from cnn.sequential import Sequential
from cnn.training.history import History, epoch_line
from cnn.training.progress import Progress, stream_progress

MISTAKES_SHOWN = 25
PREDICTIONS_COLUMNS = ("file", "class", "prediction", "probability", "correct")


def epoch_text(epoch: int, epochs: int, metrics: dict[str, float], columns: int | None = None) -> str:
    """Return the line about an epoch; in a terminal with few columns, with shorter names and fewer numbers.

    Examples
    --------
    >>> metrics = {"train_loss": 0.5, "train_accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.75, "seconds": 1.24}
    >>> for columns in (None, 80, 60, 40):
    ...     print(epoch_text(3, 50, metrics, columns))
    epoch  3/50  train loss 0.5000  train accuracy 0.8000  val loss 0.6000  val accuracy 0.7500  1.2 s
    epoch  3/50  loss 0.5000  acc 0.8000  val loss 0.6000  val acc 0.7500  1.2 s
    epoch  3/50  val loss 0.6000  val acc 0.7500  1.2 s
    epoch  3/50  val acc 0.7500  1.2 s
    """
    short = {name.removeprefix("train_").replace("accuracy", "acc"): value for name, value in metrics.items()}
    validation = {name: value for name, value in short.items() if name.startswith("val")}
    accuracy = {name: value for name, value in validation.items() if name.endswith("acc")}
    text = ""
    for shown in (metrics, short, validation, accuracy):
        text = f"{epoch_line(epoch, epochs, shown)}  {metrics['seconds']:.1f} s"
        if columns is None or len(text) <= columns:
            break
    return text


def result_text(
    part: str,
    loss: float,
    accuracy: float,
    count: int,
    baseline: float | None = None,
    balanced_accuracy: float | None = None,
) -> str:
    """Return the result of the final test.

    Parameters
    ----------
    part : {"test", "validation"}
        What the samples are.
    loss, accuracy : float
        On these samples.
    count : int
        Number of the samples.
    baseline : float, optional
        The accuracy on these samples of always guessing the largest class of the training samples.
    balanced_accuracy : float, optional
        The mean over the classes of the fraction of each that was recognised, where classes are uneven.

    Examples
    --------
    >>> print(result_text("test", 0.25, 0.915, 10_000, 0.5))
    test loss      0.2500
    test accuracy  0.9150  (9,150 of 10,000 correct; 95 % interval 0.909 to 0.920)
    test baseline  0.5000  (accuracy of always guessing the largest class)
    """
    lines = [f"{part} loss      {loss:.4f}", f"{part} accuracy  {accuracy:.4f}  ({correct_text(accuracy, count)})"]
    if balanced_accuracy is not None:
        lines.append(f"{part} balanced  {balanced_accuracy:.4f}  (balanced accuracy: every class counts as much)")
    if baseline is not None:
        lines.append(f"{part} baseline  {baseline:.4f}  (accuracy of always guessing the largest class)")
    return "\n".join(lines)


def write_predictions(
    path: Path, files: Sequence[str], labels: Array, probabilities: Array, class_names: Sequence[str]
) -> None:
    """Write a CSV with a row for each image: file, class, prediction, its probability, and whether it is correct.

    Parameters
    ----------
    path : Path
        The CSV file to write, in UTF-8.
    files : sequence of str
        N names of files.
    labels : ndarray of int, (N,)
        True class ids.
    probabilities : ndarray, (N, K)
        What ``predict_proba`` returns.
    class_names : sequence of str
        K names.
    """
    lines = [csv_line(PREDICTIONS_COLUMNS)]
    for file, label, row in zip(files, labels, probabilities, strict=True):
        predicted = int(np.argmax(row))
        classes = [text_cell(class_names[k]) for k in (label, predicted)]
        is_correct = "yes" if predicted == label else "no"
        lines.append(csv_line([path_cell(file), *classes, f"{row[predicted]:.6f}", is_correct]))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def draw(folder: Path, dataset: Dataset, model: Sequential, history: History, x: Any, y: Any) -> None:
    """Draw the plots of a run and write its predictions of the samples x, y; if one fails, those before it stay."""
    from cnn.report import plots  # here, because matplotlib is slow to import

    names = dataset.class_names
    probabilities = model.predict_proba(x)
    if files := dataset.test_files:
        write_predictions(folder / run_folders.PREDICTIONS, files, y, probabilities, names)
    plots.save(plots.history(history), folder / run_folders.CURVES)
    plots.save(plots.confusion(y, probabilities.argmax(axis=1), names), folder / run_folders.CONFUSION)
    if dataset.has_images:
        pixels, files = dataset.test[0], dataset.test_files
        mistakes = plots.mistakes(pixels, y, probabilities, names, count=MISTAKES_SHOWN, files=files)
        plots.save(mistakes, folder / run_folders.MISTAKES)
    else:
        plots.save(plots.decision_boundary(model.predict, x, y, names), folder / run_folders.BOUNDARY)


def save_model(
    path: Path, model: Sequential, weights: dict[str, Array] | None = None, whole: Sequential | None = None
) -> None:
    """Save the model with the loss of the final test, without class weights or label smoothing; it does not change.

    Parameters
    ----------
    path : Path
        The model file to write.
    model : Sequential
        As it is now.
    weights : dict of str to ndarray, optional
        What ``state_dict`` returned in the epoch to save; by default, or if it is empty, the weights of now.
    whole : Sequential, optional
        The model to save, if ``model`` is only its last layers.
    """
    saved = copy.copy(model if whole is None else whole)
    if weights:
        trained, saved = copy.deepcopy((model, saved))  # together, so that they still share layers
        (saved if whole is None else trained).load_state_dict(weights)
    saved.loss_func = CrossEntropyLoss()
    saved.save(path)


def progress_display(quiet: bool = False) -> Progress:
    """Return the progress display for stderr: a live line in a terminal, plain lines elsewhere, nothing if quiet."""
    return Progress() if quiet else stream_progress(sys.stderr)
