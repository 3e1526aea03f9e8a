"""Convolution and pooling as loops over single numbers: too slow for practical use, too simple to be wrong."""

import numpy as np


def span(size, dilation):
    return dilation * (size - 1) + 1


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Every output pixel, every window pixel, one product at a time."""
    (n, _, h, w), (k, _, kh, kw) = x.shape, weight.shape
    oh = (h + 2 * padding[0] - span(kh, dilation[0])) // stride[0] + 1
    ow = (w + 2 * padding[1] - span(kw, dilation[1])) // stride[1] + 1
    y = np.zeros((n, k, oh, ow))
    for output, terms in products(x.shape, weight.shape, y.shape, stride, padding, dilation, groups):
        y[output] = sum(x[pixel] * weight[w] for pixel, w in terms) + (0 if bias is None else bias[output[1]])
    return y


def conv2d_grads(grad, x, weight, stride, padding, dilation, groups):
    """The product rule, one product at a time: gradients of x, weight and bias."""
    grad_x, grad_weight = np.zeros(x.shape), np.zeros(weight.shape)
    for output, terms in products(x.shape, weight.shape, grad.shape, stride, padding, dilation, groups):
        for pixel, w in terms:
            grad_x[pixel] += grad[output] * weight[w]
            grad_weight[w] += grad[output] * x[pixel]
    return grad_x, grad_weight, grad.sum(axis=(0, 2, 3))


def products(x_shape, weight_shape, y_shape, stride, padding, dilation, groups):
    """Yield the index of each output element, and the index pairs (input element, weight) whose products it sums."""
    (_, _, h, w), (k, c, kh, kw) = x_shape, weight_shape
    for n, o, i, j in np.ndindex(y_shape):
        first = o // (k // groups) * c  # the first channel of this output's group
        terms = []
        for channel, u, v in np.ndindex(c, kh, kw):
            row = i * stride[0] + u * dilation[0] - padding[0]
            column = j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= row < h and 0 <= column < w:
                terms.append(((n, first + channel, row, column), (o, channel, u, v)))
        yield (n, o, i, j), terms


def maxpool2d(x, kernel_size, stride, padding, dilation, ceil_mode):
    """Return the maxima, and for each its index in the image; the first of equal values, NaN above all."""
    all_starts = []
    for axis in (0, 1):
        pixels, starts = x.shape[2 + axis], [-padding[axis]]
        window = span(kernel_size[axis], dilation[axis])
        while True:
            start = starts[-1] + stride[axis]
            fits = start + window <= pixels + padding[axis]
            leftover = ceil_mode and start < pixels and starts[-1] + window < pixels + padding[axis]
            if not (fits or leftover):
                break
            starts.append(start)
        all_starts.append(starts)
    y = np.full((*x.shape[:2], len(all_starts[0]), len(all_starts[1])), -np.inf)
    where = {}
    for n, c, i, j in np.ndindex(y.shape):
        for u, v in np.ndindex(kernel_size):
            row, column = all_starts[0][i] + u * dilation[0], all_starts[1][j] + v * dilation[1]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                value = x[n, c, row, column]
                if (n, c, i, j) not in where or value > y[n, c, i, j] or np.isnan(value):
                    y[n, c, i, j], where[n, c, i, j] = value, (n, c, row, column)
    return y, where


def maxpool2d_input_grad(grad, where, shape):
    """Each gradient goes to the pixel of its maximum."""
    grad_x = np.zeros(shape)
    for output, pixel in where.items():
        grad_x[pixel] += grad[output]
    return grad_x
