"""The data of a page: what a reader finds in it is what the engine computed, bit for bit."""

import base64
import json
import zlib

import numpy as np
import pytest

import cnn
from cnn import Sequential, zoo
from cnn.errors import InputError, ShapeError
from cnn.explore import (
    dead_share,
    facts,
    finite_difference,
    grad_cam,
    gradient,
    gradient_times_input,
    occlusion,
    pack,
    pack_image,
    randomized,
    trace,
)
from cnn.layers import Conv2d, Flatten, Linear, Softmax
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.module import Module
from cnn.optim import Adam
from tests.explore.nets import NETS, branches, graph, made, row

NOTHING = {"layers": [], "gradients": [], "tensors": [], "maps": []}
MAPS = (gradient, gradient_times_input, occlusion, grad_cam)


class Reader:
    """Reads a page's data as its description says, with nothing of the library."""

    def __init__(self, header, block):
        self.header = json.loads(json.dumps(header, allow_nan=False))
        text = base64.b64encode(block)  # as in the page
        self.block = base64.b64decode(text)
        self.shapes = [tuple(node["shape"]) for node in self.header["nodes"]]
        self.names = [node["name"] for node in self.header["nodes"]]
        assert sum(chunk["length"] for chunk in self.header["chunks"]) == len(block)

    def chunk(self, i):
        chunk = self.header["chunks"][i]
        data = self.block[chunk["offset"] : chunk["offset"] + chunk["length"]]
        raw = zlib.decompress(data, wbits=-15)
        assert len(raw) == chunk["size"]
        return raw

    @staticmethod
    def array(raw, offset, shape, kind="<f4"):
        assert offset % np.dtype(kind).itemsize == 0
        return np.frombuffer(raw, kind, int(np.prod(shape)), offset).reshape(shape)

    def tensors(self):
        raw = self.chunk(0)
        found = self.header["tensors"].items()
        return {name: self.array(raw, at["offset"], at["shape"]) for name, at in found if at["offset"] is not None}

    def image(self, i):
        """The activations, gradients, maps of both nets, and pixels of an image."""
        image = self.header["images"][i]
        raw = self.chunk(image["chunk"])
        arrays = [
            {
                name: self.array(raw, offset, shape)
                for name, offset, shape in zip(self.names, image[what], self.shapes, strict=True)
                if offset is not None
            }
            for what in ("outputs", "grads")
        ]
        maps = [
            {name: self.array(raw, at["offset"], at["shape"]) for name, at in image[what].items()}
            for what in ("maps", "random_maps")
        ]
        pixels = image["pixels"] and self.array(raw, image["pixels"]["offset"], image["pixels"]["shape"], "u1")
        return *arrays, *maps, pixels


def bits(array):
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("net", NETS)
def test_the_page_has_the_numbers_of_the_engine(net):
    model, _ = made(net)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 3, 9, 8), np.uint8)
    labels = [4, None, 0]
    before = model.state_dict()
    reader = Reader(*pack(model, pixels, labels, ["a.png", "b.png", "c.png"]))
    np.testing.assert_equal(model.state_dict(), before)
    header = reader.header

    tensors = reader.tensors()
    assert list(tensors) == [name for name in before if "num_batches" not in name]
    for name, values in tensors.items():
        assert bits(values) == bits(before[name])
    x, other = model.preprocess(pixels), randomized(model, 0)
    for i, label in enumerate(labels):
        found = trace(model, x[i : i + 1], label)
        outputs, grads, maps, random_maps, given = reader.image(i)
        assert list(outputs) == list(grads) == list(found.nodes)
        for name, node in found.nodes.items():
            assert bits(outputs[name]) == bits(node.output[0]), name
            assert bits(grads[name]) == bits(node.grad[0]), name
        np.testing.assert_array_equal(given, pixels[i], strict=True)
        image = header["images"][i]
        k = int(found.logits.argmax())
        assert (image["label"], image["class"], image["predicted"]) == (label, int(found.target[0]), k)
        assert image["class"] == (k if label is None else label)
        assert (image["name"], image["complete"], image["loss"]) == ("abc"[i] + ".png", True, found.loss)
        np.testing.assert_array_equal(np.float32(image["probabilities"]), found.probabilities[0])
        for saliency in MAPS:
            for stored, of in ((maps, model), (random_maps, other)):
                if net.__name__ == "logits" and saliency is grad_cam:
                    assert "grad_cam" not in stored
                    continue
                assert bits(stored[saliency.__name__]) == bits(saliency(of, x[i : i + 1], k))
    assert header["left_out"] == {"images": 0, "activations": 0, **NOTHING}


@pytest.mark.parametrize("net", [row, branches, graph])
def test_what_the_header_says_of_the_layers(net):
    model, _ = made(net)
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8)).astype(np.float32)
    header = Reader(*pack(model, x)).header
    traces = [trace(model, x[i : i + 1]) for i in range(2)]
    nodes, about = traces[0].nodes, facts(traces[0].nodes)
    assert [node["name"] for node in header["nodes"]] == list(nodes)
    for node in header["nodes"]:
        name, layer = node["name"], nodes[node["name"]].layer
        assert tuple(node["reads"]) == nodes[name].reads
        assert node["kind"] == ("" if layer is None else type(layer).__name__)
        assert node["formulas"] == about[name].formulas
        assert (node["parameters"], node["multiply_adds"]) == (about[name].parameters, about[name].multiply_adds)
        assert (node["field"] and tuple(node["field"]["size"])) == (about[name].field and about[name].field.size)
        assert node["dead"] == dead_share(nodes[name], [found.nodes[name].output for found in traces])
        assert all(tensor in header["tensors"] for tensor in node["tensors"].values())
    by_name = {node["name"]: node for node in header["nodes"]}
    if net is row:
        assert by_name["3"]["settings"]["pads"] == [[0, 1], [1, 0]]
        assert by_name["6"]["settings"]["padding"] == "same"
        assert by_name["6"]["settings"]["pads"] == [[1, 1], [1, 1]]
        assert by_name["3"]["tensors"] == {"weight": "3.weight", "bias": "3.bias"}
        assert by_name["1"]["tensors"] == {key: f"1.{key}" for key in ("weight", "bias", "running_mean", "running_var")}
        assert by_name["1"]["settings"]["eps"] == 1e-5
    assert by_name[header["logits"]]["shape"] == [5]
    assert header["logits"] == {"row": "15", "branches": "6.0", "graph": "0.out"}[net.__name__]
    assert header["model"]["loss"] == "cross-entropy"


def test_the_gradient_that_is_checked():
    model, x = made(row)
    image = pack(model, x, [2])[0]["images"][0]
    checked = image["difference"]
    grads = trace(model, x, 2).grads
    assert checked["tensor"] == "0.weight"
    assert checked["gradient"] == grads["0.weight"][tuple(checked["index"])] == max(grads["0.weight"].flat, key=abs)
    assert checked["slope"] == pytest.approx(checked["gradient"], rel=1e-3)
    assert checked["slope"] == (checked["above"] - checked["below"]) / (2 * checked["step"])
    bias = finite_difference(model, x, 2, "15.bias", (3,))
    assert bias.slope == pytest.approx(trace(model, x, 2).probabilities[0, 3], rel=1e-4)
    for name, index, problem in (
        ("15", (0,), "there is no parameter '15'"),
        ("15.bias", (5,), r"index must be one of"),
    ):
        with pytest.raises(InputError, match=problem):
            finite_difference(model, x, 2, name, index)


def test_models_without_classes_and_inputs_that_are_no_images():
    model = Sequential([Linear(3, 2, rng=0)], loss_func=MSELoss())
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    reader = Reader(*pack(model, x, [[0.0, 1.0], [2.0, 3.0]]))
    image = reader.header["images"][1]
    assert reader.header["model"]["loss"] == "MSELoss()"
    assert (image["label"], image["class"], image["probabilities"]) == ([2.0, 3.0], None, None)
    assert (image["difference"], image["pixels"]) == (None, None)
    outputs, grads, maps, _, _ = reader.image(1)
    found = trace(model, x[1:], [2.0, 3.0])
    assert bits(outputs["0"]) == bits(found.nodes["0"].output[0])
    assert bits(grads["input"]) == bits(found.nodes["input"].grad[0])
    assert list(maps) == ["gradient", "gradient_times_input"]
    pack(zoo.unet((1, 8, 8), classes=2, width=4, depth=1), np.zeros((1, 1, 8, 8), np.float32), [1])


def test_names_classes_and_preprocessing():
    model = zoo.lenet5()
    model.class_names = list("abcdefghij")
    model.preprocessing = {"scale": 1 / 255, "mean": [0.5], "std": [0.25]}
    header = Reader(*pack(model, np.zeros((1, 1, 28, 28), np.uint8))).header
    assert header["model"]["classes"] == list("abcdefghij")
    assert header["model"]["preprocessing"] == model.preprocessing
    assert header["format"] == 1


def net_and_pixels(count=6):
    cnn.manual_seed(0)
    return zoo.lenet5(), np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), np.uint8)


def test_images_are_left_out_before_layers():
    model, pixels = net_and_pixels()
    header, block = pack(model, pixels)
    largest = max(chunk["length"] for chunk in header["chunks"][1:])
    limit = (len(block) - largest) * 4 // 3
    smaller, block = pack(model, pixels, limit=limit)
    assert len(base64.b64encode(block)) <= limit
    complete = [image["complete"] for image in smaller["images"]]
    assert complete[0]
    assert complete == sorted(complete, reverse=True)
    assert smaller["left_out"] == {"images": 0, "activations": 6 - sum(complete), **NOTHING}
    assert 1 <= smaller["left_out"]["activations"] <= 2
    reader = Reader(smaller, block)
    outputs, grads, maps, _, given = reader.image(5)
    assert outputs == grads == maps == {}
    np.testing.assert_array_equal(given, pixels[5])
    assert smaller["images"][5]["probabilities"] == header["images"][5]["probabilities"]
    outputs, grads, _, _, _ = reader.image(0)
    assert len(outputs) == len(grads) == len(header["nodes"])


def test_layers_are_left_out_if_one_image_is_too_large():
    model, pixels = net_and_pixels(150)
    full, block = pack(model, pixels[:1])
    limit = len(block) * 2 // 3
    header, block = pack(model, pixels, limit=limit)
    assert len(base64.b64encode(block)) <= limit
    left_out = header["left_out"]
    assert "7.weight" in left_out["tensors"]  # the largest
    assert left_out["images"] > 0  # those without activations take a quarter of the space at most
    assert left_out["images"] + len(header["images"]) == 150
    assert left_out["activations"] == len(header["images"]) - 1
    reader = Reader(header, block)
    outputs, grads, _, _, _ = reader.image(0)
    assert list(outputs) == [name for name in reader.names if name not in left_out["layers"]]
    assert list(grads) == [name for name in reader.names if name not in left_out["gradients"]]
    assert list(reader.tensors()) == [name for name in full["tensors"] if name not in left_out["tensors"]]
    tiny, _ = pack(model, pixels, limit=10)
    assert [image["complete"] for image in tiny["images"]] == [True]
    assert len(tiny["left_out"]["layers"]) == len(full["nodes"]) - 1  # all but the input


def test_equal_arrays_are_there_once():
    x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    layers = [Conv2d(1, 2, 3, rng=0), Flatten(), Linear(72, 3, rng=0), Softmax()]
    image = pack(Sequential(layers), x)[0]["images"][0]
    assert image["outputs"][1] == image["outputs"][2]
    assert image["grads"][1] == image["grads"][2]


def test_the_same_call_gives_the_same_bytes():
    model, pixels = net_and_pixels(2)
    assert pack(model, pixels, [1, 2]) == pack(model, pixels, [1, 2])


def test_the_default_net_with_twelve_images_stays_below_twelve_megabytes():
    cnn.manual_seed(0)
    model = zoo.small_cnn()
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), np.uint8)
    header, block = pack(model, pixels, [*range(10), 0, 1])
    assert all(image["complete"] for image in header["images"])
    assert len(base64.b64encode(block)) + len(json.dumps(header)) < 11_000_000


def test_one_more_image_is_as_in_a_page():
    model, pixels = net_and_pixels(3)
    header, block = pack(model, pixels, [1, None, 3], ["a", "b", "c"])
    other = randomized(model, 0)
    for i, (label, name) in enumerate(((1, "a"), (None, "b"), (3, "c"))):
        entry, data = pack_image(model, other, pixels[i : i + 1], label, name)
        chunk = header["chunks"][i + 1]
        assert entry | {"chunk": i + 1} == header["images"][i]
        stored = block[chunk["offset"] : chunk["offset"] + chunk["length"]]
        assert zlib.decompress(data, wbits=-15) == zlib.decompress(stored, wbits=-15)


def test_what_is_refused():
    model, pixels = net_and_pixels(2)
    with pytest.raises(ShapeError, match="2 images need as many labels, got 1"):
        pack(model, pixels, [1])
    with pytest.raises(ShapeError, match="2 images need as many names, got 3"):
        pack(model, pixels, names=["a", "b", "c"])
    with pytest.raises(InputError, match="at least one image is needed"):
        pack(model, pixels[:0])
    with pytest.raises(InputError, match="y must be a class id, 0 to 9, got 10"):
        pack(model, pixels, [1, 10])
    with pytest.raises(ShapeError, match=r"expected \(N, 1, H, W\)"):
        pack(model, pixels.repeat(3, axis=1))
    with pytest.raises(InputError, match=r'the model works in float64: convert it with model.to\("float32"\)'):
        pack(zoo.mlp().to("float64"), np.ones((1, 2)))

    class Own(Module):
        def forward(self, x):
            return x

    with pytest.raises(InputError, match="Own has no preprocessing: pass inputs as floats"):
        pack(Own(), pixels)
