"""The arithmetic of layers with windows: convolution and pooling."""

import numpy as np

from cnn.explore.view import Explained, View, activation, bias_value
from cnn.functional.windows import regions
from cnn.layers import AdaptiveAvgPool2d, AvgPool2d
from cnn.layers.avgpool2d import areas


def window_slice(start: int, size: int, dilation: int, pixels: int | None = None) -> slice:
    """Return the pixels of a window along an axis; without those outside the image if its size is given."""
    stop = start + dilation * (size - 1) + 1
    if pixels is not None:
        start += -(min(start, 0) // dilation) * dilation
        stop = min(stop, pixels)
    return slice(start, stop, None if dilation == 1 else dilation)


def window_text(part: slice) -> str:
    """Return the code for a slice."""
    return f"{part.start}:{part.stop}" + ("" if part.step is None else f":{part.step}")


def convolution(view: View) -> Explained:
    """The products of a window and a kernel, and the bias."""
    (k, i, j), layer, (a,) = view.index, view.layer, view.inputs
    geometry = layer.geometry(*a.shape[1:])
    per_group = layer.in_channels // layer.groups
    first = k // (layer.out_channels // layer.groups) * per_group
    (top, bottom), (left, right) = geometry.pads
    starts = i * layer.stride[0], j * layer.stride[1]
    rows, columns = (window_slice(s, n, d) for s, n, d in zip(starts, layer.kernel_size, layer.dilation, strict=True))
    padded = np.pad(a[first : first + per_group], ((0, 0), (top, bottom), (left, right)))
    (weight, w), (bias, b) = view.tensor("weight"), view.tensor("bias")
    window, kernel = padded[:, rows, columns], weight[k]
    products = window * kernel
    values = {"window": window, "kernel": kernel, "products": products, "sums": products.sum(axis=(1, 2))}
    channels = f"[0, {first}:{first + per_group}]" if layer.groups > 1 else "[0]"
    code = [
        f"a = np.pad({activation(view.reads[0])}{channels}, ((0, 0), ({top}, {bottom}), ({left}, {right})))",
        "w = model.state_dict()",
        f"print((a[:, {window_text(rows)}, {window_text(columns)}] * {w}[{k}]).sum()" + (f" + {b}[{k}])" if b else ")"),
    ]
    return values | bias_value(bias, k), np.append(products, [] if bias is None else bias[k]), code


def _pool(view: View, rows: slice, columns: slice, area: float | None) -> Explained:
    """Return the arithmetic of a maximum, or of a mean over so many pixels."""
    c, [a] = view.index[0], view.inputs
    window = a[c, rows, columns]
    code = [f"a = {activation(view.reads[0])}[0, {c}, {window_text(rows)}, {window_text(columns)}]"]
    if area is not None:
        code.append(f"print(a.sum() / {area:g})")
        return {"window": window, "area": np.array(area)}, window / area, code
    u, v = np.unravel_index(window.argmax(), window.shape)  # of equal ones the first, as the layer chooses
    won = np.array([rows.start + u * (rows.step or 1), columns.start + v * (columns.step or 1)])
    return {"window": window, "largest at": won}, window.max(), [*code, "print(a.max())"]


def pool_window(view: View) -> Explained:
    """The largest number, or the mean, of a window."""
    layer, (_, height, width) = view.layer, view.inputs[0].shape
    geometry = layer.geometry(height, width)
    rows, columns = (
        window_slice(
            view.index[1 + axis] * geometry.stride[axis] - geometry.pads[axis][0],
            geometry.size[axis],
            geometry.dilation[axis],
            n,
        )
        for axis, n in enumerate((height, width))
    )
    area = None
    if isinstance(layer, AvgPool2d):
        area = float(areas(geometry, view.size, height, width, layer.count_include_pad)[(*view.index[1:], 0)])
    return _pool(view, rows, columns, area)


def pool_region(view: View) -> Explained:
    """The largest number, or the mean, of one of a fixed number of regions."""
    _, i, j = view.index
    rows, columns = (regions(n, count) for n, count in zip(view.inputs[0].shape[1:], view.size, strict=True))
    is_mean = isinstance(view.layer, AdaptiveAvgPool2d)
    area = (rows[i].stop - rows[i].start) * (columns[j].stop - columns[j].start)
    return _pool(view, rows[i], columns[j], float(area) if is_mean else None)
