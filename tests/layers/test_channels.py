"""ChannelSlice and ChannelShuffle."""

import numpy as np
import pytest

from cnn import Concat, Sequential
from cnn.errors import ShapeError
from cnn.kernels import backend
from cnn.layers import ChannelShuffle, ChannelSlice, Conv2d, Identity, ReLU
from tests.conformance import draw
from tests.kernels.backends import using


def split(first, second, at=8, channels=16):
    """The channels are divided among two branches."""
    return Concat([Sequential([ChannelSlice(0, at), *first]), Sequential([ChannelSlice(at, channels), *second])])


def test_a_split_is_a_concat_of_slices():
    layer, x = split([], []), draw((2, 16, 3, 4))
    np.testing.assert_array_equal(layer(x), x)
    grad = draw(x.shape, seed=1)
    np.testing.assert_array_equal(layer.backward(grad), grad)


def test_channels_that_are_not_taken_have_no_influence():
    layer, x = ChannelSlice(1, 3), draw((2, 4, 3, 2))
    y = layer(x)
    np.testing.assert_array_equal(y, x[:, 1:3])
    grad = layer.backward(y)
    np.testing.assert_array_equal(grad[:, 1:3], y)
    assert not grad[:, [0, 3]].any()
    x[:, 0] = np.nan
    np.testing.assert_array_equal(layer(x), y)


@pytest.mark.parametrize("layer", [ChannelSlice(0, 2), ChannelSlice(1, 4), ChannelShuffle(2)], ids=repr)
def test_images_stay_in_channels_last_memory(layer):
    x = draw((2, 3, 5, 4)).transpose(0, 3, 1, 2)
    y = layer(x)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert layer.backward(y).transpose(0, 2, 3, 1).flags.c_contiguous


def test_what_is_sliced_is_no_view_of_the_input():
    x = draw((2, 4))
    assert not np.shares_memory(ChannelSlice(0, 4)(x), x)


def test_a_shuffle_and_its_inverse():
    x = draw((2, 12, 2, 3))
    np.testing.assert_array_equal(ChannelShuffle(4)(ChannelShuffle(3)(x)), x)
    np.testing.assert_array_equal(ChannelShuffle(3)(x)[0, :4], x[0, [0, 4, 8, 1]])
    for same in (1, 12):
        np.testing.assert_array_equal(ChannelShuffle(same)(x), x)


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_a_unit_of_shufflenet_survives_a_file(name, tmp_path):
    """Half of the channels pass, half are convolved, and then they are mixed."""
    if name == "jit" and not backend.has_numba():
        pytest.skip("Numba is not installed")
    body = [Conv2d(8, 8, 1, rng=0), ReLU(), Conv2d(8, 8, 3, padding=1, groups=8, rng=1)]
    model, x = Sequential([split([Identity()], body), ChannelShuffle(2)]), draw((2, 16, 6, 5))
    with using(name):
        y = model(x)
        model.save(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(Sequential.load(tmp_path / "model.safetensors")(x), y)
        np.testing.assert_array_equal(y[:, ::2], x[:, :8])
        grad = model.backward(y)
    np.testing.assert_array_equal(grad[:, :8], y[:, ::2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChannelSlice(-1, 2), "start must be an integer of at least 0"),
        (lambda: ChannelSlice(2, 2), "stop=2 must be larger than start=2"),
        (lambda: ChannelSlice(0, 1.5), "stop must be an integer"),
        (lambda: ChannelShuffle(0), "groups must be an integer of at least 1"),
        (lambda: ChannelSlice(2, 5)(draw((2, 4))), r"at least 5 channels, got \(2, 4\): use stop=4 or less"),
        (lambda: ChannelSlice(0, 1)(draw((2,))), r"x\[None\]"),
        (lambda: ChannelShuffle(3)(draw((2, 4, 1, 1))), r"divisible by 3, got \(2, 4, 1, 1\): change groups"),
        (lambda: ChannelShuffle(2)(draw((4, 1, 1))), r"a single image needs a batch axis"),
    ],
)
def test_errors_name_the_number_to_change(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert isinstance(caught.value, ShapeError) == ("got (" in str(caught.value) or "axes" in str(caught.value))
