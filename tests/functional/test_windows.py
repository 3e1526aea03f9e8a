import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnn.errors import ShapeError
from cnn.functional.windows import WindowGeometry, fold, unfold

one_or_more = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
geometries = st.builds(WindowGeometry, one_or_more, one_or_more, one_or_more, st.tuples(paddings, paddings))
sizes = st.tuples(st.integers(1, 8), st.integers(1, 8))


@given(geometries, sizes)
def test_output_size_counts_the_window_positions_that_fit(geometry, size):
    counts = []
    for axis in (0, 1):
        pixels = size[axis] + sum(geometry.pads[axis])
        span = geometry.dilation[axis] * (geometry.size[axis] - 1) + 1
        counts.append(len(range(0, pixels - span + 1, geometry.stride[axis])))
    if min(counts) == 0:
        with pytest.raises(ShapeError, match="window spans"):
            geometry.output_size(*size)
    else:
        assert geometry.output_size(*size) == tuple(counts)


@given(geometries, sizes)
def test_with_ceil_mode_leftover_pixels_get_a_window(geometry, size):
    """One window more, if it starts inside the image; padding as in pooling layers, at most half a window per side."""
    pads = tuple(min(before, k // 2) for (before, _), k in zip(geometry.pads, geometry.size, strict=True))
    geometry = geometry._replace(pads=((pads[0], pads[0]), (pads[1], pads[1])))
    try:
        floor = geometry.output_size(*size)
    except ShapeError:
        assume(False)
    for axis, (floor_count, ceil_count) in enumerate(
        zip(floor, geometry.output_size(*size, ceil_mode=True), strict=True)
    ):
        before, after = geometry.pads[axis]
        span = geometry.dilation[axis] * (geometry.size[axis] - 1) + 1
        leftover = (floor_count - 1) * geometry.stride[axis] + span < before + size[axis] + after
        starts_inside = floor_count * geometry.stride[axis] < before + size[axis]
        assert ceil_count == floor_count + (leftover and starts_inside)


@given(geometries, sizes, st.integers(1, 2))
def test_fold_is_the_adjoint_of_unfold(geometry, size, groups):
    """<unfold(x), r> = <x, fold(r)>, exactly on integers."""
    try:
        geometry.output_size(*size)
    except ShapeError:
        assume(False)
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, (2, 2 * groups, *size)).astype(float)
    rows = unfold(x, geometry, groups)
    r = rng.integers(-9, 10, rows.shape).astype(float)
    assert np.sum(rows * r) == np.sum(x * fold(r, x.shape, geometry))


def test_unfold_by_hand():
    """One row per window: its pixels in row-major order, the channels of a pixel next to each other."""
    x = np.array([[[[1, 2, 3]], [[10, 20, 30]]]])
    geometry = WindowGeometry((1, 2), (1, 1), (1, 1), ((0, 0), (0, 0)))
    np.testing.assert_array_equal(unfold(x, geometry), [[[1, 10, 2, 20], [2, 20, 3, 30]]])
    np.testing.assert_array_equal(unfold(x, geometry, groups=2), [[[1, 2], [2, 3]], [[10, 20], [20, 30]]])
