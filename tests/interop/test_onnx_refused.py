"""ONNX files that cannot become a model: each is refused with a sentence, and nothing is computed or allocated before."""

import contextlib
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

from cnn.interop.onnx import load
from tests.interop.onnx_files import make, node, save

IMAGE = ("N", 3, 8, 8)
RELU = [node("Relu", "x")]


def refused(path, *words, **arguments):
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load(path, **arguments)
    message = str(caught.value)
    for word in words:
        assert word in message
    return message


def changed(change, nodes=RELU, shape=IMAGE, **arguments):
    model = make(nodes, shape, **arguments)
    change(model)
    return model


def other_dtype(dtype):
    return lambda: make([node("Cast", "x", "c", to=1), node("Relu", "c")], IMAGE, dtype=dtype)


def weight(array):
    return lambda: make([node("Conv", "x w")], IMAGE, {"w": array})


def with_function(model):
    inner = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("mine", "f", ["a"], ["b"], inner, [helper.make_opsetid("", 17)]))


def with_sparse(model):
    values = numpy_helper.from_array(np.ones(1, "f4"), "w")
    indices = numpy_helper.from_array(np.zeros(1, "i8"))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def conditional():
    branch = helper.make_graph(RELU, "then", [], [helper.make_tensor_value_info("y", 1, None)])
    nodes = [node("ReduceMean", "x", "m", keepdims=0), node("Greater", "m zero", "c")]
    nodes.append(helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch))
    return make(nodes, IMAGE, {"zero": np.float32(0)})


def two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1]))


FILES = {  # name: (a function that makes a model, words of the message)
    "float64": (other_dtype(TensorProto.DOUBLE), ["input 'x'", "float64", "float32"]),
    "float16": (other_dtype(TensorProto.FLOAT16), ["float16"]),
    "int8": (other_dtype(TensorProto.UINT8), ["uint8", "before it is quantized"]),
    "float64 weight": (weight(np.ones((4, 3, 3, 3))), ["weight 'w' is float64"]),
    "int8 weight": (weight(np.ones((4, 3, 3, 3), np.int8)), ["weight 'w' is int8"]),
    "quantized": (lambda: make([node("DequantizeLinear", "w s", "d"), node("Conv", "x d")], IMAGE, {"w": np.ones(4, np.int8), "s": np.float32(1)}), ["DequantizeLinear", "before quantization"]),
    "new operators": (lambda: make(RELU, IMAGE, opset=23), ["version 23", "7 to 22", "opset_version=17"]),
    "old operators": (lambda: make(RELU, IMAGE, opset=6), ["version 6", "convert_version"]),
    "no version": (lambda: changed(lambda m: m.opset_import.clear()), ["damaged"]),
    "other operators": (lambda: changed(lambda m: setattr(m.opset_import[0], "domain", "ai.onnx.ml")), ["only operators of 'ai.onnx.ml'"]),
    "functions": (lambda: changed(with_function), ["inline_local_functions"]),
    "sparse": (lambda: changed(with_sparse), ["sparse"]),
    "choice": (conditional, ["'choice'", "If", "which nodes to run"]),
    "two inputs": (lambda: changed(two_inputs), ["2 (x, second)"]),
    "no shape": (lambda: changed(lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")), ["has no shape"]),
    "one axis": (lambda: make(RELU, ("N",)), ["batch axis"]),
    "open channels": (lambda: make([node("Conv", "x w")], ("N", "C", 8, 8), {"w": (4, 3, 3, 3)}), ["number of channels open", "input_shape=(3, 8, 8)"]),
    "open tokens": (lambda: make(RELU, ("N", "L", 5)), ["(?, 5)", "input_shape=(3, 5)"]),
    "open size that matters": (lambda: make([node("Flatten", "x", "f"), node("Gemm", "f w")], ("N", 1, "H", "W"), {"w": (64, 2)}), ["leaves sizes open", "input_shape=(1, ..., ...)", "64 inputs"]),
    "open size and padding": (lambda: make([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], ("N", 1, "H", "W"), {"w": (2, 1, 3, 3)}), ["does not fit every one", "input_shape=(1, 224, 224)", "Conv2d depends on the height"]),
    "open size and halves": (lambda: make([node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Resize", "p - s", "u", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"), node("Add", "x u")], ("N", 1, "H", "W"), {"s": np.array([1, 1, 2, 2], "f4")}), ["does not fit every one", "input_shape=(1, 224, 224)", "'/y/Add'"]),
    "open size and numbers": (lambda: make([node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Cast", "n", "f", to=1), node("Div", "x f")], ("N", 1, "H", "W"), {"i": np.array(3)}), ["does not fit every one", "Affine depends on the height"]),
    "no order": (lambda: make([node("Relu", "a"), node("Relu", "x", "a")], IMAGE), ["reads 'a'"]),
    "twice": (lambda: make([node("Relu", "x"), node("Tanh", "x")], IMAGE), ["'y' is computed twice"]),
    "no output": (lambda: make(RELU, IMAGE, outputs="z"), ["nothing computes the output 'z'"]),
    "same output twice": (lambda: make([node("Relu", "x", "a"), node("Identity", "a", "b")], IMAGE, outputs="a b"), ["output 'b' is the same as another output: leave it out"]),
    "the input as an output": (lambda: make([node("Relu", "x", "a"), node("Identity", "x", "b")], IMAGE, outputs="a b"), ["output 'b' is the same as the input: leave it out"]),
    "constant output": (lambda: make([node("Constant", "", "c", value_float=1.0), node("Relu", "x", "r"), node("Identity", "c")], IMAGE), ["does not depend on the input"]),
    "wrong size": (lambda: changed(lambda m: m.graph.initializer[0].dims.append(2), [node("Conv", "x w")], constants={"w": (4, 3, 3, 3)}), ["(4, 3, 3, 3, 2) has 108 numbers"]),
    "negative size": (lambda: changed(lambda m: m.graph.initializer[0].dims.__setitem__(0, -1), [node("Conv", "x w")], constants={"w": (4, 3, 3, 3)}), ["damaged"]),
    "other channels": (lambda: make([node("Conv", "x w")], IMAGE, {"w": (4, 2, 3, 3)}), ["do not fit"]),
    "larger window": (lambda: make([node("MaxPool", "x", kernel_shape=[9, 9])], IMAGE), ["larger than its input"]),
    "indices": (lambda: make([node("MaxPool", "x", "p i", kernel_shape=[2, 2]), node("MaxUnpool", "p i", kernel_shape=[2, 2])], IMAGE), ["MaxUnpool"]),
    "mask": (lambda: make([node("Dropout", "x", "y mask")], IMAGE, outputs="y mask"), ["output 'mask': no layer returns it"]),
    "batch and channels": (lambda: make([node("Reshape", "x s")], IMAGE, {"s": np.array([-1, 8, 8])}), ["(3 N, 8, 8)", "batch axis first"]),
    "computed weights": (lambda: make([node("MatMul", "x x")], IMAGE), ["two results"]),
    "leftover": (lambda: make([node("Erf", "x")], IMAGE), ["'/y/Erf'", "error function"]),
    "difference": (lambda: make([node("GlobalAveragePool", "x", "m"), node("Sub", "x m")], IMAGE), ["'/y/Sub'", "difference of results of two shapes"]),
    "quotient": (lambda: make([node("Relu", "x", "a"), node("Sigmoid", "x", "b"), node("Div", "a b")], IMAGE), ["'/y/Div'", "division by a result"]),
    "huge": (lambda: make([node("ConstantOfShape", "s", "w"), node("Gemm", "x w")], ("N", 2**20), {"s": np.array([2**20, 2**20])}), ["numbers"]),
    "huge arithmetic": (lambda: make([node("ConstantOfShape", "s", "w"), node("Add", "w w", "v"), node("Gemm", "x v")], ("N", 2**20), {"s": np.array([2**20, 2**10])}), ["more than the file holds"]),
    "huge product": (lambda: make([node("Add", "a b", "v"), node("Gemm", "x v")], ("N", 2**15), {"a": (2**15, 1), "b": (1, 2**15)}), ["more than the file holds"]),
    "huge range": (lambda: make([node("Range", "a b c", "v"), node("Mul", "x v")], IMAGE, {"a": np.int64(0), "b": np.int64(2**40), "c": np.int64(1)}), ["more than the file holds"]),
    "slope of more axes": (lambda: make([node("PRelu", "x c")], IMAGE, {"c": (1, 1, 1, 1, 1)}), ["slopes of shape (1, 1, 1, 1, 1)"]),
    "dropout of a constant": (lambda: make([node("Dropout", "w", "d"), node("Mul", "x d")], IMAGE, {"w": (3, 1, 1)}), ["Dropout", "constants alone"]),
    "sigmoid of a constant": (lambda: make([node("Sigmoid", "w", "d"), node("Mul", "x d")], IMAGE, {"w": (3, 1, 1)}), ["Sigmoid", "constants alone"]),
    "size of the batch": (lambda: make([node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("ReduceProd", "f", "p", keepdims=0), node("Mul", "x p")], IMAGE), ["Mul", "the number of images"]),
    "share of the batch": (lambda: make([node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Cast", "n", "f", to=1), node("Unsqueeze", "f i", "u"), node("Div", "x u")], IMAGE, {"i": np.array([0])}), ["Div", "the number of images"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_refused(name, tmp_path):
    model, words = FILES[name]
    refused(save(model(), tmp_path), *words)


def test_a_size_of_the_images_is_no_size_of_the_batch(tmp_path):
    nodes = [node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Cast", "n", "f", to=1), node("Div", "x f")]
    model = load(save(make(nodes, IMAGE, {"i": np.array(3)}), tmp_path))
    assert np.array_equal(model(np.ones((2, 3, 8, 8), "f4")), np.full((2, 3, 8, 8), 1 / 8))


REPEATED = [node("ConstantOfShape", "s", "w")]
INTEGERS = [node("ConstantOfShape", "s", "w", value=numpy_helper.from_array(np.array([1])))]
LONG = {"a": np.zeros(60_000), "row": np.zeros((1, 60_000), "f4"), "i": np.zeros(60_000, np.int64), "m": np.array([-1])}
SMALL = {  # small files that would take gigabytes: (nodes, constants, words of the message)
    "gather": ([node("Gather", "row i", "g", axis=0)], {}, "Gather: makes 3,600,000,000"),
    "concatenation": ([node("Concat", "a " * 20_000, "g", axis=0)], {}, "Concat: makes 1,200,000,000"),
    "many results": ([node("Abs", "a", f"g{i}") for i in range(20_000)], {}, "from constants takes more than"),
    "repeated and reshaped": ([node("Expand", "row s", "g"), node("Reshape", "g m", "h")], {"s": np.array([100_000, 60_000])}, "Reshape: makes 6,000,000,000"),
    "zero channels": ([*REPEATED, node("Concat", "x w", "z", axis=1)], {"s": np.array([1, 2**34, 8, 8])}, "17,179,869,187 channels"),
    "scaled weights": ([*REPEATED, node("Flatten", "x", "f"), node("Gemm", "f w", "z", alpha=2.0, transB=1)], {"s": np.array([2**25, 192])}, "6,442,450,944 numbers"),
    "padding": ([*INTEGERS, node("Pad", "x w", "z")], {"s": np.array([2**30])}, "1,073,741,824 integers"),
    "shape": ([*INTEGERS, node("Reshape", "x w", "z")], {"s": np.array([2**30])}, "1,073,741,824 integers"),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_small_file_takes_little_memory_and_time(name, tmp_path):
    nodes, constants, words = SMALL[name]
    path = save(make([*nodes, node("Relu", "x")], IMAGE, LONG | constants), tmp_path)
    tracemalloc.start()
    try:
        refused(path, words)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


THREE = np.ones(3, "f4")
DAMAGED = {  # nodes whose arguments or constants no exporter writes
    "groups": [node("GroupNormalization", "x three three", num_groups=0)],
    "block": [node("DepthToSpace", "x", blocksize=0)],
    "no block": [node("SpaceToDepth", "x")],
    "stride": [node("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 0])],
    "text": [node("Softmax", "x", axis="last")],
    "pads": [node("Conv", "x w", pads=[1])],
    "pads of other axes": [node("Pad", "x one")],
    "weights": [node("ConvTranspose", "x three")],
    "no size": [node("LRN", "x")],
    "no bound": [node("Clip", "x none")],
    "axes": [node("Unsqueeze", "x axes")],
    "scales": [node("Resize", "x - scales")],
    "order": [node("Transpose", "x", perm=3)],
    "nothing to reduce": [node("ReduceMean", "none", "m"), node("Mul", "x m")],
    "no such axis": [node("Softmax", "x", axis=4)],
    "begin of a shape": [node("Shape", "x", start="one")],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_arguments(name, tmp_path):
    constants = {"three": THREE, "w": np.ones((3, 3, 1, 1), "f4"), "one": np.array([1]), "none": np.ones(0, "f4")}
    constants |= {"axes": np.array([5, 5, -7]), "scales": np.array([1, 1, np.nan, 2], "f4")}
    refused(save(make(DAMAGED[name], IMAGE, constants, opset=18), tmp_path), DAMAGED[name][0].op_type, "damaged")


def test_weights_in_another_file_count_as_its_size(tmp_path):
    weight = np.ones((64, 192, 8), "f4")  # more numbers than arithmetic may make without them
    nodes = [node("Mul", "w two", "v"), node("Reshape", "v s", "m"), node("Flatten", "x", "f"), node("MatMul", "f m")]
    model = make(nodes, IMAGE, {"w": weight, "two": np.float32(2), "s": np.array([192, -1])})
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights", size_threshold=1024)
    y = load(tmp_path / "model.onnx")(np.ones((1, 3, 8, 8), "f4"))
    assert y.shape == (1, 512)
    assert (y == 384).all()


def test_all_problems_at_once(tmp_path):
    nodes = [
        node("Det", "x", "d"),
        node("Conv", "x w", "c"),
        node("GridSample", "c x", "g"),
        node("NonZero", "g", "n"),
        node("Relu", "n"),
    ]
    message = refused(
        save(make(nodes, IMAGE, {"w": (4, 3, 3, 3)}), tmp_path), "'/d/Det'", "'/g/GridSample'", "'/n/NonZero'"
    )
    assert message.count("\n") == 3
    assert "Conv" not in message


def test_open_sizes_can_be_given(tmp_path):
    path = save(make([node("Flatten", "x", "f"), node("Gemm", "f w")], ("N", 1, "H", "W"), {"w": (64, 2)}), tmp_path)
    model = load(path, input_shape=(1, 8, 8))
    assert model(np.ones((2, 1, 8, 8), np.float32)).shape == (2, 2)
    refused(path, "one sample, without the batch, is (1, ?, ?)", input_shape=(3, 8, 8))
    refused(path, "one sample, without the batch, is (1, ?, ?)", input_shape=(2, 1, 8, 8))
    refused(path, "with this input_shape", "64 inputs, and gets 72", input_shape=(1, 8, 9))


@pytest.mark.parametrize("shape", [8, "1, 8, 8", (1, -8, 8), (1, 0, 8), (1, 8.0, 8), (), {8}])
def test_what_is_no_shape(shape, tmp_path):
    path = save(make(RELU, ("N", 1, "H", "W")), tmp_path)
    refused(path, "sizes of one sample", input_shape=shape)


def test_suggested_shapes_fit(tmp_path):
    """A net that halves and doubles fits even sizes: the message names one, and it works."""
    nodes = [
        node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", "p - s", "u", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Concat", "x u", axis=1),
    ]
    path = save(make(nodes, ("N", 1, "H", "W"), {"s": np.array([1, 1, 2, 2], "f4")}), tmp_path)
    message = refused(path, "'/y/Concat'")
    shape = tuple(map(int, re.search(r"input_shape=\((\d+), (\d+), (\d+)\)", message).groups()))
    assert load(path, input_shape=shape).input_shape == shape


@pytest.mark.parametrize("content", [b"", b"no ONNX file", b"\x00" * 100, b"\xff" * 1000, b"PK\x03\x04 zip"])
def test_other_files(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refused(path, "ONNX")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="is a folder"):
        load(tmp_path)


def test_every_cut_is_refused(tmp_path):
    """A file that is cut short anywhere is refused, and so is one with any byte changed, or it gives a model."""
    whole = make(
        [node("Conv", "x w b", "c"), node("Relu", "c")], IMAGE, {"w": (2, 3, 3, 3), "b": (2,)}
    ).SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)
    rng = np.random.default_rng(0)
    loaded = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):  # any other error fails the test
            load(path)
            loaded += 1
    assert 50 < loaded < len(whole) - 50


def test_external_data(tmp_path):
    model = make([node("Conv", "x w")], IMAGE, {"w": (4, 3, 3, 3)})
    path = tmp_path / "model.onnx"
    expected = load(save(model, tmp_path))[0].weight.data.copy()
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(load(path)[0].weight.data, expected)
    weights = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(weights[:-4])
    refused(path, "weights.bin", "cut short")
    (tmp_path / "weights.bin").unlink()
    refused(path, "weights.bin", "missing")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"weights.bin", b"../wei.bin."))
    refused(path, "outside")


MEMORY = """
import sys
from cnn.interop.onnx import load
def status(key):
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))
try:
    load(sys.argv[1])
except ValueError:
    pass
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
try:
    load(sys.argv[2])
except ValueError as error:
    print(status("VmHWM") - before, str(error)[-100:])
"""


def repeated(data, count):
    """A file whose graph has the same field many times."""
    whole = bytearray(helper.make_model(helper.make_graph([], "g", [], []), ir_version=8).SerializeToString())
    graph = data * count
    size, length = len(graph), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes(whole) + b"\x3a" + bytes([*length, size]) + graph


def large(array, *nodes):
    return make([node("MatMul", "x w", "a"), *nodes], ("N", 64), {"w": array}).SerializeToString()


BOMBS = {
    "float64": lambda: large(np.ones((64, 40_000))),
    "unknown operator": lambda: large(np.ones((64, 80_000), "f4"), node("Det", "a")),
    "empty nodes": lambda: repeated(b"\x0a\x00", 10**7),
    "small nodes": lambda: repeated(helper.make_graph([node("A", "", "b")], "", [], []).SerializeToString(), 10**6),
    "empty inputs of a node": lambda: repeated(b"\x0a\x80\xad\xe2\x04" + b"\x0a\x00" * 5_000_000, 1),
    "empty arrays": lambda: repeated(b"\x2a\x00", 10**7),
    "packed integers": lambda: make([node("Relu", "x")], IMAGE, {"w": np.zeros(1, "i8")}).SerializeToString() + b"\x3a\x84\xad\xe2\x04\x2a\x80\xad\xe2\x04\x3a\xfb\xac\xe2\x04" + bytes(10**7),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_memory_before_a_refusal(name, tmp_path):
    """A refused file takes at most twice its size, and a few megabytes."""
    small = save(make(RELU, IMAGE), tmp_path)
    path = tmp_path / "large.onnx"
    path.write_bytes(BOMBS[name]())
    command = [sys.executable, "-c", MEMORY, str(small), str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found, "it was not refused"
    assert int(found.split()[0]) <= 2 * path.stat().st_size + 4e6, found
