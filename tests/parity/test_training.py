"""With the same weights, batches and Adam as in PyTorch, the losses of the reference net are the same."""

import numpy as np
import pytest
import torch
from torch import nn

from cnn import Sequential, kernels
from cnn.data import DataLoader
from cnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD, Adam, WeightAverage, update_bn
from cnn.utils.gradcheck import difference
from cnn.zoo import small_cnn
from tests.parity.oracle import give_weights, tensor


class Images:
    """28 x 28 images of ten coarse shapes on black with strong noise; one label in ten is wrong.

    So there is something to learn, no file is needed, and the loss stays far from zero over all 200 steps.
    """

    def __init__(self, rng):
        self.rng = rng
        self.shapes = rng.normal(size=(10, 1, 7, 7)).repeat(4, axis=2).repeat(4, axis=3)

    def draw(self, count):
        labels = self.rng.integers(0, 10, count)
        x = np.maximum(0, self.shapes[labels] + 1.5 * self.rng.normal(size=(count, 1, 28, 28)))
        wrong = self.rng.random(count) < 0.1
        return x, np.where(wrong, self.rng.integers(0, 10, count), labels)


def torch_net():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Dropout(0),
        nn.Linear(128, 10),
    )


def train_both(steps, dtype, batch=16, lr=1e-3, seed=0):
    """Return the losses of every step, ours and PyTorch's."""
    images = Images(np.random.default_rng(seed))
    layers = small_cnn().to(dtype).layers
    next(layer for layer in layers if isinstance(layer, Dropout)).p = 0.0
    ours = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam(lr=lr))
    theirs = torch_net()
    give_weights(ours, theirs)
    adam, loss_func = torch.optim.Adam(theirs.parameters(), lr=lr), nn.CrossEntropyLoss()
    our_losses, their_losses = [], []
    for _ in range(steps):
        x, y = images.draw(batch)
        x = x.astype(dtype)
        our_losses.append(ours.train_step(x, y))
        adam.zero_grad()
        loss = loss_func(theirs(tensor(x)), tensor(y))
        loss.backward()
        adam.step()
        their_losses.append(loss.item())
    return np.array(our_losses), np.array(their_losses)


def test_200_steps_in_float64():
    ours, theirs = train_both(200, np.float64)
    print(f"largest difference of the losses: {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() <= 1e-8
    assert 0.2 < ours[-20:].mean() < 1.5 < 2 < ours[0]  # it did learn, and there is still something to compare


@pytest.mark.parametrize("backend", ["reference", "array", "jit"])
def test_20_steps_in_float32(backend):
    """An activation within a rounding error of zero may be active in one library and not in the other, and Adam's first
    step of that unit's weights is the full learning rate however small the gradient: from there the losses diverge, by
    up to 1e-2. That happens by chance in about one of five runs, also with the plain NumPy of the layer files, and never
    in float64. So there are seven runs, and the tolerance must hold for at least three; a kernel error would show in all.
    """
    if backend == "jit" and not kernels.backend.has_numba():
        pytest.skip("Numba is not installed")
    before = kernels.active()
    kernels.use(backend)
    try:
        losses = [train_both(20, np.float32, seed=seed) for seed in range(7)]
    finally:
        kernels.use(before)
    differences = sorted(np.abs(ours - theirs).max() for ours, theirs in losses)
    print("largest difference of the losses:", " ".join(f"{difference:.1e}" for difference in differences))
    assert differences[2] <= 1e-4


def theirs_like(ours, *layers):
    theirs = nn.Sequential(*layers)
    give_weights(ours, theirs)
    return theirs


@pytest.mark.parametrize("clip_norm", [0.05, 1.0, 100.0])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_clip_norm_of_fit_is_clip_grad_norm(kind, clip_norm):
    """The whole training, with a last batch that is smaller, in float64."""
    rng = np.random.default_rng(0)
    x, y = 3 * rng.normal(size=(50, 8)), rng.integers(0, 3, 50)
    ours = Sequential([Linear(8, 16, rng=0), ReLU(), Linear(16, 3, rng=1), Softmax()], loss_func=CrossEntropyLoss())
    ours.to(np.float64)
    theirs = theirs_like(ours, nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    settings = {"lr": 0.1, "momentum": 0.9} if kind == "SGD" else {"lr": 0.01}
    ours.optimizer = {"SGD": SGD, "Adam": Adam}[kind](**settings)
    optimizer = getattr(torch.optim, kind)(theirs.parameters(), **settings)
    ours.fit(x, y, epochs=4, batch_size=16, rng=0, verbose_freq=0, clip_norm=clip_norm)
    norms = []
    loader = DataLoader(x, y, batch_size=16, rng=0)
    for _ in range(4):
        for batch, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(theirs(tensor(batch)), tensor(labels)).backward()
            norms.append(torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm).item())
            optimizer.step()
    assert (max(norms) > clip_norm) == (clip_norm < 100)
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert difference(parameter.data, other.detach().numpy()) <= 1e-10


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("backend", ["reference", "array", "jit"])
@pytest.mark.parametrize("with_targets", [True, False])
def test_update_bn_measures_the_running_statistics_of_averaged_weights(with_targets, backend, dtype):
    rng = np.random.default_rng(0)
    batches = [(2 + rng.normal(size=(n, 3, 8, 8)).astype(dtype), rng.integers(0, 2, n)) for n in (8, 8, 5)]
    layers = [Conv2d(3, 4, 3, bias=False, rng=0), BatchNorm2d(4, momentum=0.3), ReLU(), Flatten()]
    layers += [Linear(144, 6, bias=False, rng=1), BatchNorm1d(6, affine=False), Linear(6, 2, rng=2)]
    ours = Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=SGD(lr=0.1)).to(dtype)
    before = kernels.active()
    kernels.use(backend)
    try:
        average = WeightAverage(ours, decay=0.5)
        for x, y in batches:
            ours.train_step(x, y)
            average.update()
        ours.eval()
        with average.applied():
            theirs = theirs_like(
                ours,
                *(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(), nn.Flatten()),
                *(nn.Linear(144, 6, bias=False), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2)),
            ).eval()
            stale = ours.state_dict()
            update_bn(batches if with_targets else (x for x, _ in batches), ours)
            torch.optim.swa_utils.update_bn([tensor(x) for x, _ in batches], theirs)
            state = ours.state_dict()
            expected = theirs.state_dict()
            assert list(state) == list(expected)
            for name, values in state.items():
                assert difference(values, expected[name].numpy()) <= (1e-10 if dtype == np.float64 else 3e-5), name
                changes = "running" in name or "tracked" in name
                assert changes != np.array_equal(values, stale[name]) or name.endswith("tracked")
            assert (
                [norm.momentum for norm in (ours[1], ours[5])] == [theirs[1].momentum, theirs[5].momentum] == [0.3, 0.1]
            )
            assert not any(module.training for module in ours.modules())
            x = batches[0][0]
            assert difference(ours(x), theirs(tensor(x)).detach().numpy()) <= (1e-10 if dtype == np.float64 else 3e-5)
    finally:
        kernels.use(before)
