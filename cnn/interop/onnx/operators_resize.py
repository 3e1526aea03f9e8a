"""Resize and Upsample. ONNX has many rules for where an output pixel lies; the importer computes the input pixels that
each output pixel combines, and takes the setting of our Upsample that combines the same.
"""

import math
from typing import Any

import numpy as np

from cnn.interop.onnx.operators_windows import images, short
from cnn.interop.onnx.parts import Layer, NoLayerError, Operator
from cnn.layers import Upsample
from cnn.module import Array

NEAREST: list[dict[str, Any]] = [{}, {"mode": "nearest-exact"}]
LINEAR: list[dict[str, Any]] = [
    {"mode": "bilinear"},
    {"mode": "bilinear", "align_corners": True},
    {"mode": "bilinear", "asymmetric": True},
]
LARGEST = 2**13  # pixels of a side; the rules are compared as matrices


def resize(o: Operator) -> list[Layer]:
    """Resize and Upsample of height and width."""
    n, channels, *image = images(o)
    given, are_scales = _given(o)
    if o.get("antialias", 0) or o.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NoLayerError("resizes with antialias or keep_aspect_ratio_policy, which Upsample cannot")
    axes = [o.count_from_0(int(a), 4) for a in o.get("axes", range(4))]
    if len(axes) != len(given):
        raise NoLayerError(f"has {len(given)} sizes for {len(axes)} axes: the file is damaged")
    of_axis = dict(zip(axes, given, strict=True))
    kept = (1, 1) if are_scales else (n, channels)
    if any(of_axis.get(axis, kept[axis]) not in (kept[axis], o.batch if axis == 0 else None) for axis in (0, 1)):
        raise NoLayerError("resizes the batch or the channels, not only height and width")
    if are_scales:
        scales = [float(of_axis.get(axis, 1.0)) for axis in (2, 3)]
        target = [math.floor(pixels * scale) for pixels, scale in zip(image, scales, strict=True)]
    else:
        target = [int(of_axis.get(axis, pixels)) for axis, pixels in zip((2, 3), image, strict=True)]
        scales = [size / pixels for size, pixels in zip(target, image, strict=True)]
    if min(target) < 1 or max(*target, *image) > LARGEST:
        raise NoLayerError(f"resizes {image} pixels to {target}")
    arguments = _setting(o, image, target, scales)
    return [Layer("Upsample", arguments, (n, channels, *target))]


def _given(o: Operator) -> tuple[list[Any], bool]:
    """Return the scales, or the sizes, and whether they are scales."""
    if o.op == "Upsample" and o.opset < 9:
        return list(o.get("scales", ())), True
    roi_first = o.op == "Resize" and o.opset > 10
    i = 2 if roi_first else 1
    for k, are_scales in ((i, True), (3, False)):
        if o.has(k) and 0 < o.array(k).size <= 4 and (are_scales or roi_first):
            return o.array(k).reshape(-1).tolist(), are_scales
    raise NoLayerError("has neither scales nor sizes: the file is damaged")


def _setting(o: Operator, image: list[int], target: list[int], scales: list[float]) -> dict[str, Any]:
    """Return the arguments of an Upsample that combines the same pixels."""
    mode = o.get("mode", "nearest")
    wanted = [_matrix(o, *sizes) for sizes in zip(image, target, scales, strict=True)]
    both: tuple[Any, ...] = (short((scales[0], scales[1])), short((target[0], target[1])))
    sizes: list[dict[str, Any]] = [{"scale_factor": both[0]}, {"size": both[1]}]
    for size in sizes if mode in ("nearest", "linear") else []:
        for more in NEAREST if mode == "nearest" else LINEAR:
            try:
                layer = Upsample(**size, **more)
            except ValueError:
                continue
            found = [layer.taps(axis, pixels) for axis, pixels in enumerate(image)]
            if all(_agrees(taps, matrix) for taps, matrix in zip(found, wanted, strict=True)):
                return size | more
    rule = ", ".join(str(o.get(name)) for name in ("coordinate_transformation_mode", "nearest_mode") if o.get(name))
    raise NoLayerError(f"interpolates by a rule ({mode}{rule and ', '}{rule}) that Upsample does not have")


def _matrix(o: Operator, pixels: int, count: int, scale: float) -> Array:
    """Return how much each output pixel takes of each input pixel: (count, pixels)."""
    old = o.op == "Upsample" or o.opset < 11
    rule = "asymmetric" if old else o.get("coordinate_transformation_mode", "half_pixel")
    i = np.arange(count)
    x: Array = np.zeros(count)
    if rule == "asymmetric":
        x = i / scale
    elif rule == "align_corners":
        x = i * (pixels - 1) / (pixels * scale - 1) if count > 1 else x
    elif rule == "half_pixel" or (rule == "pytorch_half_pixel" and count > 1):
        x = (i + 0.5) / scale - 0.5
    elif rule == "half_pixel_symmetric":
        x = pixels / 2 * (1 - count / (pixels * scale)) + (i + 0.5) / scale - 0.5
    elif rule != "pytorch_half_pixel":
        raise NoLayerError(f"has the rule {rule!r} for coordinates, which Upsample does not have")
    matrix = np.zeros((count, pixels))
    if o.get("mode", "nearest") == "nearest":
        rounding = "floor" if old else o.get("nearest_mode", "round_prefer_floor")
        ways: dict[str, Any] = {"floor": np.floor, "ceil": np.ceil, "round_prefer_ceil": lambda x: np.floor(x + 0.5)}
        nearest = ways.get(rounding, lambda x: np.ceil(x - 0.5))(x)
        matrix[i, nearest.clip(0, pixels - 1).astype(int)] = 1
        return matrix
    first, share = np.floor(x), x - np.floor(x)
    for pixel, weight in ((first, 1 - share), (first + 1, share)):
        np.add.at(matrix, (i, pixel.clip(0, pixels - 1).astype(int)), weight)
    return matrix


def _agrees(taps: tuple[Array, Array], matrix: Array) -> bool:
    """Whether an Upsample combines the same pixels."""
    index, weights = taps
    if index.shape[1] != len(matrix):
        return False
    found = np.zeros_like(matrix)
    for pixel, weight in zip(index, weights, strict=True):
        np.add.at(found, (np.arange(len(matrix)), pixel), weight)
    return bool(np.allclose(found, matrix, rtol=0, atol=1e-5))
