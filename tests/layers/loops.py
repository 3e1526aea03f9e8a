"""Convolution and pooling as loops over single numbers: too slow to use, too simple to be wrong."""

import numpy as np


def span(size, dilation):
    return dilation * (size - 1) + 1


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Every output pixel, every window pixel, one product at a time."""
    (n, _, h, w), (k, _, kh, kw) = x.shape, weight.shape
    oh = (h + 2 * padding[0] - span(kh, dilation[0])) // stride[0] + 1
    ow = (w + 2 * padding[1] - span(kw, dilation[1])) // stride[1] + 1
    y = np.zeros((n, k, oh, ow))
    for place, terms in products(x.shape, weight.shape, y.shape, stride, padding, dilation, groups):
        y[place] = sum(x[seen] * weight[used] for seen, used in terms) + (0 if bias is None else bias[place[1]])
    return y


def conv2d_grads(grad, x, weight, stride, padding, dilation, groups):
    """The product rule, one product at a time: gradients of x, weight and bias."""
    grad_x, grad_weight = np.zeros(x.shape), np.zeros(weight.shape)
    for place, terms in products(x.shape, weight.shape, grad.shape, stride, padding, dilation, groups):
        for seen, used in terms:
            grad_x[seen] += grad[place] * weight[used]
            grad_weight[used] += grad[place] * x[seen]
    return grad_x, grad_weight, grad.sum(axis=(0, 2, 3))


def products(x_shape, weight_shape, y_shape, stride, padding, dilation, groups):
    """For each output number, which input number meets which weight."""
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
    """Return the maxima, and for each where in the image it is; the first of equals, NaN before all."""
    counts = []
    for axis in (0, 1):
        pixels, starts = x.shape[2 + axis], [-padding[axis]]
        reach = span(kernel_size[axis], dilation[axis])
        while True:
            start = starts[-1] + stride[axis]
            fits = start + reach <= pixels + padding[axis]
            left_over = ceil_mode and start < pixels and starts[-1] + reach < pixels + padding[axis]
            if not (fits or left_over):
                break
            starts.append(start)
        counts.append(starts)
    y = np.full((*x.shape[:2], len(counts[0]), len(counts[1])), -np.inf)
    where = {}
    for n, c, i, j in np.ndindex(y.shape):
        for u, v in np.ndindex(kernel_size):
            row, column = counts[0][i] + u * dilation[0], counts[1][j] + v * dilation[1]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                value = x[n, c, row, column]
                if (n, c, i, j) not in where or value > y[n, c, i, j] or np.isnan(value):
                    y[n, c, i, j], where[n, c, i, j] = value, (n, c, row, column)
    return y, where


def maxpool2d_input_grad(grad, where, shape):
    """Each gradient goes to where its maximum was."""
    grad_x = np.zeros(shape)
    for place, pixel in where.items():
        grad_x[pixel] += grad[place]
    return grad_x
