"""PyTorch's counterparts of the layers and containers: torch.nn, and own modules for what it does not have."""

import functools
import math
import operator
from types import SimpleNamespace
from typing import Any

try:
    import torch
except ImportError:  # then run.py leaves PyTorch out
    torch = None  # type: ignore[assignment]


def same(layer: Any, image: Any) -> tuple[tuple[int, int], ...]:
    """Return the four sides that TensorFlow's "same" pads: those that the last window needs, the odd pixel after."""
    found = []
    for axis, pixels in enumerate(image):
        names = ("kernel_size", "stride", "dilation")
        both = (getattr(layer, name, 1) for name in names)  # AvgPool2d has no dilation
        size, stride, dilation = (value[axis] if isinstance(value, tuple) else value for value in both)
        total = max(0, (math.ceil(pixels / stride) - 1) * stride + dilation * (size - 1) + 1 - pixels)
        found.append((total // 2, total - total // 2))
    return tuple(found)


def counterparts() -> Any:
    """Return torch.nn with counterparts of our containers and layers, whose gradients are PyTorch's."""
    nn = torch.nn

    class Affine(nn.Module):
        def __init__(self, num_features: int) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(num_features)), nn.Parameter(torch.zeros(num_features))

        def forward(self, x: Any) -> Any:
            shape = (-1,) + (1,) * (x.ndim - 2)
            return x * self.weight.reshape(shape) + self.bias.reshape(shape)

    class ChannelSlice(nn.Module):
        def __init__(self, start: int, stop: int) -> None:
            super().__init__()
            self.channels = slice(start, stop)

        def forward(self, x: Any) -> Any:
            return x[:, self.channels]

    class Hardsigmoid(nn.Module):  # PyTorch's backward rounds 1/6 to float32 for every dtype
        def forward(self, x: Any) -> Any:
            return nn.functional.relu6(x + 3) / 6

    class Permute(nn.Module):
        def __init__(self, dims: tuple[int, ...]) -> None:
            super().__init__()
            self.dims = dims

        def forward(self, x: Any) -> Any:
            return x.permute(self.dims)

    class Concat(nn.ModuleList):
        def forward(self, x: Any) -> Any:
            return torch.cat([branch(x) for branch in self], dim=1)

    class Sum(nn.ModuleList):
        def forward(self, x: Any) -> Any:
            return functools.reduce(operator.add, [branch(x) for branch in self])

    class Product(nn.ModuleList):
        def forward(self, x: Any) -> Any:
            return functools.reduce(operator.mul, [branch(x) for branch in self])

    def padding_itself(kind: Any, value: float = 0.0) -> Any:
        """A layer of PyTorch whose padding may also be four sides, or "same" with a stride: it pads its input first."""

        class Padding(kind):  # type: ignore[misc]
            def __init__(self, *arguments: Any, padding: Any = 0, **named: Any) -> None:
                self.own = padding if padding == "same" or isinstance(padding, tuple) else None
                super().__init__(*arguments, padding=padding if self.own is None else 0, **named)

            def forward(self, x: Any) -> Any:
                if self.own is None:
                    return super().forward(x)
                own = same(self, x.shape[2:]) if self.own == "same" else self.own
                (top, bottom), (left, right) = ((p, p) if isinstance(p, int) else p for p in own)
                return super().forward(nn.functional.pad(x, (left, right, top, bottom), value=value))

        return Padding

    class Upsample(nn.Upsample):
        def __init__(self, *arguments: Any, asymmetric: bool = False, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.asymmetric = asymmetric

        def forward(self, x: Any) -> Any:
            if not self.asymmetric:
                return super().forward(x)
            factor: Any = self.scale_factor
            h, w = (int(factor * pixels) for pixels in x.shape[2:])  # with one pixel more, and aligned corners
            larger = nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")
            size = (h + 1, w + 1)
            return nn.functional.interpolate(larger, size, mode="bilinear", align_corners=True)[:, :, :-1, :-1]

    class Residual(nn.Module):
        def __init__(self, body: Any, shortcut: Any = None) -> None:
            super().__init__()
            self.body, self.shortcut = body, nn.Identity() if shortcut is None else shortcut

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    def sequential(layers: list[Any]) -> Any:
        return nn.Sequential(*layers)

    kinds = (Affine, ChannelSlice, Concat, Hardsigmoid, Permute, Product, Residual, Sum, Upsample)
    own = {kind.__name__: kind for kind in kinds} | {"Sequential": sequential}
    own |= {"AvgPool2d": padding_itself(nn.AvgPool2d), "MaxPool2d": padding_itself(nn.MaxPool2d, -math.inf)}
    return SimpleNamespace(**{**vars(nn), **own, "Conv2d": padding_itself(nn.Conv2d)})
