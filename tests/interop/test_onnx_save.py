"""Every layer and every net of the zoo as an ONNX file: onnx's checker, onnxruntime and OpenCV agree with it."""

import functools
import sys

import numpy as np
import onnx
import pytest

import cnn
from cnn import Concat, Graph, Residual, Sequential, Sum, layers, zoo
from cnn.containers.joins import Add, Concatenate, Multiply
from cnn.interop.onnx import save
from cnn.interop.onnx.saving_nodes import FUNCTIONS
from cnn.layers import (
    GELU,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GroupNorm,
    Identity,
    LayerNorm,
    Linear,
    MaxPool2d,
    PReLU,
    ReflectionPad2d,
    ReLU,
    Softmax,
    Softplus,
    Unflatten,
    Upsample,
)
from cnn.utils.numeric import difference
from tests.conformance import CASES, draw
from tests.interop.runtimes import OnnxRuntime, OpenCV

TOLERANCE = 3e-5
BATCHES = (1, 3, 17)


def joined():
    """A graph in which outputs are read twice, and joined in both ways."""
    nodes = [
        ("a", Conv2d(2, 3, 3, padding=1, rng=0), "input"),
        ("b", Conv2d(3, 3, 1, rng=1), "a"),
        ("sum", Add(), ["a", "b", "a"]),
        ("output", ReLU(), "sum"),
        ("both", Concatenate(), ["output", "input"]),
    ]
    return Graph(nodes, outputs="both")


MORE = [  # beyond the cases of conformance.py: where an operator depends on the arguments or on the shape
    (
        lambda: Graph(
            [("pool", AdaptiveAvgPool2d(1), "input"), ("out", Multiply(), ["input", "pool", "input"])], outputs="out"
        ),
        (2, 2, 3, 4),
    ),
    (lambda: Linear(4, 3, rng=0), (2, 2, 3, 4)),
    (lambda: ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1, rng=0), (2, 2, 3, 4)),
    (lambda: ConvTranspose2d(2, 4, 3, padding=1, output_padding=(0, 2), dilation=(1, 3), rng=0), (2, 2, 4, 3)),
    (lambda: ConvTranspose2d(2, 4, 3, output_padding=1, dilation=2, bias=False, rng=0), (2, 2, 4, 3)),
    (lambda: MaxPool2d(2, stride=3, ceil_mode=True), (2, 2, 7, 8)),
    (lambda: MaxPool2d(2, stride=3, dilation=4, ceil_mode=True), (2, 2, 9, 10)),
    (lambda: AvgPool2d(3, stride=2, ceil_mode=True), (2, 2, 6, 7)),
    (lambda: AvgPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 2, 6, 7)),
    (lambda: AvgPool2d((3, 2), stride=2, padding=(0, 1), ceil_mode=True, count_include_pad=False), (2, 2, 6, 6)),
    (lambda: AdaptiveAvgPool2d((2, 3)), (2, 2, 4, 6)),
    (lambda: AdaptiveAvgPool2d((3, 5)), (2, 2, 7, 3)),
    (lambda: AdaptiveAvgPool2d((None, 2)), (2, 2, 3, 3)),
    (lambda: AdaptiveAvgPool2d(None), (2, 2, 3, 3)),
    (lambda: AdaptiveMaxPool2d(1), (2, 2, 4, 6)),
    (lambda: AdaptiveMaxPool2d((2, 3)), (2, 2, 4, 6)),
    (lambda: AdaptiveMaxPool2d((3, 5)), (2, 2, 7, 3)),
    (lambda: ReflectionPad2d((3, -2, -1, 2)), (2, 2, 4, 4)),
    (lambda: ReflectionPad2d((-1, -1, -1, 0)), (2, 2, 4, 4)),
    (lambda: Upsample(scale_factor=3), (2, 2, 3, 4)),
    (lambda: Upsample(size=(7, 5)), (2, 2, 3, 4)),
    (lambda: Upsample(scale_factor=(0.5, 1.7)), (2, 2, 6, 5)),
    (lambda: Upsample(scale_factor=2, mode="bilinear"), (2, 2, 3, 4)),
    (lambda: Upsample(scale_factor=2, mode="bilinear", align_corners=True), (2, 2, 3, 4)),
    (lambda: Upsample(size=(7, 5), mode="bilinear"), (2, 2, 3, 4)),
    (lambda: Upsample(size=(6, 8), mode="bilinear"), (2, 2, 3, 4)),
    (lambda: Upsample(size=(1, 8), mode="bilinear"), (2, 2, 3, 4)),
    (lambda: Upsample(size=(1, 1), mode="bilinear", align_corners=True), (2, 2, 3, 4)),
    (lambda: Upsample(scale_factor=(1.7, 0.5), mode="bilinear"), (2, 2, 5, 6)),
    (lambda: Upsample(scale_factor=1.3, mode="bilinear", align_corners=True), (2, 2, 5, 6)),
    (lambda: Unflatten(-1, (2, -1)), (3, 2, 6)),
    (lambda: PReLU(3), (2, 3)),
    (lambda: Softplus(), (3, 4)),
    (lambda: Softplus(beta=0.5), (3, 4)),
    (lambda: Softplus(threshold=0.5), (3, 4)),
    (lambda: BatchNorm1d(3, track_running_stats=False), (4, 3)),
    (lambda: BatchNorm1d(3, affine=False, track_running_stats=False), (4, 3, 2)),
    (lambda: GroupNorm(2, 4), (3, 4)),
    (lambda: GroupNorm(4, 4), (3, 4, 3)),
    (lambda: LayerNorm((3, 4)), (2, 3, 4)),
    (lambda: Sequential([Dropout(), Dropout(), Identity()]), (3, 4)),
    (lambda: Sum([ReLU()]), (3, 4)),
    (lambda: Sum([Identity(), ReLU(), Linear(4, 4, rng=0)]), (3, 4)),
    (lambda: Sum([Identity(), Identity()]), (3, 4)),
    (lambda: Concat([Identity(), Conv2d(2, 3, 1, rng=0), ReLU()]), (2, 2, 3, 4)),
    (lambda: Concat([Identity()]), (3, 4)),
    (joined, (2, 2, 4, 5)),
    (lambda: Sequential([Conv2d(2, 2, 1, rng=0), joined(), Residual(ReLU(), Dropout())]), (2, 2, 4, 5)),
]
ALL = [*CASES, *MORE]
IDS = [f"{i}-{type(make()).__name__}" for i, (make, _) in enumerate(ALL)]

NOT_IN_OPENCV = [  # what OpenCV 4.14 gets wrong or refuses, and how to recognise the layer
    ("ignores the dilation of a pool", lambda layer: isinstance(layer, MaxPool2d) and layer.dilation != (1, 1)),
    (
        "ignores the dilation of a transposed convolution, and refuses pads that differ from side to side",
        lambda layer: (
            isinstance(layer, ConvTranspose2d) and (layer.dilation, *map(type, layer.padding)) != ((1, 1), int, int)
        ),
    ),
    (
        "computes the GELU by tanh as the exact one, 2e-4 off",
        lambda layer: isinstance(layer, GELU) and layer.approximate == "tanh",
    ),
    (
        "refuses to repeat an edge more often than the image is wide",
        lambda layer: isinstance(layer, layers.ReplicationPad2d) and max(layer.padding) > 2,
    ),
]


def random_state(model, seed=0):
    """Give norms weights and statistics other than 1 and 0, so that no two could be exchanged unnoticed."""
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, (BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, PReLU)):
            for name, tensor in module.named_tensors():
                if tensor.dtype.kind == "f":
                    tensor.data = rng.uniform(0.5, 1.5, tensor.shape) * (1 if "var" in name else rng.choice([-1, 1]))
    return model.eval()


def batches(model, shape):
    """Batches of the sizes that are tested."""
    needs_more = any(not getattr(module, "track_running_stats", True) for module in model.modules())
    return [draw((n, *shape[1:])) for n in BATCHES if n > 1 or not (needs_more and len(shape) == 2)]


@functools.cache
def exported(case, folder):
    """The model of a case, and its file."""
    make, shape = ALL[case]
    model = random_state(make())
    path = folder / f"{case}.onnx"
    save(model, path, input_shape=shape[1:])
    return model, path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.mark.parametrize("case", range(len(ALL)), ids=IDS)
def test_every_layer_in_onnxruntime(case, folder):
    model, path = exported(case, folder)
    run = OnnxRuntime(path)
    for x in batches(model, ALL[case][1]):
        y = model(x)
        found = run(x)["output"]
        assert found.shape == y.shape
        assert difference(found, y) <= TOLERANCE


def reasons(make):
    return [reason for reason, applies in NOT_IN_OPENCV if any(map(applies, make().modules()))]


@pytest.mark.parametrize("case", [i for i, (make, _) in enumerate(ALL) if not reasons(make)])
def test_every_layer_in_opencv(case, folder):
    model, path = exported(case, folder)
    for x in batches(model, ALL[case][1]):
        y = model(x)
        (found,) = OpenCV(path)(x).values()
        assert found.shape == y.shape
        assert difference(found, y) <= TOLERANCE


def test_few_layers_are_not_run_in_opencv():
    assert sum(bool(reasons(make)) for make, _ in ALL) <= 10
    assert {reason for make, _ in ALL for reason in reasons(make)} == {reason for reason, _ in NOT_IN_OPENCV}


def test_every_class_is_exported_and_tested():
    public = [getattr(package, name) for package in (cnn, layers) for name in package.__all__]
    classes = {each for each in public if isinstance(each, type) and issubclass(each, cnn.Module)} - {cnn.Module}
    assert {Sequential, Sum, Concat, Residual, Graph, Add, Concatenate, ReLU} <= classes
    missing = {cls.__name__ for cls in classes - FUNCTIONS.keys()}
    assert not missing, "these need a function in cnn/interop/onnx/saving_nodes.py"
    tested = {type(module) for make, _ in ALL for module in make().modules()}
    assert {cls.__name__ for cls in FUNCTIONS.keys() - tested} == set()


@pytest.mark.parametrize("case", range(len(ALL)), ids=IDS)
def test_onnx_finds_nothing_wrong(case, folder):
    model, path = exported(case, folder)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    (given,), (out,) = proto.graph.input, proto.graph.output
    assert (given.name, out.name) == ("input", "output")
    x = draw((5, *ALL[case][1][1:]))
    for value, array in ((given, x), (out, model(x))):
        sizes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert sizes == ["batch", *array.shape[1:]]
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    assert names == [node.output[0] for node in proto.graph.node]
    # nothing is computed from shapes at run time, and nothing is left to the runtime's own rules
    assert not {"Shape", "Dropout"} & {node.op_type for node in proto.graph.node}
    arguments = {a.name: a for node in proto.graph.node for a in node.attribute}
    assert "auto_pad" not in arguments
    assert not any(arguments[name].i for name in ("ceil_mode", "count_include_pad") if name in arguments)


NEEDED = {"Mish": (18, 8), "GELU": (20, 9), "GroupNorm": (21, 10)}


@pytest.mark.parametrize("case", range(len(ALL)), ids=IDS)
def test_the_opset_is_17_unless_an_operator_needs_more(case, folder):
    model, path = exported(case, folder)
    proto = onnx.load(path)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", needed(model)[0])]
    assert proto.ir_version == needed(model)[1]


def needed(model):
    """The opset and the IR version that a layer needs."""
    if isinstance(model, GroupNorm) and model.num_groups == model.num_channels:
        return (17, 8)  # InstanceNormalization
    return NEEDED.get(type(model).__name__, (17, 8))


@pytest.mark.parametrize("opset", [18, 22])
@pytest.mark.parametrize("case", range(0, len(ALL), 2), ids=IDS[::2])
def test_later_opsets(tmp_path, case, opset):
    make, shape = ALL[case]
    model = random_state(make())
    save(model, tmp_path / "m.onnx", opset=max(opset, needed(model)[0]), input_shape=shape[1:])
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == max(opset, needed(model)[0])
    x = draw((3, *shape[1:]))
    assert difference(OnnxRuntime(tmp_path / "m.onnx")(x)["output"], model(x)) <= TOLERANCE


NETS = {"lenet5": (1, 28, 28), "small_cnn": (1, 28, 28), "fashion_cnn": (1, 28, 28), "mlp": (2,), "unet": (1, 32, 32)}
NETS["efficientnet_lite0"] = (3, 64, 64)  # smaller ones end as 1 x 1, of which OpenCV's depthwise convolution is wrong


@pytest.mark.parametrize("name", zoo.__all__)
def test_every_net_of_the_zoo(tmp_path, name):
    shape = NETS.get(name, (3, 32, 32))
    model = random_state(getattr(zoo, name)())
    model.input_shape = shape
    path = tmp_path / f"{name}.onnx"
    save(model, path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 17
    assert not {"Shape", "Gather", "Reshape"} & {node.op_type for node in proto.graph.node}
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    stored = {k: v for k, v in stored.items() if not k.endswith((".min", ".max"))}  # the bounds of ReLU6
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert stored.keys() == state.keys()
    assert all(np.array_equal(stored[k], state[k]) for k in state)
    # OpenCV 4.14 joins a sum with the convolution on the shortcut, and is then wrong for batches of more than one image
    run, opencv = OnnxRuntime(path), OpenCV(path, fusion=name != "resnet")
    for n in BATCHES:
        x = draw((n, *shape))
        y = model(x)
        assert difference(run(x)["output"], y) <= TOLERANCE
        assert difference(opencv(x)["output"], y) <= TOLERANCE


def test_a_trained_model_of_the_zoo_with_its_metadata(tmp_path):
    model = zoo.trained.load("fashion")
    save(model, tmp_path / "fashion.onnx", preprocess=True)
    run = OnnxRuntime(tmp_path / "fashion.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (5, *model.input_shape), np.uint8)
    expected = model.eval()(model.preprocess(pixels))
    assert difference(run(pixels.astype(np.float32))["output"], expected) <= TOLERANCE
    metadata = run.session.get_modelmeta().custom_metadata_map
    assert cnn.core.files.parse_json(metadata["class_names"]) == model.class_names
    assert run.session.get_modelmeta().producer_name == "cnn"


def small(**attributes):
    """A net for 3 x 8 x 8 images with what the file may hold."""
    model = Sequential(
        [
            Conv2d(3, 4, 3, rng=0),
            BatchNorm2d(4),
            ReLU(),
            Dropout(0.9, rng=0),
            Flatten(),
            Linear(144, 2, rng=0),
            Softmax(),
        ]
    )
    model.input_shape = (3, 8, 8)
    for name, value in attributes.items():
        setattr(model, name, value)
    return random_state(model)


PREPROCESSING = [
    None,
    {},
    {"scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]},
    {"scale": np.float32(1 / 128), "mean": np.full((3, 1, 1), 0.5), "std": 0.5, "size": [8, 8]},
    {"scale": 1.0, "mean": 127.0, "std": 128.0},
    {"scale": 1, "mean": 0, "std": 1},
    {"mean": 0.3},
]


@pytest.mark.parametrize("settings", PREPROCESSING)
def test_preprocess_puts_the_scaling_of_pixels_into_the_graph(tmp_path, settings):
    model, path = small(preprocessing=settings, class_names=["no", "yes"]), tmp_path / "m.onnx"
    save(model, path, preprocess=True)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    expected = model(model.preprocess(pixels))
    run = OnnxRuntime(path)
    assert difference(run(pixels.astype(np.float32))["output"], expected) <= TOLERANCE
    assert difference(OpenCV(path)(pixels.astype(np.float32))["output"], expected) <= TOLERANCE
    left = cnn.core.files.parse_json(run.session.get_modelmeta().custom_metadata_map["preprocessing"])
    assert {key: left.pop(key) for key in ("scale", "mean", "std")} == {"scale": 1, "mean": 0, "std": 1}
    assert left == ({"size": [8, 8]} if settings and "size" in settings else {})
    steps = {"Mul", "Sub", "Div"} & {node.op_type for node in onnx.load(path).graph.node}
    assert steps == {
        op
        for op, key, default, idle in (("Mul", "scale", 1 / 255, 1), ("Sub", "mean", 0, 0), ("Div", "std", 1, 1))
        if np.any(np.asarray((settings or {}).get(key, default)) != idle)
    }


@pytest.mark.parametrize("settings", PREPROCESSING)
def test_metadata(tmp_path, settings):
    model = small(preprocessing=settings, class_names=["ja", "né\n"])
    save(model, tmp_path / "m.onnx")
    metadata = OnnxRuntime(tmp_path / "m.onnx").session.get_modelmeta().custom_metadata_map
    assert cnn.core.files.parse_json(metadata["class_names"]) == ["ja", "né\n"]
    assert ("preprocessing" in metadata) == (settings is not None)
    if settings is not None:
        again = cnn.core.files.parse_json(metadata["preprocessing"])
        pixels = np.full((1, 3, 8, 8), 200, np.uint8)
        np.testing.assert_array_equal(cnn.model.preprocessing.preprocess(pixels, again), model.preprocess(pixels))


def test_a_float64_model_becomes_float32(tmp_path):
    model = small().to(np.float64)
    save(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    assert {tensor.data_type for tensor in proto.graph.initializer} == {onnx.TensorProto.FLOAT}
    x = draw((3, 3, 8, 8))
    assert difference(OnnxRuntime(tmp_path / "m.onnx")(x)["output"], model(x.astype(np.float64))) <= TOLERANCE
    assert model[0].weight.dtype == np.float64
    model[0].weight.data[0, 0, 0, 0] = 1e300
    with pytest.raises(
        ValueError, match=r"0\.weight has a number that float32, which ONNX files hold, cannot: 1e\+300"
    ):
        save(model, tmp_path / "m.onnx")


@pytest.mark.parametrize("change", ["freeze", "train", "eval"])
def test_the_model_stays_as_it_is_and_counts_in_evaluation_mode(tmp_path, change):
    model = small()
    getattr(model, change)()
    modes = [(module._training, module._frozen) for module in model.modules()]
    before, state = [p.requires_grad for p in model.parameters()], model.state_dict()
    save(model, tmp_path / "m.onnx")
    assert [(module._training, module._frozen) for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == before
    assert all(np.array_equal(state[k], v) for k, v in model.state_dict().items())
    assert all(module._saved is None for module in model.modules())
    x = draw((3, 3, 8, 8))
    assert difference(OnnxRuntime(tmp_path / "m.onnx")(x)["output"], model.eval()(x)) <= TOLERANCE


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = small(class_names=["a", "b"], preprocessing={"std": 2.0, "mean": 1.0})
    for name in "ab":
        save(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shared_weights_are_stored_once(tmp_path):
    a, b, c = Linear(4, 4, rng=0), Linear(4, 4, rng=1), Linear(4, 4, rng=2)
    b.weight, c.bias = a.weight, a.bias
    model = Sequential([a, ReLU(), b, Sum([Identity(), c])])
    save(model, tmp_path / "m.onnx", input_shape=(4,))
    names = [tensor.name for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert names == ["0.weight", "0.bias", "2.bias", "3.1.weight"]
    x = draw((3, 4))
    assert difference(OnnxRuntime(tmp_path / "m.onnx")(x)["output"], model(x)) <= TOLERANCE


def test_a_slope_shared_by_layers_that_need_other_shapes(tmp_path):
    a, b = PReLU(2), PReLU(2)
    b.weight = a.weight
    model = Sequential([a, Flatten(), Linear(8, 2, rng=0), b])
    save(model, tmp_path / "m.onnx", input_shape=(2, 2, 2))
    x = draw((3, 2, 2, 2))
    assert difference(OnnxRuntime(tmp_path / "m.onnx")(x)["output"], model(x)) <= TOLERANCE


@pytest.mark.parametrize("outputs", [["b", "a"], ["a", "same"], ["same", "a", "c"], ["c"]])
def test_a_graph_with_several_outputs_keeps_their_names(tmp_path, outputs):
    nodes = [
        ("a", Linear(4, 3, rng=0), "input"),
        ("b", ReLU(), "a"),
        ("same", Dropout(), "a"),
        ("c", Linear(3, 2), "a"),
    ]
    nodes = [node for node in nodes if node[0] in (*outputs, "a")]
    model = Graph(nodes, outputs=outputs).eval()
    save(model, tmp_path / "m.onnx", input_shape=(4,))
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    x = draw((3, 4))
    expected = dict(zip(outputs if len(outputs) > 1 else ["output"], model(x), strict=True))
    for run in (OnnxRuntime, OpenCV):
        found = run(tmp_path / "m.onnx")(x)
        assert found.keys() == expected.keys()
        assert all(difference(found[name], y) <= TOLERANCE for name, y in expected.items())
    assert list(OnnxRuntime(tmp_path / "m.onnx")(x)) == list(expected)


class Twice(cnn.Module):
    def forward(self, x):
        return x + x


class Steep(ReLU):
    def forward(self, x):
        return 3 * super().forward(x)


class Larger(Add):
    def forward(self, xs):
        return np.maximum(*xs)


class Swapped(Graph):
    def forward(self, x):
        return super().forward(x)[::-1]


class Around(cnn.Module):
    def __init__(self):
        self.inner = Linear(4, 4)

    def forward(self, x):
        return self.inner(x)


def test_everything_that_cannot_be_expressed_is_listed_at_once(tmp_path):
    graph = Graph([("a", Steep(), "input"), ("max", Larger(), ["a", "input"])], outputs="max")
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="ONNX") as caught:
        save(Sequential([Twice(), Residual(Sequential([Around(), GELU()])), graph]), path, opset=17, input_shape=(4,))
    lines = str(caught.value).splitlines()
    assert lines[0] == "this model has 5 layers that ONNX cannot express:"
    assert lines[1].startswith(
        "  layer 0, Twice(): ONNX has no operator for a class of your own: build it of layers of "
    )
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "  layer 0, Twice()",
        "  layer 1.body.0, Around()",
        "  layer 1.body.1, GELU()",
        "  layer 2.a, Steep()",
        "  layer 2.max, Larger()",
    ]
    assert lines[3].endswith("its operator Gelu needs opset=20, got 17: pass that, or no opset")
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("model", [Twice(), Swapped([("a", ReLU(), "input"), ("b", ReLU(), "a")], ["a", "b"])])
def test_a_model_that_is_one_class_of_your_own(tmp_path, model):
    name = type(model).__name__
    with pytest.raises(ValueError, match=rf"this model has a layer that ONNX cannot express:\n  {name}.*: ONNX has no"):
        save(model, tmp_path / "m.onnx", input_shape=(4,))


def test_a_subclass_that_computes_the_same_is_exported(tmp_path):
    class Net(Sequential):
        def __init__(self):
            super().__init__([Linear(4, 4, rng=0), Backwards()])

        def fit(self, *args, **kwargs):
            raise NotImplementedError

    class Backwards(ReLU):
        def backward(self, grad):
            return -grad

    save(Net(), tmp_path / "m.onnx", input_shape=(4,))
    x = draw((3, 4))
    assert difference(OnnxRuntime(tmp_path / "m.onnx")(x)["output"], Net()(x)) <= TOLERANCE
    changed = ReLU()
    changed.forward = lambda x: x
    with pytest.raises(ValueError, match="class of your own"):
        save(changed, tmp_path / "m.onnx", input_shape=(4,))


def test_a_split_of_the_batch_axis_cannot_be_expressed(tmp_path):
    with pytest.raises(
        ValueError, match="dim=0 splits the batch axis, whose length an ONNX file leaves open: use dim=1"
    ):
        save(Unflatten(0, (2, -1)), tmp_path / "m.onnx", input_shape=(4,))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"input_shape": None},
            ValueError,
            "the shape of one sample is not known: pass it, as in save.*input_shape=.3,",
        ),
        ({"input_shape": (3, 9, 8)}, cnn.ShapeError, r"layer 5, Linear.*expected \(N, 144\), got \(N, 168\)"),
        ({"input_shape": 8}, TypeError, "input_shape is the shape of one sample, such as"),
        ({"input_shape": (0,)}, ValueError, "each size in input_shape must be an integer of at least 1, got 0"),
        ({"class_names": [1]}, ValueError, "class_names must be a list of strings"),
        ({"class_names": ["a"]}, ValueError, "class_names must have 2 names, one for each output of the model, got 1"),
        ({"class_names": ["a", "a"]}, ValueError, "class_names must be different from each other, but 'a' is there"),
        ({"preprocessing": {"std": [1, 2]}}, ValueError, "the std of preprocessing must be one number, or 3"),
        ({"preprocessing": {"std": 0}}, ValueError, "the std of preprocessing must be finite numbers other than 0"),
    ],
)
def test_models_that_lack_something(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        save(small(**change), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [16, 23, True, 17.0, "17"])
def test_opsets_that_cannot_be_asked_for(tmp_path, opset):
    with pytest.raises(ValueError, match=r"opset must be an integer from 17 to 22, or None, got"):
        save(small(), tmp_path / "m.onnx", opset=opset)


def test_what_is_no_model_and_what_takes_no_pixels(tmp_path):
    with pytest.raises(TypeError, match="expected a model, got 3"):
        save(3, tmp_path / "m.onnx", input_shape=(4,))
    with pytest.raises(ValueError, match=r"preprocess=True scales the pixels of images, but inputs have shape \(4,\)"):
        save(ReLU(), tmp_path / "m.onnx", input_shape=(4,), preprocess=True)


def test_paths_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"could not write .*m\.onnx: there is no folder"):
        save(small(), tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(OSError, match="could not write"):
        save(small(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_too_large_for_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["cnn.interop.onnx.saving"], "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"the parameters take 0\.0 GB in float32, but an ONNX file ends at 2 GB"):
        save(small(), tmp_path / "m.onnx")


def test_without_the_package_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'ONNX files need the package onnx: pip install "cnn\[onnx\]"'):
        save(small(), tmp_path / "m.onnx")
