import numpy as np
import pytest

from cnn import Sequential
from cnn.errors import InputError, ShapeError
from cnn.kernels import backend
from cnn.layers import BatchNorm2d, Conv2d, Flatten, GroupNorm, InstanceNorm2d, Linear
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD, update_bn
from tests.conformance import draw
from tests.kernels.backends import in_float64, using


def test_brightness_and_contrast_of_an_image_make_no_difference():
    layer, x = InstanceNorm2d(2, eps=1e-12).to(np.float64), draw((3, 2, 4, 5), np.float64)
    np.testing.assert_allclose(layer(x * np.array([1, 5, 0.2])[:, None, None, None] + 7), layer(x), rtol=1e-8)
    grad = layer.backward(draw(x.shape, np.float64, 1))
    np.testing.assert_allclose(grad.sum(axis=(2, 3)), 0, atol=1e-12)


def test_it_is_a_group_norm_with_a_group_for_each_channel():
    x = draw((3, 4, 5, 6))
    norms = [GroupNorm(4, 4), InstanceNorm2d(4, affine=True)]
    for norm in norms:
        norm.weight.data, norm.bias.data = [1, 2, 3, 4], [5, 6, 7, 8]
    np.testing.assert_allclose(*(norm(x) for norm in norms), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_every_backend_and_a_mean_far_from_zero(name):
    if name == "jit" and not backend.has_numba():
        pytest.skip("Numba is not installed")
    layer = InstanceNorm2d(20, affine=True)
    layer.weight.data = draw(20, seed=3)
    x = draw((70, 20, 9, 8)) + 1000
    with using(name):
        y = layer(x)
        grad = layer.backward(draw(y.shape, seed=1))
    expected = in_float64(layer, x)
    np.testing.assert_allclose(y, expected[0], rtol=1e-4, atol=1e-5)
    layer.to(np.float64)(x.astype(np.float64))
    np.testing.assert_allclose(grad, layer.backward(draw(y.shape, seed=1).astype(np.float64)), rtol=1e-3, atol=1e-4)


def test_running_statistics_by_hand():
    layer = InstanceNorm2d(1, momentum=0.5, track_running_stats=True)
    layer(np.array([[[[0, 2]]], [[[4, 10]]]], np.float32))  # means 1 and 7, unbiased variances 2 and 18
    np.testing.assert_array_equal(layer.running_mean.data, [2])
    np.testing.assert_array_equal(layer.running_var.data, [0.5 + 5])
    assert layer.num_batches_tracked.data == 0
    x = draw((2, 1, 1, 1))
    np.testing.assert_allclose(layer.eval()(x), (x - 2) / np.sqrt(5.5 + 1e-5), rtol=1e-6)
    layer.train()(np.zeros((0, 1, 2, 2), np.float32))
    np.testing.assert_array_equal(layer.running_mean.data, [2])


def test_update_bn_leaves_it_as_it_is():
    """As PyTorch's does."""
    model = Sequential([InstanceNorm2d(1, track_running_stats=True), BatchNorm2d(1)])
    update_bn([draw((4, 1, 3, 3)) + 5], model)
    np.testing.assert_allclose(model[0].running_mean.data, 0.5, atol=0.05)  # a step of training, as every forward pass
    assert model[0].momentum == 0.1
    assert model[1].num_batches_tracked.data == 1


def test_a_net_with_it_trains_with_any_batch_and_is_read_again(tmp_path):
    layers = [Conv2d(1, 4, 3, bias=False, rng=0), InstanceNorm2d(4, affine=True), Flatten(), Linear(64, 2, rng=1)]
    model = Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.1))
    x, y = draw((5, 1, 6, 6)), np.array([0, 1, 0, 1, 1])
    losses = [model.train_step(x[i : i + 1], y[i : i + 1]) for _ in range(20) for i in range(5)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again[1].track_running_stats is False


def test_a_file_whose_input_shape_does_not_fit_is_refused(tmp_path):
    """A norm without running statistics works without samples, so the layers can be tried."""
    model = Sequential([InstanceNorm2d(3), Flatten(), Linear(48, 2)])
    model.input_shape = (3, 2, 2)
    with pytest.raises(ValueError, match="cannot work with inputs of its input_shape"):
        model.save(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: InstanceNorm2d(0), ValueError, "num_features must be an integer of at least 1"),
        (lambda: InstanceNorm2d(2, momentum=None), ValueError, "momentum must be a number from 0 to 1"),
        (lambda: InstanceNorm2d(2, momentum=2), ValueError, "momentum must be a number from 0 to 1"),
        (lambda: InstanceNorm2d(2, eps=0), ValueError, "eps must be a number above 0"),
        (lambda: InstanceNorm2d(2, affine=1), ValueError, "affine must be True or False"),
        (
            lambda: InstanceNorm2d(2)(draw((1, 2, 1, 1))),
            ShapeError,
            r"more than 1 pixel.*\(1, 2, 1, 1\): use larger images",
        ),
        (lambda: InstanceNorm2d(2)(draw((1, 3, 4, 4))), ShapeError, "set num_features=3"),
        (lambda: InstanceNorm2d(2)(draw((2, 3, 2))), ShapeError, "a single image needs a batch axis"),
        (lambda: InstanceNorm2d(2, affine=True)(draw((1, 2, 2, 2), np.float64)), InputError, "astype"),
    ],
)
def test_errors_name_the_number_to_change(make, error, message):
    with pytest.raises(error, match=message):
        make()
