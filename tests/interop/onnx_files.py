"""Small ONNX files made by hand, and what onnxruntime makes of them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def node(op, inputs, outputs="y", **attributes):
    """A node; names are separated by spaces, and "-" is an input that is left out."""
    inputs = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, inputs, outputs.split(), name=f"/{outputs.split()[0]}/{op}", **attributes)


def make(nodes, shape, constants=None, opset=17, outputs="y", dtype=TensorProto.FLOAT):
    """Return a model with the input x of this shape; constants are arrays, or shapes, which get random numbers."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, value in (constants or {}).items():
        arrays[name] = rng.uniform(0.2, 1, value).astype("f4") if isinstance(value, tuple) else np.asarray(value)
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.split()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(model, folder):
    """Write a model and return its path."""
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def run(path, x):
    """Return the outputs of onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(x)})


def randomised(model, seed=0):
    """Return a model whose ConstantOfShape have become arrays of random numbers, of the size that keeps the scale.

    The light nets of the package onnx have one number in all places of a weight, with which every channel is the same.
    Drawing 144 million numbers takes long, so those of one weight repeat after a million and three: a prime number,
    so that no two of its rows agree.
    """
    rng = np.random.default_rng(seed)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    squares = {name for each in model.graph.node if each.op_type == "BatchNormalization" for name in each.input[4:5]}
    kept = []
    for each in model.graph.node:
        if each.op_type != "ConstantOfShape":
            kept.append(each)
            continue
        shape, name = [int(n) for n in stored[each.input[0]]], each.output[0]
        numbers = rng.standard_normal(min(1_000_003, np.prod(shape)), np.float32)
        scale = np.float32((2 / max(1, np.prod(shape[1:]))) ** 0.5 * 0.7)
        numbers = np.abs(numbers) + np.float32(0.5) if name in squares else numbers * scale
        model.graph.initializer.append(numpy_helper.from_array(np.resize(numbers, shape), name))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model
