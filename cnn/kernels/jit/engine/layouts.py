"""Copies of images from one memory layout to the other: channels first, as users have them, and channels last."""

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.compilation import floats, floats_from, kernel
from cnn.kernels.memory import empty

(N, FIRST, SECOND, X, Y, PARTS) = range(6)
MAX_PARTS = 16
NS_PER_NUMBER = 0.7


@kernel
def transpose(a, part, slot):
    """Transpose a part of the rows of matrices, one for each image: (N, FIRST, SECOND) -> (N, SECOND, FIRST)."""
    n, first, second = a[N], a[FIRST], a[SECOND]
    for row in range(part * n * second // a[PARTS], (part + 1) * n * second // a[PARTS]):
        image, j = row // second, row % second
        x, y = floats_from(floats(a[X]), image * first * second + j), floats_from(floats(a[Y]), row * first)
        for i in range(first):
            y[i] = x[i * second]


def transposed(x: Array, n: int, first: int, second: int, shape: tuple[int, ...]) -> Array:
    """Return the numbers of x, in memory a contiguous (n, first, second), in the order of (n, second, first)."""
    y, parts = empty(shape), min(MAX_PARTS, n * second)
    arguments = {N: n, FIRST: first, SECOND: second, X: x, Y: y, PARTS: parts}
    thread_pool.run(transpose, arguments, parts, x.size * NS_PER_NUMBER)
    return y
