"""Which shapes belong together, for each kind of function: an implementation that trusts sizes asks here first.

Where the answer is no, the implementation declines, and the plain function gives its result or its error.
"""

import functools
from typing import Any

Shape = tuple[int, ...]


@functools.lru_cache(maxsize=4096)
def convolution(x: Shape, weight: Shape, y: Shape | None, geometry: Any, groups: int) -> bool:
    """Tell whether these are the shapes of a convolution's input, weights and, if it exists already, output."""
    if len(x) != 4 or len(weight) != 4 or not moves(geometry) or geometry.size != weight[2:]:
        return False
    (n, c, h, w), (k, c_group, _, _) = x, weight
    if 0 in weight or groups < 1 or k % groups or c != c_group * groups or min(h, w) < 1:
        return False
    return y is None or y == (n, k, *geometry.output_size(h, w))


@functools.lru_cache(maxsize=4096)
def pool(x: Shape, y: Shape, geometry: Any) -> bool:
    """Tell whether these are the shapes of a pool's input and output, which may have more windows with ceil_mode."""
    if len(x) != 4 or len(y) != 4 or not moves(geometry) or x[:2] != y[:2] or min(x[2:]) < 1:
        return False
    return any(y[2:] == geometry.output_size(*x[2:], ceil_mode) for ceil_mode in (True, False))


def moves(geometry: Any) -> bool:
    """Tell whether a window has a size and moves forward."""
    return min(*geometry.size, *geometry.stride, *geometry.dilation) >= 1
