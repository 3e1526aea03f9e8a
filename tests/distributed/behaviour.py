"""What holds in each rank of a training, asserted in all of them; test_training.py runs it under mpiexec."""

import copy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import cnn
from cnn import Sequential
from cnn.errors import InputError, ShapeError
from cnn.functional import shared_batch
from cnn.kernels import active, use
from cnn.layers import BatchNorm1d, Dropout, InstanceNorm2d, Linear
from cnn.layers.batchnorm import batchnorm_grad
from cnn.loss import CrossEntropyLoss
from cnn.loss.weighted import SampleWeighted
from cnn.optim import SGD
from cnn.training import Checkpoint, CSVLog, EarlyStopping, Health, train
from cnn.training.health import TrainingWarning
from cnn.training.shared_step import Part
from tests.distributed.cases import IMAGES, LABELS, LOGITS, OneByOne, X, Y, cnn_with_norms, mlp, trained


def same_everywhere(ranks, text):
    return len(set(ranks.gather_json(text))) == 1


def what_cannot_be_shared_is_refused(ranks):
    class Own(Sequential):
        def loss_and_grad(self, x, y, loss_func=None):
            return super().loss_and_grad(x, y, loss_func)

    with pytest.raises(InputError, match=r"Own\.loss_and_grad is your own"):
        trained(Own([Linear(5, 3)], LOGITS, SGD()).to(np.float64), ranks=ranks)
    model = cnn_with_norms()
    model = Sequential([InstanceNorm2d(2, track_running_stats=True), *model.layers], LOGITS, SGD()).to(np.float64)
    with pytest.raises(InputError, match=r"layer 0, InstanceNorm2d.* has running statistics"):
        trained(model, IMAGES, LABELS, ranks)
    with pytest.raises(InputError, match="needs 2 samples or more for each of 2 processes, but a batch has 2"):
        trained(mlp(middle=(BatchNorm1d(7),)), ranks=ranks, sync_batchnorm=False)


def what_differs_is_refused(ranks):
    other = ranks.rank == 1
    for what, settings in (
        ("training data than rank 0: other values in the samples", {"x": X + other}),
        ("training data than rank 0: 26 samples in rank 0, 25 here", {"x": X[other:], "y": Y[other:]}),
        ("validation data", {"validation_data": (X, Y)} if other else {}),
        (
            r"model than rank 0: Dropout\(p=0.1\) in rank 0, Dropout\(p=0.2\) here",
            {"model": mlp(middle=(Dropout(0.1 + 0.1 * other),))},
        ),
        ("loss", {"model": mlp(CrossEntropyLoss(from_logits=True, label_smoothing=0.1 * other))}),
        ("epochs than rank 0: 2 in rank 0, 3 here", {"epochs": 2 + other}),
        ("loader", {"batch_size": 8 + other}),
        ("callbacks", {"callbacks": [EarlyStopping(2 + other, "train_loss")]}),
        ("clip_norm", {"clip_norm": 1.0 + other}),
        ("sync_batchnorm", {"sync_batchnorm": other}),
    ):
        model = settings.pop("model", None) or mlp()
        with pytest.raises(InputError, match=f"^rank 1 has another {what}"):
            trained(model, ranks=ranks, **settings)


def layers_are_as_before_after_an_error(ranks):
    model = mlp(middle=(BatchNorm1d(7), Dropout(0.5)))

    def names():
        return [[n for n in vars(layer) if n[0] != "_" and n != "needs_input_grad"] for layer in model]

    before = names()
    wrong = np.full(26, 7)
    loader = cnn.data.DataLoader(X, wrong, batch_size=8)
    with pytest.raises(InputError, match="7"):
        trained(model, loader, None, ranks)
    assert names() == before
    assert type(model[2].rng) is np.random.Generator
    trained(model, ranks=ranks)
    assert type(model[2].rng) is np.random.Generator
    assert model[1].ranks is None


def a_weighted_loss_without_weights_is_refused(ranks):
    model = OneByOne().to(np.float64)
    model.loss_func = SampleWeighted(LOGITS)
    with pytest.raises(ShapeError, match="sample_weight must hold a number for each of 4 predictions"):
        list(train(model, X[:8], Y[:8], ranks=ranks))


def a_loss_that_is_not_finite_ends_all(ranks):
    model = mlp(optimizer=SGD(lr=1e200))
    with pytest.raises(FloatingPointError, match=r"Try a smaller learning rate") as caught:
        trained(model, ranks=ranks)
    assert same_everywhere(ranks, str(caught.value))
    ranks.check_equal(model)


def a_sample_that_is_not_finite_is_named(ranks):
    wrong = X.copy()
    wrong[25, 0] = np.nan  # it is in the part of one rank only
    for settings in ({"x": wrong}, {"validation_data": cnn.data.DataLoader(wrong, Y)}):
        x = cnn.data.DataLoader(settings.pop("x", X), Y, batch_size=8)
        with pytest.raises(InputError, match=r"x\[25\] of the DataLoader is NaN or infinite") as caught:
            trained(mlp(), x, None, ranks, **settings)
        assert same_everywhere(ranks, str(caught.value))


def weights_that_differ_are_found(ranks):
    ranks.check_weights = True

    def spoil(step):
        if ranks.rank == 1:
            step.model[0].bias.data[0] += 1e-9

    with pytest.raises(RuntimeError, match=r"0\.bias of rank 1 is not that of rank 0"):
        trained(mlp(), ranks=ranks, callbacks=[spoil])
    ranks.check_weights = False


def random_numbers_of_one_rank_alone_are_found(ranks):
    ranks.check_weights = True

    def draw(step):
        if ranks.rank == 1:
            step.model.loss_and_grad(X, Y)
            step.model.zero_grad()

    with pytest.raises(RuntimeError, match=r"1\.rng of rank 1 is not in the state of that of rank 0"):
        trained(mlp(middle=(Dropout(0.5),)), ranks=ranks, callbacks=[draw])
    ranks.check_weights = False


def a_callback_may_work_in_one_rank_alone(ranks):
    """Between two steps the model is an ordinary one."""

    def look(step):
        if ranks.rank == 0:
            step.model.evaluate(X, Y)
            again = copy.deepcopy(step.model)
            again.loss_and_grad(X, Y)

    trained(mlp(middle=(BatchNorm1d(7, track_running_stats=False), Dropout(0.5))), ranks=ranks, callbacks=[look])


def blas_has_one_thread_in_the_whole_step(ranks):
    found = []

    class Watched(SGD):
        def step(self):
            found.append({lib["filepath"]: lib["num_threads"] for lib in threadpoolctl.threadpool_info()})
            super().step()

    with threadpoolctl.threadpool_limits(2, "blas"):
        for each in (None, ranks):
            list(train(mlp(optimizer=Watched(lr=0.1)), X, Y, epochs=1, ranks=each))
    assert found[0] == found[-1]


def rank_0_alone_writes(ranks, folder):
    own = folder / f"rank {ranks.rank}"
    own.mkdir()
    health = Health(X * 100, Y)
    callbacks = [Checkpoint(own / "checkpoints"), CSVLog(own / "log.csv"), health, EarlyStopping(5, "train_loss")]
    if ranks.rank:
        del callbacks[:2]  # nor need the others have them
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(mlp(), X * 100, Y, ranks, callbacks=callbacks, verbose_freq=1)
    told = sum(issubclass(warning.category, TrainingWarning) for warning in caught)
    assert (told > 0) == (ranks.rank == 0)
    ranks.add([0])
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    ranks.add([0])  # before any other is written
    assert "rank 0/log.csv" in written
    assert any(path.startswith("rank 0/checkpoints/step-") for path in written)
    assert all(path.startswith("rank 0/") for path in written)


def a_break_in_all_ranks_writes_a_checkpoint(ranks, folder):
    steps = train(mlp(), X, Y, batch_size=8, ranks=ranks, callbacks=[Checkpoint(folder / "left")])
    for step in steps:
        if ranks.agree(step.step == 2 and ranks.rank == 1):
            break
    steps.close()
    ranks.add([0])
    assert sorted(path.name for path in (folder / "left").glob("step-*"))[-1] == "step-00000002.safetensors"


def other_ways_to_compute_send_the_same_sums(ranks):
    """Compiled functions leave numbers that are not finite to plain ones, and each rank has its own numbers."""
    rng = np.random.default_rng(0)
    x, grad = rng.normal(size=(2, 5, 3, 4, 4)).astype(np.float32)
    grad[4, 0, 0, 0] = np.inf  # in the last rank, and of channel 0
    weight = np.array([1, 2, 3], np.float32)
    part, sent = Part(mlp(), ranks, 5, sync=True), []
    part.add = lambda numbers: sent.append(("add", len(numbers))) or ranks.add(numbers)
    part.gather = lambda numbers: sent.append(("gather", len(numbers))) or ranks.gather(numbers)
    mean, var, _ = shared_batch.batch_moments(x[part.rows], part)
    own = x[part.rows], mean, var, 1e-5
    with np.errstate(invalid="ignore"):
        found = shared_batch.batchnorm_grad(grad[part.rows], *own, weight, part)[0]
        whole = batchnorm_grad(grad, x, mean, var, 1e-5, weight, True)[0][part.rows]
    np.testing.assert_allclose(found[:, 1:], whole[:, 1:], rtol=0, atol=1e-5)
    assert not np.isfinite(found[:, 0]).any()
    assert sent == [("gather", 7), ("add", 7)]

    before, ends = active(), {}
    for backend in ("reference", before):  # rank 1 with another backend than rank 0, and as rank 0
        use(backend if ranks.rank else before)
        ends[backend] = trained(cnn_with_norms(dtype=np.float32), IMAGES, LABELS, ranks, batch_size=5)
    for name, values in ends[before].items():
        np.testing.assert_allclose(ends["reference"][name], values, rtol=0, atol=1e-4, err_msg=name)


def local_statistics_are_those_of_rank_0(ranks):
    model, synced = mlp(middle=(BatchNorm1d(7),)), mlp(middle=(BatchNorm1d(7),))
    trained(model, ranks=ranks, sync_batchnorm=False, drop_last=True)
    trained(synced, ranks=ranks, drop_last=True)
    ranks.check_equal(model)
    assert 1e-6 < np.abs(model[0].weight.data - synced[0].weight.data).max() < 1
    assert 1e-6 < np.abs(model[1].running_mean.data - synced[1].running_mean.data).max() < 1


def other_draws_are_refused(ranks):
    class Noise(cnn.Module):
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def forward(self, x):
            if not self.training:
                return x
            self.kinds = [
                self.rng.normal(0, 1, x.shape),
                self.rng.uniform(size=x.shape),
                self.rng.standard_normal(x.shape),
            ]
            self.kinds += [self.rng.integers(0, 9, x.shape), self.rng.binomial(1, 0.5, len(x)), self.rng.random()]
            self.kinds += [self.rng.normal(size=(7,))]
            if self.wrong:
                self.rng.shuffle(np.arange(3))
            return x

        def backward(self, grad):
            return grad

    whole, part = Noise(), Noise()
    whole.wrong = part.wrong = False
    model = mlp(middle=(part,))
    trained(model, X[:8], Y[:8], ranks, epochs=1)
    kinds = part.kinds
    whole(np.zeros((8, 7)))
    for mine, theirs in zip(kinds[:5], whole.kinds, strict=False):
        np.testing.assert_array_equal(mine, theirs[ranks.part(8)])
    for mine, theirs in zip(kinds[5:], whole.kinds[5:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    part.wrong = True
    with pytest.raises(AttributeError, match=r"can draw with random, .*, but not with shuffle"):
        trained(model, ranks=ranks)


def main():
    folder = Path(sys.argv[1])
    ranks = cnn.distributed.world()
    ranks.stall_seconds = 60
    what_cannot_be_shared_is_refused(ranks)
    what_differs_is_refused(ranks)
    layers_are_as_before_after_an_error(ranks)
    a_weighted_loss_without_weights_is_refused(ranks)
    a_loss_that_is_not_finite_ends_all(ranks)
    a_sample_that_is_not_finite_is_named(ranks)
    weights_that_differ_are_found(ranks)
    random_numbers_of_one_rank_alone_are_found(ranks)
    a_callback_may_work_in_one_rank_alone(ranks)
    blas_has_one_thread_in_the_whole_step(ranks)
    rank_0_alone_writes(ranks, folder)
    a_break_in_all_ranks_writes_a_checkpoint(ranks, folder)
    other_ways_to_compute_send_the_same_sums(ranks)
    local_statistics_are_those_of_rank_0(ranks)
    other_draws_are_refused(ranks)
    sys.stdout.write(f"rank {ranks.rank} has come to the end\n")


if __name__ == "__main__":
    main()
