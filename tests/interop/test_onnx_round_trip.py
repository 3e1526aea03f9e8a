"""Every layer that is exported and read again computes the same."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from cnn import zoo
from cnn.interop.onnx import load, save
from cnn.layers import BatchNorm1d, BatchNorm2d, LocalResponseNorm, Softplus
from cnn.utils.numeric import difference
from tests.interop.test_onnx_save import ALL, IDS, NETS, batches, random_state

SAME_LAYER = [
    (Softplus(beta=2.0), (3, 4)),
    (Softplus(threshold=0.5), (3, 4)),
    (Softplus(beta=0.7, threshold=1.5), (3, 4, 5, 5)),
    *((LocalResponseNorm(size, alpha=0.3, beta=0.5, k=0.7), (2, 5, 3, 4)) for size in (1, 2, 3, 4, 5, 6)),
    (LocalResponseNorm(3, k=2.0), (2, 5, 4)),
    (LocalResponseNorm(2), (2, 5, 4)),
    (BatchNorm1d(3, eps=0.1, track_running_stats=False), (4, 3)),
    (BatchNorm1d(3, track_running_stats=False), (4, 3, 5)),
    (BatchNorm2d(3, affine=False, track_running_stats=False), (4, 3, 5, 2)),
]


@pytest.mark.parametrize("case", range(len(ALL)), ids=IDS)
def test_every_layer_again(case, tmp_path):
    make, shape = ALL[case]
    model = random_state(make())
    save(model, tmp_path / "m.onnx", input_shape=shape[1:])
    again = load(tmp_path / "m.onnx")
    for x in batches(model, shape):
        assert difference(again(x), model(x)) <= 3e-5


@pytest.mark.parametrize(("layer", "shape"), SAME_LAYER)
def test_layers_in_several_operators(layer, shape, tmp_path):
    """ONNX has no operator that is the same; the layer is recognised in those that are written."""
    save(layer, tmp_path / "m.onnx", input_shape=shape[1:])
    (again,) = load(tmp_path / "m.onnx")
    assert type(again) is type(layer)
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    assert difference(again(x), layer(x)) <= 1e-6
    if isinstance(layer, Softplus):
        assert repr(again) == repr(layer)


@pytest.mark.parametrize("part", range(4))
def test_a_norm_of_the_batch_of_which_a_part_is_read(part, tmp_path):
    save(BatchNorm2d(3, track_running_stats=False), tmp_path / "m.onnx", input_shape=(3, 4, 4))
    model = onnx.load(tmp_path / "m.onnx")
    name = model.graph.node[part].output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="mixes the images of a batch, as a norm without running statistics does"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", zoo.__all__)
def test_nets_of_the_zoo_again(name, tmp_path):
    shape = NETS.get(name, (3, 32, 32))
    model = random_state(getattr(zoo, name)())
    save(model, tmp_path / "m.onnx", input_shape=shape)
    again = load(tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((3, *shape)).astype("f4")
    assert difference(again(x), model(x)) <= 3e-5
    assert again.input_shape == shape
    assert sum(p.size for p in again.parameters()) == sum(p.size for p in model.parameters())
