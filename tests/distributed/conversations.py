"""What ranks tell each other, asserted in each of them; test_ranks.py runs it under mpiexec."""

import numpy as np
import pytest

import cnn
from cnn import Parameter, Sequential
from cnn.layers import BatchNorm1d, Linear, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam


def parts(ranks):
    """Parts: together they are the whole, in order, and none is larger than another by more than one."""
    for samples in range(9):
        taken = ranks.gather([ranks.part(samples).start, ranks.part(samples).stop])
        assert taken[0, 0] == 0
        assert taken[-1, 1] == samples
        assert (taken[1:, 0] == taken[:-1, 1]).all()
        assert np.ptp(taken[:, 1] - taken[:, 0]) <= 1


def sums(ranks):
    """Sums."""
    rank, size = ranks.rank, ranks.size
    assert (ranks.add([1, 0.5]) == [size, size / 2]).all()
    assert ranks.agree(rank == size - 1)
    assert not ranks.agree(False)


def what_rank_0_tells(ranks):
    """What rank 0 tells the others."""
    rank, size = ranks.rank, ranks.size
    array = np.arange(6, dtype=np.int16).reshape(2, 3) if rank == 0 else None
    got = ranks.broadcast(array)
    assert got.dtype == np.int16
    assert (got == [[0, 1, 2], [3, 4, 5]]).all()
    assert ranks.broadcast(np.int64(7 + rank)).shape == ()
    assert ranks.broadcast(np.array(["é"])).tolist() == ["é"]
    assert ranks.broadcast(np.zeros((0, 2))).shape == (0, 2)
    assert ranks.broadcast_arrays({}) == {}
    mixed = ranks.broadcast_arrays({"short": np.ones(3, bool), "long": np.arange(4.0)[::-1], "none": np.zeros(0)})
    assert mixed["long"].flags.aligned
    assert mixed["long"].tolist() == [3, 2, 1, 0]
    assert mixed["short"].all()
    assert mixed["none"].shape == (0,)
    assert ranks.broadcast_json({"a": [1, None, "ü"], "rank": rank}) == {"a": [1, None, "ü"], "rank": 0}
    assert ranks.gather_json("r" * rank) == ["r" * other for other in range(size)]
    if rank == 0:
        with pytest.raises(TypeError, match="array is an array of object"):
            ranks.broadcast(np.array([{}]))


def waits_without_a_limit(ranks):
    """Waits without a limit: all come, and what is said there is apart from other conversations."""
    apart = ranks.without_limit()
    apart.meet()
    assert apart.broadcast_json({"rank": ranks.rank}) == {"rank": 0}
    assert ranks.all_have_left() == (ranks.size == 1)  # none has begun a training


def gradients(ranks):
    """Gradients: a mean of means with the right weights; one that only some have; one that none has; frozen; two dtypes."""
    rank, size = ranks.rank, ranks.size
    everywhere, some, none = Parameter(np.zeros((2, 2))), Parameter(np.zeros(3)), Parameter(np.zeros(1))
    single, frozen = Parameter(np.zeros(2, np.float32)), Parameter(np.zeros(2))
    frozen.requires_grad = False
    everywhere.grad = np.full((2, 2), float(rank))
    single.grad = np.ones(2, np.float32)
    some.grad = np.ones(3) if rank == 0 else None
    ranks.add_up([everywhere, some, none, single, frozen], count=rank + 1)
    counts = np.arange(1, size + 1)
    np.testing.assert_allclose(everywhere.grad, np.full((2, 2), counts @ np.arange(size) / counts.sum()), rtol=1e-15)
    np.testing.assert_allclose(some.grad, np.full(3, 1 / counts.sum()), rtol=1e-15)
    assert none.grad is None
    assert frozen.grad is None
    assert single.grad.dtype == np.float32
    np.testing.assert_allclose(single.grad, 1, rtol=1e-6)
    single.grad = np.ones(2, np.float32)
    ranks.add_up([single])
    assert (single.grad == size).all()
    before = single.grad
    ranks.add_up([single], count=0)
    assert (single.grad == 0).all()
    assert (before == size).all()  # a gradient that somebody keeps stays as it was


def weights_and_buffers(ranks):
    """Weights and buffers."""
    rank, size = ranks.rank, ranks.size
    model = Sequential([Linear(2, 3), BatchNorm1d(3)])  # other random numbers in each process
    ranks.broadcast_weights(model)
    ranks.check_equal(model)
    if size > 1:
        model[1].running_mean.data[2] += 1e-7 * (rank == size - 1)
        with pytest.raises(RuntimeError, match=rf"1\.running_mean of rank {size - 1} is not that of rank 0"):
            ranks.check_equal(model)


def loop_written_by_hand(ranks):
    """A loop written by hand, in the way of the docs: an uneven last batch, and one that is smaller than the ranks."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(17, 4)), rng.integers(0, 3, 17)

    def trained(alone):
        net = Sequential(
            [Linear(4, 5, rng=0), ReLU(), Linear(5, 3, rng=1)], CrossEntropyLoss(from_logits=True), Adam(lr=0.01)
        )
        net.to(np.float64)
        for start in (0, 8, 16):
            part_x, part_y = batch = x[start : start + 8], y[start : start + 8]
            if not alone:
                part_x, part_y = ranks.shard(batch)
            if len(part_x):
                net.loss_and_grad(part_x, part_y)
            if not alone:
                ranks.add_up(net.parameters(), len(part_x))
            net.optimizer.step()
            net.zero_grad()
        return net

    one, shared = trained(alone=True), trained(alone=False)
    ranks.check_equal(shared)
    for name, values in one.state_dict().items():
        np.testing.assert_allclose(shared.state_dict()[name], values, rtol=0, atol=1e-12)


def main():
    ranks = cnn.distributed.world()
    assert cnn.distributed.world() is ranks
    assert cnn.get_num_threads() == 1 or ranks.size == 1
    ranks.stall_seconds = 60
    parts(ranks)
    sums(ranks)
    what_rank_0_tells(ranks)
    waits_without_a_limit(ranks)
    gradients(ranks)
    weights_and_buffers(ranks)
    loop_written_by_hand(ranks)
    print(f"rank {ranks.rank} has come to the end")


if __name__ == "__main__":
    main()
