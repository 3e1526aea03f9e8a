from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnn
from cnn.core.rng import generator
from cnn.layers import Dropout, Linear


def test_manual_seed_repeats_everything_created_after_it():
    def make():
        cnn.manual_seed(5)
        return Linear(3, 4).weight.data, generator().random(3), Dropout()(np.ones((4, 4)))

    for a, b in zip(make(), make(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_gives_different_numbers_and_no_seed_gives_new_ones():
    cnn.manual_seed(0)
    a = generator().random(5)
    cnn.manual_seed(1)
    assert (generator().random(5) != a).any()
    assert (Linear(3, 4).weight.data != Linear(3, 4).weight.data).any()


def test_each_generator_has_its_own_stream():
    """However many numbers one generator draws, the numbers of the next one do not change."""
    cnn.manual_seed(0)
    generator()
    second = generator().random(3)
    cnn.manual_seed(0)
    generator().random(1000)
    np.testing.assert_array_equal(generator().random(3), second)


def test_a_generator_is_used_directly_and_an_int_is_a_seed():
    rng = np.random.default_rng(0)
    assert generator(rng) is rng
    assert generator(3).random() == np.random.default_rng(3).random() == generator(np.int64(3)).random()


def test_the_global_state_of_numpy_is_neither_read_nor_changed():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    cnn.manual_seed(0)
    a = Linear(3, 3).weight.data
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    cnn.manual_seed(0)
    np.testing.assert_array_equal(Linear(3, 3).weight.data, a)


def test_threads_never_get_the_same_stream():
    cnn.manual_seed(0)
    with ThreadPoolExecutor(4) as threads:
        draws = list(threads.map(lambda _: generator().random(), range(800)))
    assert len(set(draws)) == 800


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_a_seed_is_an_integer_of_at_least_zero(seed):
    with pytest.raises(ValueError, match="a seed must be an integer of at least 0"):
        cnn.manual_seed(seed)
    with pytest.raises(ValueError, match="a seed must be"):
        Linear(2, 2, rng=seed)
