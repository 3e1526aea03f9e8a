"""Padding of four different sides, and "same" with a stride, against PyTorch's layers on images that were padded."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import layers
from tests.parity.oracle import DTYPES, Tally, compare_layers, give_weights

pixels = st.integers(1, 9)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def same(shape, size, stride, dilation):
    """The sides that TensorFlow's "same" pads: as many as the windows need, the extra one at the end."""
    found = []
    for n, k, s, d in zip(shape[2:], size, stride, dilation, strict=True):
        total = max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
        found.append((total // 2, total - total // 2))
    return tuple(found)


def padded(kind, sides, value=0.0, exclude=False):
    """A layer of PyTorch that pads its input first; with ``exclude`` a mean without the padding."""
    (top, bottom), (left, right) = sides

    class Padded(kind):
        def forward(self, x):
            y = super().forward(torch.nn.functional.pad(x, (left, right, top, bottom), value=value))
            return (
                y / super().forward(torch.nn.functional.pad(torch.ones_like(x), (left, right, top, bottom)))
                if exclude
                else y
            )

    return Padded


@st.composite
def windows(draw, most=3):
    """Draw a window, its stride and dilation, padding for our layer, and an image's shape."""
    size, stride, dilation = draw(pairs(1, 4)), draw(pairs(1, 4)), draw(pairs(1, 2))
    if most is None:  # a pool
        dilation = (1, 1)
        padding = st.tuples(*(pairs(0, k - 1) for k in size))
    else:
        padding = st.tuples(pairs(0, most), pairs(0, most))
    shape = (draw(st.integers(1, 2)), 2, draw(pixels), draw(pixels))
    given_padding = draw(st.just("same") | padding)
    sides = same(shape, size, stride, dilation) if given_padding == "same" else given_padding
    return size, stride, dilation, given_padding, sides, shape


def fits(size, dilation, sides, shape):
    return all(n + sum(p) >= d * (k - 1) + 1 for n, k, d, p in zip(shape[2:], size, dilation, sides, strict=True))


def test_conv2d():
    tally = Tally()

    @settings(max_examples=250)
    @given(windows(), st.sampled_from([1, 2]), st.booleans())
    def run(drawn, groups, bias):
        size, stride, dilation, padding, sides, shape = drawn
        if not fits(size, dilation, sides, shape):
            return
        arguments = {"kernel_size": size, "stride": stride, "dilation": dilation, "groups": groups, "bias": bias}
        for dtype in DTYPES:
            ours = layers.Conv2d(2, 4, padding=padding, **arguments, rng=0).to(dtype)
            theirs = padded(torch.nn.Conv2d, sides)(2, 4, **arguments)
            give_weights(ours, theirs)
            compare_layers(tally, ours, theirs, np.random.default_rng(0).normal(size=shape).astype(dtype))
        tally.seen.add((*drawn, groups, bias))

    run()
    tally.report(at_least=120)


def test_pools():
    tally = Tally()

    @settings(max_examples=300)
    @given(windows(most=None), st.sampled_from(["max", "avg", "avg without padding"]))
    def run(drawn, kind):
        size, stride, _, padding, sides, shape = drawn
        if not fits(size, (1, 1), sides, shape):
            return
        arguments = {"kernel_size": size, "stride": stride}
        for dtype in DTYPES:
            if kind == "max":
                ours = layers.MaxPool2d(padding=padding, **arguments)
                theirs = padded(torch.nn.MaxPool2d, sides, -math.inf)(**arguments)
            else:
                exclude = kind != "avg"
                ours = layers.AvgPool2d(padding=padding, **arguments, count_include_pad=not exclude)
                theirs = padded(torch.nn.AvgPool2d, sides, exclude=exclude)(**arguments)
            compare_layers(tally, ours, theirs, np.random.default_rng(0).normal(size=shape).astype(dtype))
        tally.seen.add((*drawn, kind))

    run()
    tally.report(at_least=150)


def test_conv_transpose2d():
    tally = Tally()

    class Cropped(torch.nn.ConvTranspose2d):
        def forward(self, x):
            y = super().forward(x)
            (top, bottom), (left, right) = self.sides
            return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]

    @settings(max_examples=150)
    @given(windows(most=2), st.booleans())
    def run(drawn, bias):
        size, stride, dilation, padding, sides, shape = drawn
        full = [s * (n - 1) + d * (k - 1) + 1 for s, n, d, k in zip(stride, shape[2:], dilation, size, strict=True)]
        if padding == "same" or any(n <= sum(p) for n, p in zip(full, sides, strict=True)):
            return
        arguments = {"kernel_size": size, "stride": stride, "dilation": dilation, "bias": bias}
        for dtype in DTYPES:
            ours = layers.ConvTranspose2d(2, 4, padding=padding, **arguments, rng=0).to(dtype)
            theirs = Cropped(2, 4, **arguments)
            theirs.sides = sides
            give_weights(ours, theirs)
            compare_layers(tally, ours, theirs, np.random.default_rng(0).normal(size=shape).astype(dtype))
        tally.seen.add((*drawn, bias))

    run()
    tally.report(at_least=50)
