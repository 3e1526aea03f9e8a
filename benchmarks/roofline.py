"""What bounds the inference of one image: arithmetic or memory, and how far we and ONNX Runtime are from that bound.

python benchmarks/roofline.py            # a minute; prints the table that docs/performance.md has

operations: two for each multiply-add, counted as for a direct convolution (Winograd needs fewer, so it can be faster
than the bound). bytes: every weight read once, the image read once, and the output of every convolution, pool and
linear layer written once and read once; normalization, ReLU and sums are part of the layer before. Both are divided by
what this machine does in the same run with the same number of threads: the rate of products of 1024 x 1024 matrices,
and the rate of reading arrays that are as large as the bytes of the net and are read again and again, as the weights
are. The larger of the two times is the least.

Needs: pip install "cnn[fast,onnx]" onnxruntime
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from inference_opponents import timed

from cnn.bench import machine
from cnn.bench.cases import inference
from cnn.bench.opponents import ONNXRUNTIME, check_installed
from cnn.bench.ours import OURS
from cnn.kernels import get_num_threads, one_blas_thread
from cnn.model.summary import Summary

NETS = ("small-cnn", "lenet5", "resnet20", "mobilenet", "resnet18", "mobilenet-224")
WRITING = ("Conv2d", "Linear", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d")
LEAST_BYTES = 2**20  # smaller arrays are read so fast that starting the threads would be measured
READ_BYTES, ROUNDS = 2**28, 5  # bytes that each thread reads in a round


def work(case):
    """Return the operations and the bytes of one image."""
    rows = Summary(case.make(), case.shape).rows
    values = sum(row.parameters for row in rows) + int(np.prod(case.shape))
    values += 2 * sum(int(np.prod(row.output)) for row in rows if row.layer.partition("(")[0] in WRITING)
    return 2 * case.multiply_adds(), 4 * values


def read_rate(size, threads):
    """Return the bytes a second at which threads read arrays of together ``size`` bytes: the best of several rounds."""
    count = max(size, LEAST_BYTES) // (4 * threads)
    arrays = [np.ones(count, np.float32) for _ in range(threads)]
    repeats = max(1, READ_BYTES // (4 * count))

    def read(array):
        for _ in range(repeats):
            np.dot(array, array)  # reads the array once, because both operands are the same numbers in the cache

    best = 0.0
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            list(pool.map(read, arrays))
            best = max(best, 4 * count * threads * repeats / (time.perf_counter() - began))
    return best


def main():
    check_installed(ONNXRUNTIME)
    threads = get_num_threads()
    gemm = machine.gemm_rate(threads)
    print(
        "| one image | million operations | MB | GB/s of that size | arithmetic ms | memory ms | bound by | cnn ms | "
        "ONNX Runtime ms | of the bound: cnn | ONNX Runtime |"
    )
    print("|" + " --- |" * 11)
    busiest = 0.0
    for net in NETS:
        case = inference(net, 1)
        operations, size = work(case)
        rate = read_rate(size, threads)
        arithmetic, memory = operations / gemm / 1e6, 1000 * size / rate
        result = timed(case, (ONNXRUNTIME,))
        busiest = max(busiest, result.others or 0.0)
        times = [1000 * result.median(name) for name in (OURS, ONNXRUNTIME)]
        least = max(arithmetic, memory)
        cells = [net, f"{operations / 1e6:.3g}", f"{size / 1e6:.3g}", f"{rate / 1e9:.0f}"]
        cells += [f"{arithmetic:.3g}", f"{memory:.3g}", "arithmetic" if arithmetic > memory else "memory"]
        cells += [f"{value:.3g}" for value in times] + [f"{value / least:.1f}" for value in times]
        print(f"| {' | '.join(cells)} |", flush=True)
    facts = machine.facts(threads)
    print(
        f"\n{facts['processor']}, {threads} threads: {gemm:.0f} GFLOP/s in matrix products; other programs took at "
        f"most {busiest:.0%} of the processors during a net, pauses included."
    )


if __name__ == "__main__":
    main()
