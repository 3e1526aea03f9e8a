"""The benchmark cases: the suites, their data, and the layers sampled from the zoo."""

import numpy as np
import pytest

from cnn import zoo
from cnn.bench import cases
from cnn.bench.cases import INFERENCE, LAYER, TRAIN, Case, choose, inference, layers, training
from cnn.layers import Linear
from cnn.module import Module


def names(chosen):
    return [(case.kind, case.name) for case in chosen]


def test_the_same_forty_distinct_layers_are_sampled_each_time():
    sampled = layers()
    assert len(sampled) == 40
    assert len({(case.subject, case.shape) for case in sampled}) == 40
    assert names(sampled) == names(layers())
    assert {case.batch for case in sampled} == {64}
    later = {
        "photo_cnn",
        "fashion_cnn",
        "efficientnet_lite0",
    }  # layers from these nets would make old results incomparable
    assert len(cases.LAYER_SOURCES) == len(set(zoo.__all__) - later)
    kinds = {case.subject.partition("(")[0] for case in sampled}
    assert {"Conv2d", "Linear", "BatchNorm2d", "MaxPool2d", "ReLU"} <= kinds


def test_every_sampled_layer_accepts_its_data_and_matches_its_name():
    for case in layers():
        layer, (x, _) = case.make(), case.data()
        assert cases.layer_text(layer) == case.subject
        assert layer(x[:2]).shape[0] == 2
        assert x.shape == (64, *case.shape)
        if x.ndim == 4:  # channels-last, the memory layout of layer outputs
            assert x.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("net", [zoo.resnet, zoo.densenet, zoo.unet, zoo.inception])
def test_the_shapes_are_the_input_shapes_of_the_layers_of_a_net(net, monkeypatch):
    shape = (3, 8, 8)
    model = net(8, shape) if net is zoo.resnet else net(shape)
    given = {}
    for module in model.modules():
        if not module.children():
            monkeypatch.setattr(module, "forward", spy(module, given))
    model(np.zeros((2, *shape), np.float32))
    found = {id(layer): shape for layer, shape in cases._leaves("", model, shape, model.build(shape))}
    assert found == given


def spy(module: Module, given):
    forward = module.forward

    def look(x):
        given[id(module)] = x.shape[1:]
        return forward(x)

    return look


def test_multiply_adds():
    forward = 2 * 32 + 32 * 16 + 16 * 3
    assert inference("mlp", 5).multiply_adds() == 5 * forward
    assert training("mlp", 5).multiply_adds() == 5 * (3 * forward - 2 * 32)  # the gradient of the data is not needed
    case = Case(LAYER, "Linear(3, 4)", 5, (3,), 0, lambda: Linear(3, 4))
    assert case.multiply_adds() == 5 * 3 * 12


def test_a_training_batch_cannot_be_memorized():
    x, y = training("lenet5", 8).data()
    assert (x.shape, x.dtype, y.shape) == ((8, 1, 28, 28), np.float32, (8,))
    np.testing.assert_array_equal(x[:4], x[4:])
    assert np.all(y[:4] != y[4:])
    assert 0 <= y.min() <= y.max() < 10
    odd, _ = training("mlp", 5).data()
    np.testing.assert_array_equal(odd[:2], odd[3:])


def test_the_suites():
    train, infer = choose("train")[0], choose("inference")[0]
    assert names(train)[:4] == [(TRAIN, f"{net}, batch {batch}") for net, batch in cases.TRAIN_CASES[:4]]
    assert {case.subject for case in train} == {"small-cnn", "lenet5", "resnet20", "vgg", "mobilenet", "mlp"}
    assert sorted({case.batch for case in infer}) == [1, 256]
    assert [len(infer), choose("inference")[1]] == [6, []]
    assert names(choose("train")[1]) == names(train)
    assert (choose("memory")[0], names(choose("memory")[1])) == ([], names(train))
    assert names(choose("layers")[0]) == names(layers())
    assert names(choose()[0]) == names(train) + names(infer) + names(layers())
    assert names(choose()[1]) == names(train)


def test_a_net_or_a_class_of_layers_can_be_named():
    timed, memory = choose("Small_CNN")
    assert [(case.kind, case.batch) for case in timed] == [
        (TRAIN, 32),
        (TRAIN, 64),
        (TRAIN, 256),
        (INFERENCE, 1),
        (INFERENCE, 256),
    ]
    assert [case.batch for case in memory] == [32, 64, 256]
    timed, memory = choose("linear")
    assert timed
    assert all(case.subject.startswith("Linear(") for case in timed)
    assert memory == []
    with pytest.raises(
        ValueError, match=r"unknown suite 'infrence': did you mean 'inference'\? Known: .*Conv2d, .* all, .* resnet20"
    ):
        choose("infrence")
