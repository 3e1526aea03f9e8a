"""load: a model from an ONNX file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnn import init
from cnn.containers.graph import Graph
from cnn.core.text import printable, short_text
from cnn.interop.onnx import building
from cnn.interop.onnx.parts import BATCH, LARGEST, NoLayerError, Shape
from cnn.interop.onnx.patterns import RULES
from cnn.interop.onnx.patterns_written import WRITTEN
from cnn.interop.onnx.planning import check, check_same, plan
from cnn.interop.onnx.protobuf import OnnxError
from cnn.interop.onnx.reading import File, read
from cnn.interop.onnx.simplifying import Net, simplified
from cnn.model import lint
from cnn.model.extras import EXTRAS, check_extras
from cnn.sequential import Sequential

SIZES = ((224, 256), (255, 333))  # of images while shapes are computed, where the file leaves their sizes open


def load(path: str | Path, input_shape: Shape | None = None) -> Sequential | Graph:
    """Read a model from an ONNX file, as layers that can be read, changed and trained.

    A row of operators becomes a Sequential; results that are added, multiplied or concatenated become Sum (or
    Residual), Product and Concat; where branches share what they compute, or there are several outputs, there is a
    Graph, whose nodes have the names of the file. Constants and what is computed from shapes alone is folded. Dropout
    is left out. Of a file whose images have their channels last, the model takes them first, as all models here do:
    ``model(x.transpose(0, 3, 1, 2))``.

    The model has neither loss nor optimizer; it is in evaluation mode until `fit` or `train` sets another.

    Parameters
    ----------
    path : str or Path
        The file.
    input_shape : tuple of int, optional
        The shape of one sample, (C, H, W), where the file leaves height and width open and a layer depends on them.

    Returns
    -------
    Sequential or Graph
        A Sequential, whose ``input_shape`` is that of one sample if the file says it; to train it, set its
        ``loss_func`` and its ``optimizer``. Of a file with several outputs a Graph, which returns a tuple of them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or has parts that no layer expresses: the message lists them all.

    Examples
    --------
    >>> import tempfile
    >>> import onnx
    >>> from onnx import TensorProto, helper
    >>> x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 8, 8]) for name in "xy")
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", [x], [y])
    >>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(model, folder + "/small.onnx")
    ...     load(folder + "/small.onnx")
    Sequential(layers=[
        ReLU(),
    ])
    """
    file = read(path)
    try:
        return built(understood(file, input_shape), file)
    except (OnnxError, NoLayerError) as error:
        raise OnnxError(f"{printable(path)}: {error}") from None
    except MemoryError:
        raise OnnxError(f"{printable(path)}: its weights are larger than the memory") from None


def understood(file: File, input_shape: Shape | None = None) -> Net:
    """Return the layers of a file that are to be made, or raise an error that lists all that cannot be expressed."""
    samples = _samples(file, input_shape)
    plans = [plan(file, sample) for sample in samples]
    check(plans, file)
    nets = [
        simplified(planned.steps, file.input, (BATCH, *sample), planned.outputs, RULES + WRITTEN)
        for planned, sample in zip(plans, samples, strict=True)
    ]
    rows = [building.lowered(net) for net in nets]
    problems = building.missing(rows[0])
    if problems:
        raise OnnxError("it cannot become a model:" + "".join(f"\n  {problem}" for problem in problems))
    check_same(rows, file)
    nets[0].sizes_are_known = len(samples) == 1
    return nets[0]


def built(net: Net, file: File) -> Sequential | Graph:
    """Return the model."""
    stored = file.size // 4  # numbers
    with init.limit_total_size(LARGEST + 2 * stored), init.blank_weights():
        model = building.Builder(building.lowered(net), file.input).model(net.outputs)
    lint.mark_as_built(model)  # what would be a mistake in a net of one's own is how the file computes
    if isinstance(model, Sequential):
        if net.sizes_are_known:
            model.input_shape = net.shapes[file.input][1:]
        set_extras(model, file.metadata)
    return model.eval()


def set_extras(model: Sequential, metadata: dict[str, str]) -> None:
    """Take class names and preprocessing from the metadata, as `save` writes them, where they fit the model."""
    for key in ("class_names", "preprocessing"):
        if key not in metadata:
            continue
        try:
            value = json.loads(metadata[key])
            extras = {name: getattr(model, name) for name in EXTRAS} | {key: value}
            check_extras(extras, model)
        except (ValueError, RecursionError):  # another program's, under the same name
            continue
        setattr(model, key, value)


def _samples(file: File, input_shape: Shape | None) -> list[Shape]:
    """Return the shape of one sample; or two, which differ where the file leaves a size open."""
    sizes = file.shape[1:]
    if input_shape is not None:
        return [_given(file, input_shape)]
    if None not in sizes:
        return [tuple(n or 0 for n in sizes)]
    last = len(sizes) - 1
    is_channels_last = len(sizes) == 3 and sizes[0] is None and (sizes[last] or 99) <= 4
    if len(sizes) != 3 or (sizes[0] is None and not is_channels_last):
        example = tuple((3 if i == 0 and last else 224) if n is None else n for i, n in enumerate(sizes))
        what = "the number of channels" if len(sizes) == 3 else "its size"
        raise OnnxError(
            f"its input {_shown(sizes)} leaves {what} open: say it, as in "
            f"cnn.interop.onnx.load(path, input_shape={example})"
        )
    found = []
    for height, width in SIZES:
        rest = iter((height, width))
        found.append(tuple(next(rest) if n is None else n for n in sizes))
    return found


def _given(file: File, input_shape: Any) -> Shape:
    sizes, shown = file.shape[1:], short_text(input_shape)
    given = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if not given or not all(isinstance(n, (int, np.integer)) and n > 0 for n in given):
        raise OnnxError(f"input_shape must be the sizes of one sample, such as (3, 224, 224), but is {shown}")
    if len(given) != len(sizes) or any(m not in (None, n) for m, n in zip(sizes, given, strict=True)):
        raise OnnxError(
            f"input_shape={shown} does not fit the file, where one sample, without the batch, is {_shown(sizes)}"
        )
    return tuple(int(n) for n in given)


def _shown(sizes: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("?" if n is None else str(n) for n in sizes) + ")"
