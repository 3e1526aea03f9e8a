"""The real Fashion-MNIST; .ci/run installs the Debian package that contains it."""

import numpy as np
import pytest

from cnn.data import FASHION_MNIST, DataError, fashion_mnist, load_dataset, mnist

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("CNN_OFFLINE", "1")


def test_the_published_arrays():
    x_train, y_train, x_test, y_test = fashion_mnist()
    assert (x_train.shape, x_train.dtype) == ((60_000, 1, 28, 28), np.uint8)
    assert (x_test.shape, x_test.dtype) == ((10_000, 1, 28, 28), np.uint8)
    assert (y_train.shape, y_train.dtype) == ((60_000,), np.int64)
    assert (y_test.shape, y_test.dtype) == ((10_000,), np.int64)
    np.testing.assert_array_equal(np.bincount(y_train), [6_000] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [1_000] * 10)
    assert [FASHION_MNIST.class_names[label] for label in y_train[:4]] == [
        "Ankle boot",
        "T-shirt/top",
        "T-shirt/top",
        "Dress",
    ]
    # The mean and the standard deviation that PyTorch users use for normalisation.
    assert x_train.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert x_train.std() / 255 == pytest.approx(0.3530, abs=1e-4)


def test_it_is_not_mistaken_for_mnist():
    folder = load_dataset(FASHION_MNIST).folder
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.* is not the published file"):
        mnist(folder)
