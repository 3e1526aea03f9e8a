"""Targets of images whose pixels move: labels stay as they are, masks move along, others need a word from the user.

- *Labels*: class ids (N,) of integers; class probabilities (N, K), whose rows sum to one; yes or no, as 1 and 0, (N,)
  or (N, K). They stay as they are.
- *Masks*: (N, H, W) or (N, C, H, W) with the height and width of the images. They move with the images.
- *Others*, such as boxes, points and measurements: only the user knows what they are. ``DataLoader(..., targets=...)``
  says it: "points" move with the images, "unmoved" stays as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnn.core.parameter import Array
from cnn.data.reading import take
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError

WORDS = (None, "points", "unmoved")
IGNORED = -100  # the default ignore_index of CrossEntropyLoss, as in PyTorch
TOLERANCE = 1e-3  # for sums of probabilities, as in CrossEntropyLoss
MAX_SAMPLES = 1000  # targets that are not in memory are looked at before training, at most
FIXES = (
    'pass DataLoader(..., targets="points") for points (N, P, 2) of (x, y) in pixels, which then move with the images, '
    'or targets="unmoved" for targets that stay right when pixels move'
)


def kind_of(y: Array, size: tuple[int, ...]) -> str:
    """Return "labels", "masks" or "others" for targets y of images with this (height, width).

    Examples
    --------
    >>> [kind_of(y, (28, 28)) for y in (np.array([3, 0, 2]), np.zeros((3, 28, 28)), np.eye(3) * 9)]
    ['labels', 'masks', 'others']
    """
    if y.ndim == 1 and y.dtype.kind in "iub":
        return "labels"
    if has_shape_of_masks(y, size):
        return "masks"
    if y.ndim not in (1, 2) or y.dtype.kind not in "iubf":
        return "others"
    if ((y == 0) | (y == 1)).all():
        return "labels"
    probabilities = y.ndim == 2 and y.dtype.kind == "f" and (y >= 0).all()
    if probabilities and (np.abs(y.sum(axis=1) - 1) <= TOLERANCE).all():
        return "labels"
    return "others"


def has_shape_of_masks(y: Array, size: tuple[int, ...]) -> bool:
    """Whether y holds real numbers (N, H, W) or (N, C, H, W) with this (height, width)."""
    return y.ndim in (3, 4) and y.shape[-2:] == tuple(size) and y.dtype.kind in "iubf"


def move_targets(y: Any, x: Array, move: Callable[[Array], Array]) -> Any:
    """Return labels as they are, and masks of the images x (N, C, H, W) moved by ``move``, which takes (N, C, H, W).

    Raises
    ------
    InputError
        If y are neither.
    """
    if y is None:
        return y
    targets = np.asarray(y)
    kind = kind_of(targets, x.shape[2:])
    if kind == "labels":
        return y
    if kind == "others":
        raise InputError(_unknown(targets, x.shape[2:]))
    return move(targets.reshape(len(targets), -1, *x.shape[2:])).reshape(targets.shape)


def outside_value(masks: Array, fill: float | None) -> float:
    """Return what masks hold where they show what lies outside the image; by default -100 or, for real numbers, 0."""
    if fill is None:
        fill = 0 if masks.dtype.kind == "f" else IGNORED
    if masks.dtype.kind != "f":
        low, high = (0, 1) if masks.dtype.kind == "b" else (np.iinfo(masks.dtype).min, np.iinfo(masks.dtype).max)
        if not (low <= fill <= high and fill == int(fill)):
            raise InputError(
                f"pixels from outside the image get {fill} in masks, but masks of {masks.dtype} cannot hold it: pass "
                "y.astype(np.int16), or set mask_fill, for example mask_fill=0 if 0 is the background, or "
                "mask_fill=255 and CrossEntropyLoss(ignore_index=255)"
            )
    return fill


def as_mask_fill(value: Any) -> float | None:
    """Return ``value`` if it is None or a number, or raise an error."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if value is not None and not number:
        raise ValueError(f"mask_fill must be None or a number, got {value!r}")
    return value if value is None or isinstance(value, (int, float)) else value.item()


def check_points(points: Any, samples: int | None = None) -> Array:
    """Return points as an array, or raise an error unless they are floating-point numbers (N, P, 2)."""
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[2] != 2 or samples not in (None, len(points)):
        raise ShapeError(
            f'targets="points" needs targets ({"N" if samples is None else samples}, P, 2), P pairs (x, y) for each '
            f"image, got {_shape(points)}: pass y.reshape(len(y), -1, 2)"
        )
    if points.dtype.kind != "f":
        raise InputError(f"points must be floating-point numbers, got {points.dtype}: pass y.astype(np.float32)")
    return points


def check_word(
    word: Any, transforms: Sequence[Any], y: Any, first_target: Array, sample_shape: tuple[int, ...]
) -> None:
    """Raise an error, before training, if a transform moves pixels and nothing says what the targets then do.

    ``word`` is what the user said, ``y`` are all targets, and ``sample_shape`` is the shape of a sample before the
    transforms; if that is not (C, H, W), there are no pixels to move.
    """
    if word not in WORDS:
        raise InputError(f'targets must be "points", "unmoved" or None, got {word!r}')
    if word == "points":
        check_points(first_target[None])
    moving = [t for t in transforms if getattr(t, "moves_pixels", None) is not False]
    if len(sample_shape) != 3 or not moving:
        return
    size: tuple[int, ...] = sample_shape[1:]
    targets = first_target[None]
    if targets.ndim == 2 or targets.dtype.kind not in "iub":  # one target does not show whether all are labels
        in_memory = type(y) is np.ndarray
        count = len(y) if in_memory else min(len(y), MAX_SAMPLES)
        targets = targets if targets.ndim > 2 else take(y, np.linspace(0, len(y) - 1, count).astype(np.intp), "y")
    kind = kind_of(targets, size)
    if kind == "labels":
        return
    for transform in moving:
        if not hasattr(transform, "moves_pixels"):
            if word != "unmoved":
                raise InputError(_undeclared(transform, targets))
            size = ()  # it may change the size
        elif not type(transform).__module__.startswith("cnn."):
            size = ()  # it moves the targets that it gets, of whatever kind
        elif word is not None:
            if not hasattr(transform, "move_points"):
                raise InputError(
                    f'{transform!r} mixes targets, which makes no sense for targets="{word}": remove it from transforms'
                )
        elif size and kind == "others":
            raise InputError(_unknown(targets, size, repr(transform)))
        elif size:  # one empty image shows whether it can move such masks
            transform(np.zeros((1, 1, *size), np.uint8), first_target[None], SampleRNG(0, 0, [0]))


def _unknown(targets: Array, size: tuple[int, ...], transform: str = "a transform") -> str:
    fix = FIXES
    if targets.dtype.kind in "USO":
        fix = "pass class ids, names, y = np.unique(y, return_inverse=True)"
    elif targets.ndim == 2 and targets.shape[1] == 1 and targets.dtype.kind in "iu":
        fix = "if these are class ids, pass y.ravel()"
    return (
        f"{transform} moves the pixels of the images, and targets of {targets.dtype} of shape {_shape(targets)} are "
        f"neither class ids (N,), nor yes and no as 1 and 0, nor probabilities (N, K) that sum to one, nor masks of "
        f"{size[0]} x {size[1]} pixels: {fix}"
    )


def _shape(targets: Array) -> str:
    return f"(N, {', '.join(map(str, targets.shape[1:]))})" if targets.ndim > 1 else "(N,)"


def _undeclared(transform: Any, targets: Array) -> str:
    name = getattr(transform, "__name__", type(transform).__name__)
    if name == "<lambda>":
        return (
            f"nothing says whether a lambda among the transforms moves pixels, and with them targets of shape "
            f"{_shape(targets)}: give it a name, transform = lambda x, y, rng: ..., and set transform.moves_pixels = "
            "False if all pixels stay in their places, or True if it moves them and the targets"
        )
    return (
        f"nothing says whether the transform {name} moves pixels, and with them targets of shape {_shape(targets)}: "
        f"set {name}.moves_pixels = False if all pixels stay in their places, or True if it moves them and the targets"
    )
