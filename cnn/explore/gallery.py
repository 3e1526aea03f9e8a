"""Which of many images a page shows: some right, some wrong, and those of which the net is least sure."""

from typing import Any

import numpy as np

from cnn.module import Array

COUNT = 12
EXAMPLES = 3  # of each mistake
MANY_CLASSES = 50  # with more, a table of which class is taken for which is not shown


def choose(probabilities: Array, labels: Array | None, count: int = COUNT) -> list[tuple[int, str]]:
    """Return the images to show, and why each: "right", "wrong", "unsure" or "sure", one of each kind in turn.

    Those that are right come from as many classes as possible; those that are wrong begin with the net most sure.
    Without labels, it is those of which the net is least and most sure.

    Parameters
    ----------
    probabilities : ndarray, (N, K)
        As the net gives them.
    labels : ndarray of int, (N,), or None
        The true classes.
    count : int
        How many to show.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.05, 0.95]])
    >>> choose(p, np.array([0, 0, 0, 1]), 4)
    [(3, 'right'), (1, 'wrong'), (2, 'unsure'), (0, 'right')]
    """
    predicted, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    surest_first = np.argsort(-top, kind="stable")
    kinds: dict[str, list[int]] = {}
    if labels is None:
        kinds["sure"] = _varied(surest_first, predicted)
    else:
        is_right = predicted == labels
        kinds["right"] = _varied(surest_first[is_right[surest_first]], predicted)
        kinds["wrong"] = _varied(surest_first[~is_right[surest_first]], labels)
    kinds["unsure"] = [int(i) for i in surest_first[::-1]]
    chosen: dict[int, str] = {}
    while len(chosen) < min(count, len(probabilities)):
        for kind, queue in kinds.items():
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue and len(chosen) < count:
                chosen[queue.pop(0)] = kind
    return list(chosen.items())


def confusion(predicted: Array, labels: Array, classes: int) -> list[list[int]] | None:
    """Return how many images of each class, a row, were taken for each class, a column; None with many classes."""
    if classes > MANY_CLASSES:
        return None
    counts: Any = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts.tolist()


def mistakes(predicted: Array, labels: Array) -> dict[tuple[int, int], list[int]]:
    """Return some images of each true class that were taken for each other class, the most frequent mistake first.

    Examples
    --------
    >>> mistakes(np.array([1, 1, 0, 0]), np.array([0, 0, 0, 1]))
    {(0, 1): [0, 1], (1, 0): [3]}
    """
    found: dict[tuple[int, int], list[int]] = {}
    for i in np.flatnonzero(predicted != labels):
        found.setdefault((int(labels[i]), int(predicted[i])), []).append(int(i))
    order = sorted(found, key=lambda pair: -len(found[pair]))
    return {pair: found[pair][:EXAMPLES] for pair in order}


def _varied(order: Array, classes: Array) -> list[int]:
    """Return an order in which the first images are of different classes, then the second ones, and so on."""
    seen: dict[int, int] = {}
    rounds = []
    for i in order:
        k = int(classes[i])
        rounds.append(seen.get(k, 0))
        seen[k] = rounds[-1] + 1
    return [int(i) for i in np.asarray(order)[np.argsort(rounds, kind="stable")]]
