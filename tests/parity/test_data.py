"""The DataLoader against PyTorch's, and the rotation of masks and points against its grid_sample."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import TensorDataset, WeightedRandomSampler

from cnn.data import DataLoader, Rotation, SampleRNG
from cnn.data.rotation import rotate, rotate_masks


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 10])
def test_drop_last(batch_size, drop_last):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    loader = DataLoader(x, y, batch_size, shuffle=False, drop_last=drop_last)
    theirs = TorchLoader(TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size, drop_last=drop_last)
    assert len(loader) == len(theirs)
    for ours, other in zip(loader, theirs, strict=True):
        for a, b in zip(ours, other, strict=True):
            np.testing.assert_array_equal(a, b.numpy())


def test_weights_of_samples():
    weights = np.array([0.0, 1, 2, 3, 10, 0.5])
    loader = DataLoader(np.zeros((6, 1)), np.arange(6), 6, rng=0, draw_weights=weights)
    ours = sum(np.bincount(y, minlength=6) for _ in range(5000) for _, y in loader)
    sampler = WeightedRandomSampler(weights.tolist(), 30_000, generator=torch.Generator().manual_seed(0))
    theirs = np.bincount(list(sampler), minlength=6)
    assert ours.sum() == theirs.sum()
    assert ours[0] == theirs[0] == 0
    pooled = (ours + theirs)[1:]
    chi2 = ((ours - theirs)[1:] ** 2 / pooled).sum()
    assert chi2 < 18.5  # of 4 degrees of freedom, exceeded by chance once in 1,000 times


@pytest.mark.parametrize("size", [(9, 9), (8, 13), (1, 6)])
@pytest.mark.parametrize("degrees", [10, 90, 180])
def test_rotation_of_masks_and_images(size, degrees):
    n, (h, w) = 40, size
    rng = np.random.default_rng(0)
    angle = np.radians(rng.uniform(-degrees, degrees, n))
    masks, images = rng.integers(1, 200, (n, 2, h, w)), rng.random((n, 2, h, w))
    row, column = (grid - (side - 1) / 2 for grid, side in zip(np.mgrid[:h, :w], (h, w), strict=True))
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    from_row, from_column = row * cos + column * sin, column * cos - row * sin
    grid = torch.tensor(np.stack([2 * from_column / w, 2 * from_row / h], axis=-1))
    settings = {"padding_mode": "zeros", "align_corners": False}
    expected = functional.grid_sample(torch.tensor(images), grid, mode="bilinear", **settings).numpy()
    np.testing.assert_allclose(rotate(images, angle, math.radians(degrees)), expected, atol=1e-12)
    np.testing.assert_allclose(rotate_masks(images, angle, math.radians(degrees), 0), expected, atol=1e-12)
    expected = functional.grid_sample(torch.tensor(masks.astype(float)), grid, mode="nearest", **settings).numpy()
    found = rotate_masks(masks, angle, math.radians(degrees), 0)
    assert (found != expected).mean() < 1e-3  # the middle between two pixels, by rounding
    assert found.dtype == masks.dtype


def test_rotation_of_points():
    n, h, w = 30, 11, 8
    points = np.random.default_rng(0).uniform(0, 7, (n, 5, 2))
    transform = Rotation(170)
    moved = transform.move_points(points, (h, w), SampleRNG(0, 1, np.arange(n)))
    angle = transform._angle(SampleRNG(0, 1, np.arange(n)))
    centre = (w - 1) / 2 + 1j * (h - 1) / 2
    turned = (points[..., 0] + 1j * points[..., 1] - centre) * np.exp(-1j * angle)[:, None] + centre
    np.testing.assert_allclose(moved[..., 0] + 1j * moved[..., 1], turned, atol=1e-12)
