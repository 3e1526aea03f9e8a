"""`save`: write a model as an ONNX file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnn import __version__
from cnn.containers.graph import Graph
from cnn.core.files import to_json, write_bytes
from cnn.interop.onnx.saving_nodes import FUNCTIONS, graph_values
from cnn.interop.onnx.saving_writer import LayerWriter, Node, Value, Writer, function_for
from cnn.model.extras import check_class_names, check_number_of_names, check_preprocessing, repeated_name
from cnn.model.outputs import sample_shape, shapes
from cnn.module import Module

IR_VERSION = 8
OPSETS = (17, 22)  # the lowest and the highest that can be asked for
LARGEST = 2**31 - 2**20  # bytes: a file is one protobuf message, and those end at 2 GiB


def save(
    model: Module,
    path: str | Path,
    opset: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    preprocess: bool = False,
) -> None:
    """Write a model as an ONNX file, as it computes in evaluation mode, in float32.

    The graph has one input, ``input``, and one output, ``output``, with a free batch axis; a `Graph` with several
    outputs keeps their names. Parameters are named as in the model's state_dict. Dropout is left out, batch
    normalization keeps its running statistics, and a final Softmax stays. The metadata of the file hold
    ``class_names`` and ``preprocessing`` as JSON. An old file is replaced only once the new one is complete.

    Parameters
    ----------
    model : Module
        Of layers of `cnn.layers` and the containers Sequential, Sum, Concat, Residual and Graph.
    path : str or Path
        Usually ends in .onnx.
    opset : int, optional
        The version of ONNX's operators, 17 to 22. By default 17, or what an operator needs: Mish 18, GELU 20,
        GroupNorm 21.
    input_shape : tuple of int, optional
        The shape of one sample; by default ``model.input_shape``.
    preprocess : bool
        Whether the graph begins with the scaling of pixels that ``model.preprocess`` does, so that its input is pixels
        of 0 to 255 as float32.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    ShapeError
        If a layer cannot work with inputs of this shape.
    ValueError
        If the shape of a sample is not known; if there are layers that ONNX cannot express: each is listed with its
        name, its class and what to do. Nothing is written then.

    Source
    ------
    The operators and their versions: https://onnx.ai/onnx/operators; the file: https://onnx.ai/onnx/repo-docs/IR.html.

    Examples
    --------
    >>> import tempfile
    >>> import onnx
    >>> from cnn import zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(zoo.lenet5(), f"{folder}/lenet5.onnx", input_shape=(1, 28, 28))
    ...     [node.op_type for node in onnx.load(f"{folder}/lenet5.onnx").graph.node][:4]
    ['Conv', 'Tanh', 'AveragePool', 'Conv']
    """
    check_installed()
    if not isinstance(model, Module):
        raise TypeError(f"expected a model, got {model!r}")
    check_opset(opset)
    shape = known_shape(model, input_shape)
    settings = as_json_holds(getattr(model, "preprocessing", None))
    class_names = as_json_holds(getattr(model, "class_names", None))
    check_preprocessing(settings, shape[0] if len(shape) == 3 else None)

    writer = Writer(FUNCTIONS, shapes(model, shape), opset)
    x = Value("input", shape)
    if preprocess:
        x = scaled_pixels(writer, x, settings or {})
        settings = (settings or {}) | {"scale": 1.0, "mean": 0.0, "std": 1.0}  # what is left to do
    outputs = write_model(writer, model, x)
    if writer.problems:
        raise ValueError(listed(writer.problems))
    check_names(class_names, outputs)

    metadata = {"class_names": class_names, "preprocessing": settings}
    write_bytes(path, file_bytes(writer, shape, outputs, {k: v for k, v in metadata.items() if v is not None}))


def check_installed() -> None:
    """Raise an error that says what to install if there is no package onnx."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError('ONNX files need the package onnx: pip install "cnn[onnx]"') from None


def check_opset(opset: Any) -> None:
    """Raise an error unless this is None or an opset that can be asked for."""
    is_number = isinstance(opset, (int, np.integer)) and not isinstance(opset, bool)
    if opset is not None and not (is_number and OPSETS[0] <= opset <= OPSETS[1]):
        raise ValueError(f"opset must be an integer from {OPSETS[0]} to {OPSETS[1]}, or None, got {opset!r}")


def known_shape(model: Module, input_shape: Any) -> tuple[int, ...]:
    """Return the shape of one sample."""
    shape = getattr(model, "input_shape", None) if input_shape is None else input_shape
    if shape is None:
        raise ValueError(
            "the shape of one sample is not known: pass it, as in save(model, path, input_shape=(3, 32, 32)), or set "
            "model.input_shape"
        )
    return sample_shape(shape)


def as_json_holds(value: Any) -> Any:
    """Return class names or preprocessing as JSON holds them: lists and Python's numbers."""
    return json.loads(json.dumps(value, default=to_json))


def check_names(class_names: Any, outputs: dict[str, tuple[int, ...]]) -> None:
    """Raise an error unless the class names are different from each other, and one for each output."""
    check_class_names(class_names)
    if repeated_name(class_names):
        raise ValueError(repeated_name(class_names))
    shape = next(iter(outputs.values()))
    check_number_of_names(class_names, shape[0] if shape and len(outputs) == 1 else None)


def scaled_pixels(writer: Writer, x: Value, settings: dict[str, Any]) -> Value:
    """Write (scale pixel - mean) / std, as `cnn.model.preprocessing` computes it, without the steps that do nothing."""
    if len(x.shape) != 3:
        raise ValueError(f"preprocess=True scales the pixels of images, but inputs have shape {x.shape}: leave it out")
    name = x.name
    for op, key, default in (("Mul", "scale", 1 / 255), ("Sub", "mean", 0.0), ("Div", "std", 1.0)):
        number = np.asarray(settings.get(key, default), np.float32)
        if not np.all(number == (0 if op == "Sub" else 1)):
            number = number if number.size == 1 else number.reshape(-1, 1, 1)
            constant = writer.constant(f"preprocessing.{key}", number)
            name = writer.add(op, [name, constant], f"preprocessing.{op.lower()}", {})
    return Value(name, x.shape)


def write_model(writer: Writer, model: Any, x: Value) -> dict[str, tuple[int, ...]]:
    """Write all modules; return the names of the outputs, and their shapes for one sample."""
    if function_for(model, FUNCTIONS) is FUNCTIONS[Graph] and not isinstance(model.outputs, str):
        values = graph_values(LayerWriter(writer, "", model), model, x)
        found = {name: values[name] for name in model.outputs}
        if len(found) == 1:
            found = {"output": found[model.outputs[0]]}
    else:
        found = {"output": writer.write("", model, x)}
    writer.name_outputs(list(found.values()), list(found))
    return {name: value.shape for name, value in found.items()}


def listed(problems: list[str]) -> str:
    """Return the message that lists everything that cannot be expressed."""
    count = "a layer" if len(problems) == 1 else f"{len(problems)} layers"
    return f"this model has {count} that ONNX cannot express:\n  " + "\n  ".join(problems)


def file_bytes(
    writer: Writer, shape: tuple[int, ...], outputs: dict[str, tuple[int, ...]], metadata: dict[str, Any]
) -> bytes:
    """Return the contents of the file; the same model gives the same bytes."""
    from onnx import TensorProto, helper, numpy_helper

    size = sum(array.nbytes for array in writer.constants.values())
    if size > LARGEST:
        raise ValueError(
            f"the parameters take {size / 1e9:.1f} GB in float32, but an ONNX file ends at 2 GB: save it in parts"
        )
    opset = helper.make_opsetid("", int(writer.opset or writer.needed_opset()))
    graph = helper.make_graph(
        [as_proto(node) for node in writer.nodes],
        "cnn",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["batch", *v]) for k, v in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in writer.constants.items()],
    )
    proto = helper.make_model(
        graph,
        opset_imports=[opset],
        ir_version=max(IR_VERSION, helper.find_min_ir_version_for([opset])),
        producer_name="cnn",
        producer_version=__version__,
    )
    helper.set_model_props(proto, {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()})
    return bytes(proto.SerializeToString(deterministic=True))


def as_proto(node: Node) -> Any:
    """Return an operator as ONNX's own object."""
    from onnx import helper

    return helper.make_node(node.op, node.inputs, [node.output], name=node.output, **node.attributes)
