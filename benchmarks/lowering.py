"""Which plain NumPy form of a convolution and of a max-pool is fastest? Prints minimum and median milliseconds.

python benchmarks/lowering.py

The shapes are those of the small CNN's second convolution and first pool with a batch of 64. All forms of an operation
give the same numbers; docs/decisions/001-plain-convolution.md explains the choice.
"""

import statistics
import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cnn.kernels import one_blas_thread

N, H, C, K = 64, 14, 32, 64
ROUNDS = 25


def rows_of(x):
    """Each 3 x 3 window of (N, H, W, C) as one row."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sliding_window_view(x, (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[3])


def forward_rows(x, w, g):
    return (rows_of(x) @ w.reshape(9 * C, K)).reshape(N, H, H, K)


def forward_nine_products(x, w, g):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.zeros((N, H, H, K), np.float32)
    for u in range(3):
        for v in range(3):
            y += x[:, u : u + H, v : v + H] @ w[u, v]
    return y


def input_grad_rows_added_back(x, w, g):
    rows = (g.reshape(-1, K) @ w.reshape(9 * C, K).T).reshape(N, H, H, 3, 3, C)
    x = np.zeros((N, H + 2, H + 2, C), np.float32)
    for u in range(3):
        for v in range(3):
            x[:, u : u + H, v : v + H] += rows[:, :, :, u, v]
    return x[:, 1:-1, 1:-1]


def input_grad_nine_products(x, w, g):
    x = np.zeros((N, H + 2, H + 2, C), np.float32)
    for u in range(3):
        for v in range(3):
            x[:, u : u + H, v : v + H] += (g.reshape(-1, K) @ w[u, v].T).reshape(N, H, H, C)
    return x[:, 1:-1, 1:-1]


def input_grad_rotated_kernel(x, w, g):
    """Only for stride 1: the forward convolution with the kernel rotated by 180 degrees."""
    return (rows_of(g) @ w[::-1, ::-1].transpose(0, 1, 3, 2).reshape(9 * K, C)).reshape(N, H, H, C)


def weight_grad_rows(x, w, g):
    return (rows_of(x).T @ g.reshape(-1, K)).reshape(w.shape)


def weight_grad_nine_products(x, w, g):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [x[:, u : u + H, v : v + H].reshape(-1, C).T @ g.reshape(-1, K) for u in range(3) for v in range(3)]
    return np.stack(parts).reshape(w.shape)


def pool_written_where_better(p):
    y, choice = np.full((N, H, H, C), -np.inf, np.float32), np.zeros((N, H, H, C), np.uint8)
    for i in range(4):
        candidate = p[:, i // 2 :: 2, i % 2 :: 2]
        better = (candidate > y) | (candidate != candidate)
        np.copyto(y, candidate, where=better)
        np.copyto(choice, np.uint8(i), where=better)
    return y, choice


def pool_maxima(p):
    y, choice = np.full((N, H, H, C), -np.inf, np.float32), np.zeros((N, H, H, C), np.uint8)
    for i in range(4):
        candidate = p[:, i // 2 :: 2, i % 2 :: 2].copy()
        better = (candidate > y) | (candidate != candidate)
        y = np.maximum(y, candidate)
        choice = np.maximum(choice, better * np.uint8(i))
    return y, choice


def pool_argmax(p):
    windows = np.stack([p[:, i // 2 :: 2, i % 2 :: 2] for i in range(4)])
    return windows.max(axis=0), windows.argmax(axis=0).astype(np.uint8)


def compare(title, forms, *arrays):
    """Run the forms in turn and print their times; their results must agree."""
    times = {form: [] for form in forms}
    expected = np.concatenate([np.ravel(part) for part in forms[0](*arrays)])
    for _ in range(ROUNDS):
        for form in forms:
            began = time.perf_counter()
            result = form(*arrays)
            times[form].append(1000 * (time.perf_counter() - began))
            assert np.allclose(np.concatenate([np.ravel(part) for part in result]), expected, atol=1e-2)
    print(title)
    for form in forms:
        print(f"{min(times[form]):8.2f}  {statistics.median(times[form]):8.2f}  {form.__name__}")


def main():
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((N, H, H, channels), np.float32) for channels in (C, K))
    w = rng.standard_normal((3, 3, C, K), np.float32)
    images = rng.standard_normal((N, 2 * H, 2 * H, C), np.float32)
    with one_blas_thread():
        print("minimum and median of", ROUNDS, "rounds, ms, one thread")
        compare("convolution forward", [forward_rows, forward_nine_products], x, w, g)
        compare(
            "gradient of the input",
            [input_grad_rows_added_back, input_grad_nine_products, input_grad_rotated_kernel],
            x,
            w,
            g,
        )
        compare("gradient of the weights", [weight_grad_rows, weight_grad_nine_products], x, w, g)
        compare("max-pool forward", [pool_written_where_better, pool_maxima, pool_argmax], images)


if __name__ == "__main__":
    main()
