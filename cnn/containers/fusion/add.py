"""Neighbours that run as one: Residual, ReLU, or Sum, ReLU. The sum is gone over once, and never lies in memory."""

from collections.abc import Sequence

import numpy as np

from cnn.containers.branches import Sum
from cnn.containers.fusion.fused import FLOAT32, Group, load
from cnn.core.checks import check_grad
from cnn.errors import InputError
from cnn.functional.elementwise import gate
from cnn.module import Array, Module


class SumGroup(Group):
    """Two branches, added, and ReLU. What runs back through the branches is still the layer that has them."""

    def __init__(self, layers: Sequence[Module], start: int) -> None:
        super().__init__(layers, start)
        assert isinstance(layers[0], Sum)
        self.sum, self.relu = layers[0], layers[1]
        self.next_back = start

    def supports(self, x: Array) -> bool:
        return type(x) is np.ndarray and x.dtype == FLOAT32 and len(self.sum.children()) == 2

    def forward(self, x: Array) -> Array:
        at: tuple[str, Module] = str(self.start), self.sum
        try:
            outputs = self.sum.run_branches(x)
            y = load("jit", "branches").added_relu(*outputs)
            if y is NotImplemented:  # other shapes, dtypes or layouts: ReLU runs, and runs back, by itself
                total = self.sum.total(outputs)
                at = str(self.start + 1), self.relu
                return self.relu(total)
        except InputError as error:
            raise error.at(*at) from None
        self.save_for_backward(y)
        return y

    def backward(self, grad: Array) -> Array:
        (y,) = self.saved()
        check_grad(self.relu, grad, y.shape, y.dtype)
        made = load("jit", "branches").passed_on(grad, y)
        return gate(grad, y <= 0) if made is NotImplemented else made

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return 0
