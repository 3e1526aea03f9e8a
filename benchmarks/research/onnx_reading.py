"""What the package onnx and the reader of cnn.interop.onnx take to read files: docs/decisions/013-reading-onnx.md.

python benchmarks/research/onnx_reading.py

It reads the memory of processes from /proc, so it runs on Linux. It needs the packages onnx and numpy.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RUNS = 3
READERS = {  # what is imported, and how a file is read until its numbers are arrays
    "onnx": (
        "import onnx, onnx.numpy_helper",
        "m = onnx.load(path); found = [onnx.numpy_helper.to_array(t) for t in m.graph.initializer]",
    ),
    "cnn": ("import cnn.interop.onnx.reading as reading", "found = reading.read(path)"),
}
READ = """
import sys, time
from pathlib import Path
def memory(key):
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith(key))) / 1024
path = Path(sys.argv[1])
{imports}
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
start = time.perf_counter()
try:
    {read}
except Exception:  # a refusal
    pass
print(time.perf_counter() - start, memory("VmHWM") - before)
"""


def model(*nodes: onnx.NodeProto, **arrays: np.ndarray) -> bytes:
    """Return a file with one input and these nodes and arrays."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy"]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def repeated(field: bytes, count: int) -> bytes:
    """Return a file whose graph has the same field many times."""
    graph, length = field * count, bytearray()
    size = len(graph)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return model() + b"\x3a" + bytes([*length, size]) + graph


def files() -> dict[str, bytes]:
    """Return files to read."""
    relu = helper.make_node("Relu", ["x"], ["y"])
    arrays = {f"w{i}": np.ones((1024, 1024), np.float32) for i in range(64)}
    floats = helper.make_tensor("f", TensorProto.FLOAT, [2**22], np.ones(2**22, np.float32))
    listed = onnx.ModelProto.FromString(model(relu))
    listed.graph.initializer.append(floats)
    return {
        "weights as bytes": model(relu, **arrays),
        "weights as a list of floats": listed.SerializeToString(),
        "three million empty nodes": repeated(b"\x0a\x00", 3 * 10**6),
        "three million empty arrays": repeated(b"\x2a\x00", 3 * 10**6),
    }


def main() -> None:
    """Print a line for each file and reader: the median of the times, the largest growth of memory."""
    print(f"{'file':30} {'MB':>5}  reader  seconds  memory MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.onnx"
        for name, data in files().items():
            path.write_bytes(data)
            for reader, (imports, read) in READERS.items():
                command = [sys.executable, "-c", READ.format(imports=imports, read=read), str(path)]
                runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(RUNS)]
                found = np.array([run.split() for run in runs], float)
                seconds, memory = np.median(found[:, 0]), found[:, 1].max()
                print(f"{name:30} {len(data) / 2**20:5.0f}  {reader:6}  {seconds:7.3f} {memory:10.0f}")


if __name__ == "__main__":
    main()
