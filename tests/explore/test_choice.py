"""What a page keeps of a net that is too large for it: layers that can be explained."""

import base64
import zlib

import numpy as np
import pytest

import cnn
from cnn import Graph, Sequential
from cnn.explore import pack, pack_image, randomized, trace
from cnn.explore.choice import Choice
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from tests.explore.test_data import Reader, bits


def stages():
    """Like nets for photos: large maps at the start, small maps and large weights at the end."""
    layers = []
    for before, after in ((3, 8), (8, 16), (16, 24), (24, 32)):
        layers += [Conv2d(before, after, 3, padding=1), BatchNorm2d(after), ReLU(), MaxPool2d(2)]
    return [*layers, Flatten(), Linear(32 * 16, 40), ReLU(), Linear(40, 5)]


def row():
    cnn.manual_seed(0)
    return Sequential(stages())


def graph():
    """The same net as from an ONNX file."""
    cnn.manual_seed(0)
    layers = stages()
    names = ["input", *(f"n{i}" for i in range(len(layers)))]
    return Sequential([Graph(list(zip(names[1:], layers, names[:-1], strict=True)), names[-1])])


NETS = [row, graph]
PIXELS = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), np.uint8)


def explained(header, image=0):
    """The layers whose outputs are there, with what they read and their weights."""
    entry, nodes = header["images"][image], header["nodes"]
    there = {node["name"] for node, offset in zip(nodes, entry["outputs"], strict=True) if offset is not None}
    return [
        node["name"]
        for node in nodes[1:]
        if {node["name"], *node["reads"]} <= there
        and all(header["tensors"][name]["offset"] is not None for name in node["tensors"].values())
    ]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("share", [0.45, 0.6, 0.8])
def test_what_is_kept_can_be_explained(net, share):
    model = net()
    full, block = pack(model, PIXELS)
    maps = len(pack(model, PIXELS, limit=1)[1])
    limit = int((maps + share * (len(block) - maps)) * 4 / 3)
    header, block = pack(model, PIXELS, limit=limit)
    assert 0.8 * limit < len(base64.b64encode(block)) <= limit
    left_out, names = header["left_out"], explained(header)
    assert left_out["layers"]
    kinds = {node["name"]: node["kind"] for node in header["nodes"]}
    kernels = [name for name, kind in kinds.items() if kind in ("Conv2d", "Linear")]
    assert {kernels[0], kernels[-1]} <= {*names}
    assert any(name in kernels[1:-1] and kinds[name] == "Conv2d" for name in names)
    kept = [name for name in list(kinds)[1:] if name not in left_out["layers"]]
    assert len(names) >= 0.6 * len(kept)
    grads = [name for name in kept if name not in left_out["gradients"]]
    assert len(grads) >= 3
    assert {*kinds} - {"input", *kept} <= {*left_out["gradients"]}
    outputs, stored, maps, _, _ = Reader(header, block).image(0)
    found = trace(model, model.preprocess(PIXELS))
    for name in kept:
        assert bits(outputs[name]) == bits(found.nodes[name].output[0])
    for name in grads:
        assert bits(stored[name]) == bits(found.nodes[name].grad[0])
    assert len(maps) == 4 - len(left_out["maps"])
    assert header["logits"] in kept
    assert full["left_out"]["layers"] == []


@pytest.mark.parametrize("net", NETS)
def test_one_more_image_has_the_same_limit(net):
    model = net()
    other, absent = randomized(model, 0), [name for name, _ in model.named_tensors() if name.endswith("4.weight")]
    entry, chunk = pack_image(model, other, PIXELS)
    assert None not in entry["outputs"]
    least = len(pack_image(model, other, PIXELS, limit=1)[1])
    limit = (least + len(chunk)) * 2 // 3
    entry, chunk = pack_image(model, other, PIXELS, absent=absent, limit=limit)
    assert least < len(chunk) <= limit * 3 // 4
    assert len(zlib.decompress(chunk, wbits=-15)) > len(chunk)
    names = [node["name"] for node in pack(model, PIXELS)[0]["nodes"]]
    kept = [name for name, offset in zip(names, entry["outputs"], strict=True) if offset is not None]
    assert kept[0] == "input"
    assert names[-1] in kept
    assert 3 < len(kept) < len(names)


def test_units_need_weights_that_are_there():
    found = trace(row(), np.ones((1, 3, 64, 64), np.float32))
    tensors = {name: tensor.data for name, tensor in row().named_tensors() if tensor.data.dtype.kind == "f"}
    choice = Choice(found, tensors)
    everything = choice.choose(10**9)
    assert everything == set(choice.sizes)
    assert choice.left_out(everything) == {"layers": [], "gradients": [], "tensors": []}
    space = sum(choice.sizes.values()) // 3
    kept = choice.choose(space)
    assert sum(choice.sizes[piece] for piece in kept) <= space
    assert {("layers", "0"), ("tensors", "0.weight"), ("tensors", "0.bias")} <= kept
    assert ("layers", "0") not in Choice(found, {}, ["0.weight"]).choose(choice.sizes["layers", "0"] + 5000)
    assert choice.choose(0) == set()


def test_maps_of_a_large_input_are_left_out_if_nothing_else_fits():
    model = Sequential([Conv2d(3, 2, 3, stride=4, rng=0), ReLU(), Flatten(), Linear(512, 3, rng=1)])
    full, block = pack(model, PIXELS)
    limit = len(block) * 4 // 3 // 2
    header, block = pack(model, PIXELS, limit=limit)
    assert len(base64.b64encode(block)) <= limit
    left_out = header["left_out"]["maps"]
    assert left_out == ["gradient_times_input", "gradient"][: len(left_out)]
    assert left_out
    image = header["images"][0]
    assert image["maps_left_out"] == left_out
    assert (
        list(image["maps"]) == list(image["random_maps"]) == [m for m in full["images"][0]["maps"] if m not in left_out]
    )
    assert "0" in explained(header)
