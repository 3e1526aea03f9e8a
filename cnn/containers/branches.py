"""Parallel branches: Sum, Product, Concat and Residual. Together with Sequential and Identity they form residual,
inception, dense and U-shaped nets, and gates.

Copying a value to several branches and adding the gradients of the copies are each other's adjoints, and so are
concatenating and splitting: the backward of one container is the forward of another.
"""

import functools

import numpy as np

from cnn.containers.container import Container
from cnn.core.checks import check_grad
from cnn.errors import InputError, ShapeError
from cnn.functional.elementwise import gate
from cnn.functional.products import multiplied, multiplied_grad
from cnn.kernels import kernel
from cnn.layers import Identity
from cnn.layers.relu import relu
from cnn.module import Array, Module, no_grad


@kernel
def added(x: Array, y: Array) -> Array:
    """The sum of two arrays of the same shape"""
    return x + y


@kernel
def added_relu(x: Array, y: Array) -> Array:
    """ReLU of the sum of two arrays of the same shape"""
    return relu(added(x, y))[0]


@kernel
def added_relu_grad(grad: Array, y: Array) -> Array:
    """The gradient of each of the two summands, from the gradient of the output y of `added_relu`"""
    return gate(grad, y <= 0)


class _Branches(Container):
    """Several modules that read the same input."""

    def __init__(self, branches: list[Module]) -> None:
        self.branches = list(branches)
        self.validate_children()

    def children(self) -> dict[str, Module]:
        return {str(i): branch for i, branch in enumerate(self.branches)}

    def run_branches(self, x: Array) -> list[Array]:
        """(N, ...) -> every branch's output"""
        x, outputs = self.widened(x), []
        for name, branch in self.children().items():
            branch.__dict__["needs_input_grad"] = self.needs_input_grad
            try:
                if self.needs_backward(branch):
                    outputs.append(self.run_child(branch, x))
                else:
                    with no_grad():
                        outputs.append(self.run_child(branch, x))
            except InputError as error:
                raise error.at(name, branch) from None
        return outputs

    def run_branches_backward(self, grads: list[Array]) -> Array | None:
        """One gradient for each branch's output -> the sum of the branches' gradients of their common input"""
        input_grads = []
        for (name, branch), grad in zip(self.children().items(), grads, strict=True):
            if not self.needs_backward(branch):
                continue
            try:
                input_grads.append(self.run_child_backward(branch, grad))
            except InputError as error:
                raise error.at(name, branch) from None
        summands = [grad for grad in input_grads if grad is not None]
        return functools.reduce(added, summands) if self.needs_input_grad else None


class Sum(_Branches):
    """Add the outputs of several branches, which read the same input.

    y = f1(x) + f2(x) + ...

    The derivative of the sum with respect to each summand is 1, so every branch gets the whole gradient, and the input
    gets the sum of the gradients that the branches return.

    Parameters
    ----------
    branches : list of Module
        Their outputs must have the same shape.

    Shape
    -----
    The input's shape -> the shape of each branch's output.

    Raises
    ------
    ShapeError
        If the outputs of the branches have different shapes.

    Source
    ------
    He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, arXiv 1512.03385, section 3.

    Examples
    --------
    >>> from cnn.layers import Identity, ReLU
    >>> Sum([Identity(), ReLU()])(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    fix = ""  # the end of an error about shapes: what to change

    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        return self.total(self.run_branches(x))

    def total(self, outputs: list[Array]) -> Array:
        """Every branch's output -> their sum"""
        self.check_shapes(outputs)
        return functools.reduce(added, outputs)

    def check_shapes(self, outputs: list[Array]) -> None:
        """Raise an error that names the fix unless all outputs have the same shape."""
        shapes = [y.shape for y in outputs]
        if len(set(shapes)) > 1:
            raise ShapeError(
                f"the outputs to be added must have the same shape, got {' and '.join(map(str, shapes))}{self.fix}"
            )

    def backward(self, grad: Array) -> Array | None:
        """(N, ...) -> (N, ...)"""
        return self.run_branches_backward([grad] * len(self.children()))


class Residual(Sum):
    """Learn a change of the input instead of a whole output: add the input to the output of the body.

    y = body(x) + shortcut(x)

    The shortcut passes the gradient on undiminished, so that very deep nets train.

    Parameters
    ----------
    body : Module
        Usually a Sequential.
    shortcut : Module, optional
        Identity by default; a 1x1 convolution where the body changes the shape.

    Shape
    -----
    The input's shape -> the shape of the body's output, which must be that of the shortcut's output too.

    Source
    ------
    He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, arXiv 1512.03385, equations 1 and 2.

    Examples
    --------
    >>> from cnn.layers import ReLU
    >>> Residual(ReLU())(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    fix = ": set padding so that the body keeps the size, or pass a shortcut"

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.shortcut = Identity() if shortcut is None else shortcut
        self.validate_children()

    def children(self) -> dict[str, Module]:
        return {"body": self.body, "shortcut": self.shortcut}


class Product(_Branches):
    """Multiply the outputs of several branches, which read the same input: one is a gate for the others.

    y = f1(x) f2(x) ...

    The derivative with respect to each factor is the product of the others. So each branch gets the gradient times that
    product, which is multiplied out: a factor may be 0. A factor that was repeated gets the sum over its repetitions.

    Parameters
    ----------
    branches : list of Module
        Their outputs must have the same shape, but for axes of length 1 after the first, along which they are repeated:
        (N, C, 1, 1) scales the channels of (N, C, H, W).

    Shape
    -----
    The input's shape -> the shape of the largest branch's output.

    Source
    ------
    Hu, Shen and Sun 2018, Squeeze-and-excitation networks, arXiv 1709.01507, section 3.

    Examples
    --------
    >>> from cnn.layers import Identity, ReLU
    >>> Product([Identity(), ReLU()])(np.array([[-1.0, 2.0]]))
    array([[-0.,  4.]])
    """

    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        outputs = self.run_branches(x)
        y = multiplied(outputs)
        self.save_for_backward(outputs, y.shape)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, ...) -> (N, ...)"""
        outputs, shape = self.saved()
        check_grad(self, grad, shape, outputs[0].dtype)
        return self.run_branches_backward(multiplied_grad(grad, outputs))


class Concat(_Branches):
    """Concatenate the outputs of several branches, which read the same input, along the channel axis.

    y = [f1(x), f2(x), ...] along axis 1

    Each branch gets its own part of the gradient, and the input gets the sum of the gradients that the branches return.

    Parameters
    ----------
    branches : list of Module
        Their outputs must have the same shape except in axis 1.

    Shape
    -----
    The input's shape -> (N, C1 + C2 + ..., ...).

    Raises
    ------
    ShapeError
        If the outputs of the branches differ in another axis than that of the channels.

    Source
    ------
    Szegedy et al. 2015, Going deeper with convolutions, arXiv 1409.4842, figure 2.

    Examples
    --------
    >>> from cnn.layers import Identity, ReLU
    >>> Concat([Identity(), ReLU()])(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.,  0.,  2.]])
    """

    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, C1 + C2 + ..., ...)"""
        outputs = self.run_branches(x)
        shapes = [y.shape for y in outputs]
        if outputs[0].ndim < 2 or len({(shape[0], *shape[2:]) for shape in shapes}) > 1:
            sides = np.array([shape[2:] for shape in shapes if len(shape) == 4])
            if (
                len(sides) == len(shapes) and np.ptp(sides, axis=0).max() == 1
            ):  # an odd size was halved and doubled again
                sizes = " and ".join(dict.fromkeys(f"{h} x {w}" for h, w in sides))
                raise ShapeError(
                    f"branch outputs are {sizes}: use images whose height and width stay even at each halving"
                )
            raise ShapeError(
                f"the outputs to be concatenated may differ only in axis 1, got {' and '.join(map(str, shapes))}"
            )
        self.save_for_backward([shape[1] for shape in shapes])
        return concatenate(outputs)

    def backward(self, grad: Array) -> Array | None:
        """(N, C1 + C2 + ..., ...) -> (N, ...)"""
        (channels,) = self.saved()
        if grad.ndim < 2 or grad.shape[1] != sum(channels):
            raise ShapeError(
                f"Concat.backward expects a gradient with {sum(channels)} channels, got shape {grad.shape}"
            )
        parts = np.split(grad, np.cumsum(channels)[:-1], axis=1)
        return self.run_branches_backward(parts)


def concatenate(arrays: list[Array]) -> Array:
    """Concatenate arrays along axis 1, images in the channels-last memory order that convolutions read fastest."""
    if arrays[0].ndim != 4:
        return np.concatenate(arrays, axis=1)
    return np.concatenate([a.transpose(0, 2, 3, 1) for a in arrays], axis=3).transpose(0, 3, 1, 2)
