"""The work of a case with ONNX Runtime and with OpenVINO: both read the ONNX file that our model is exported to.

Both get the settings that are fastest for them: the batch size is known when they compile the net, and one call at a
time uses all threads. Both compute in float32, as this library does.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnn.bench.opponents import ONNXRUNTIME, OPENVINO
from cnn.bench.ours import Program
from cnn.interop import onnx
from cnn.module import Array, Module

RUNTIMES = (ONNXRUNTIME, OPENVINO)


def program(model: Module, x: Array, name: str, threads: int) -> Program:
    """Return the program of a runtime, one of RUNTIMES, for a model in evaluation mode and a batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path, input_shape=x.shape[1:])
        predict = (_onnxruntime if name == ONNXRUNTIME else _openvino)(path, x, threads)

    def run(count: int) -> None:
        for _ in range(count):
            predict()

    return Program(name, run, lambda: {"output": np.array(predict())})


def _onnxruntime(path: Path, x: Array, threads: int) -> Callable[[], Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    options.add_free_dimension_override_by_name(given.shape[0], len(x))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {given.name: x})[0]


def _openvino(path: Path, x: Array, threads: int) -> Callable[[], Array]:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(x.shape))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # by default some processors would compute in bfloat16
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([x], share_inputs=True)[0]
