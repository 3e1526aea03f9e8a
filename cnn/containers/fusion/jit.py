"""The fused steps of the jit backend: a convolution[, norm][, ReLU or ReLU6][, pool]; Linear[, ReLU]; a sum, ReLU."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn.containers.branches import Sum, added_relu, added_relu_grad
from cnn.containers.fusion.step import FusedStep, argmax_fits_byte, changed_since_forward
from cnn.core import modes
from cnn.errors import ShapeError
from cnn.functional import shared_batch
from cnn.functional.norms import accumulate, update_running_statistics
from cnn.functional.sums import FEW
from cnn.functional.windows import WindowGeometry
from cnn.kernels import parallel
from cnn.kernels.jit import conv2d, conv_block
from cnn.kernels.jit.conv_block import Affine
from cnn.kernels.jit.conv_plan import Plan, plan_forward
from cnn.kernels.jit.engine import small_linear
from cnn.kernels.jit.engine.layouts import transposed
from cnn.kernels.jit.engine.product import product, relu_grad
from cnn.kernels.jit.engine.shapes import KEPT_FROM, TRANSFORM_FROM, pool_geometry, supports
from cnn.layers import BatchNorm2d, Conv2d, MaxPool2d, ReLU, ReLU6
from cnn.module import Array, Module

FLOAT32 = np.dtype(np.float32)


class ConvPlan(NamedTuple):
    """How a convolution and the layers after it run with inputs of one shape."""

    geometry: WindowGeometry
    pool: WindowGeometry | None
    with_norm: bool  # in training: the norm needs the statistics of the whole batch first
    in_inference: bool  # nothing is saved for backward
    forward_plan: Plan
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of the input and the weights
    groups: int


@functools.lru_cache(maxsize=1024)
def plan_conv(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    conv: tuple[Any, ...],
    norm: tuple[Any, ...] | None,
    relu: int,
    pool: tuple[Any, ...] | None,
    saving: bool,
    threads: int,
) -> ConvPlan | None:
    """Plan the step for inputs of one shape; ``conv``, ``norm`` and ``pool`` are the settings of the layers."""
    in_channels, out_channels, groups, *window = conv
    if shape[1] != in_channels or shape[0] == 0 or groups < 1 or in_channels % groups or out_channels % groups:
        return None
    if weight != (out_channels, in_channels // groups, *window[0]):
        return None
    geometry, pool_window = WindowGeometry.of(*window, *shape[2:]), None
    try:
        output_size = geometry.output_size(*shape[2:])
        if pool is not None:
            *pool_settings, ceil_mode = pool
            pool_window = WindowGeometry.of(*pool_settings, *output_size)
            if pool_window.output_size(*output_size, ceil_mode) != pool_window.output_size(*output_size):
                return None
    except ShapeError:
        return None
    if not supports(geometry) or (pool_window is not None and not argmax_fits_byte(pool_window)):
        return None
    with_norm = False
    if norm is not None:
        num_features, tracks, training, is_plain = norm
        if num_features != out_channels or not tracks or not is_plain:
            return None
        if training and shape[0] * math.prod(output_size) < 2:
            return None
        if saving and not training:
            return None  # in evaluation the norm is folded into the weights, for which there is no backward
        with_norm = training
    if with_norm:
        plan = plan_forward(shape, weight, geometry, groups, False, None, True, threads)
    else:
        kept = TRANSFORM_FROM if saving else KEPT_FROM  # transformed weights are kept in inference
        plan = plan_forward(shape, weight, geometry, groups, relu, pool_window, False, threads, kept)
    return ConvPlan(geometry, pool_window, with_norm, not saving and not with_norm, plan, (shape, weight), groups)


class ConvStep(FusedStep):
    """A convolution and what follows it."""

    def __init__(self, layers: Sequence[Module]) -> None:
        super().__init__(layers)
        kinds: dict[type, Any] = {type(layer): layer for layer in layers}
        self.conv: Conv2d = kinds[Conv2d]
        self.norm: BatchNorm2d | None = kinds.get(BatchNorm2d)
        self.pool: MaxPool2d | None = kinds.get(MaxPool2d)
        self.relu = 6 if ReLU6 in kinds else int(ReLU in kinds)  # as the kernels know them
        self._prepared: Any = None  # by the last call in inference

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_prepared": None}  # it holds addresses, which are others in a copy

    def plan(self, x: Array) -> ConvPlan | None:
        conv, norm, pool, weight, bias = self.conv, self.norm, self.pool, self.conv.weight.data, self.conv.bias
        if type(x) is not np.ndarray or x.ndim != 4 or x.dtype != FLOAT32 or weight.dtype != FLOAT32:
            return None
        if not (x.flags.aligned and weight.flags.aligned):
            return None
        if bias is not None and (bias.data.dtype != FLOAT32 or bias.data.shape != weight.shape[:1]):
            return None
        settings: Any = conv.in_channels, conv.out_channels, conv.groups
        settings += (conv.kernel_size, conv.stride, conv.dilation, conv.padding)
        of_norm = of_pool = None
        if norm is not None:
            of_norm = norm.num_features, norm.track_running_stats, norm.training, is_plain(norm)
        if pool is not None:
            of_pool = pool.kernel_size, pool.stride, pool.dilation, pool.padding, pool.ceil_mode
        saving, threads = modes.state.saving, parallel.num_threads
        return plan_conv(x.shape, weight.shape, settings, of_norm, self.relu, of_pool, saving, threads)

    def forward(self, x: Array, plan: ConvPlan) -> tuple[Array, Any]:
        conv, norm = self.conv, self.norm
        weight, bias = conv.weight.data, None if conv.bias is None else conv.bias.data
        if plan.in_inference:
            affine, before = None if norm is None else arrays_of(norm), self._prepared
            y, self._prepared = conv_block.infer(plan.forward_plan, x, weight, bias, conv.groups, affine, before)
            return y, None
        if norm is None or not plan.with_norm:
            y, choice, _ = conv2d.forward(plan.forward_plan, x, weight, bias, conv.groups)
            output = y.transpose(0, 2, 3, 1) if self.relu and plan.pool is None else None
            return y, (x, output, choice, None, plan)
        of_all = functools.partial(shared_batch.moments_of_all, ranks=norm.ranks)
        y, kept, statistics = conv_block.forward_with_norm(
            plan.forward_plan, x, weight, bias, conv.groups, arrays_of(norm), self.relu, plan.pool, of_all
        )
        update_running_statistics(norm, *statistics)
        return y, (x, *kept, plan)

    def backward(self, grad: Array, saved: Any) -> Array | None:
        x, output, choice, norm, plan = saved
        conv: Any = self.conv
        weight = conv.weight.data
        if (x.shape, weight.shape) != plan.shapes or not x.dtype == weight.dtype == FLOAT32:
            raise changed_since_forward(x, weight)
        pool = None if plan.pool is None else pool_geometry(plan.pool)
        following = conv2d.FollowingLayers(self.relu, pool, choice, output)
        needs = conv.needs_input_grad, conv.bias is not None
        if norm is None:
            if output is not None:
                k = len(weight)
                zeros = np.zeros(k, np.float32)
                following = following._replace(center=zeros, scale=np.ones(k, np.float32), shift=zeros)
            x_grad, w_grad, b_grad = conv2d.backward(
                grad, x, x.shape, weight, plan.geometry, plan.groups, following, None, *needs
            )
        else:
            of_all = functools.partial(shared_batch.sums_of_all, ranks=self.norm.ranks)  # type: ignore[union-attr]
            x_grad, w_grad, b_grad, *of_norm = conv_block.backward_with_norm(
                grad, x, weight, plan.geometry, plan.groups, following, norm, needs, of_all
            )
            accumulate(self.norm.weight, self.norm.bias, *of_norm)  # type: ignore[union-attr]
        conv.weight.accumulate_grad(w_grad, copy=False)
        if conv.bias is not None:
            conv.bias.accumulate_grad(b_grad)
        return x_grad

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        n, _, h, w = input_shape
        return self.conv.multiply_adds((n, self.conv.out_channels, *self.conv.geometry(h, w).output_size(h, w)))


def is_plain(norm: BatchNorm2d) -> bool:
    """Tell whether all arrays of a norm are float32, with a number for each channel."""
    per_channel = (norm.num_features,)
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        if tensor is not None and (tensor.data.dtype != FLOAT32 or tensor.data.shape != per_channel):
            return False
    return True


def arrays_of(norm: BatchNorm2d) -> Affine:
    """Return the arrays of a norm."""
    mean, var, weight, bias = norm.running_mean, norm.running_var, norm.weight, norm.bias
    return Affine(
        None if mean is None else mean.data,
        None if var is None else var.data,
        None if weight is None else weight.data,
        None if bias is None else bias.data,
        norm.eps,
    )


class LinearStep(FusedStep):
    """A linear layer, and ReLU if that follows."""

    def plan(self, x: Array) -> Any:
        linear: Any = self.layers[0]
        weight, bias = linear.weight.data, None if linear.bias is None else linear.bias.data
        if type(x) is not np.ndarray or x.ndim != 2 or len(x) == 0 or x.dtype != FLOAT32 or weight.dtype != FLOAT32:
            return None
        if x.shape[1] != linear.in_features or weight.shape != (linear.out_features, linear.in_features):
            return None
        if bias is not None and (bias.dtype != FLOAT32 or bias.shape != weight.shape[:1]):
            return None
        if not (x.flags.aligned and weight.flags.aligned):
            return None
        return weight, bias

    def forward(self, x: Array, plan: Any) -> tuple[Array, Any]:
        weight, bias = plan
        relu = len(self.layers) > 1
        y = product(x, weight.T, bias, relu)
        return y, (x, y if relu else None, weight)

    def backward(self, grad: Array, saved: Any) -> Array | None:
        x, y, weight = saved
        linear: Any = self.layers[0]
        (n, outputs), inputs = grad.shape, linear.in_features
        if x.shape != (n, inputs) or weight.shape != (outputs, inputs) or not x.dtype == weight.dtype == FLOAT32:
            raise changed_since_forward(x, weight)
        # the caller has got y, and the kernels read it in C order
        if y is not None and (y.shape != grad.shape or y.dtype != FLOAT32 or not y.flags.c_contiguous):
            raise changed_since_forward(x, weight)
        if n * weight.size <= small_linear.MAX_MULTIPLY_ADDS:
            x_grad, w_grad, b_grad = small_linear.gradients(grad, x, y, weight, linear.needs_input_grad)
        else:
            if y is not None:
                grad = relu_grad(np.ascontiguousarray(grad), y)
            x_grad = product(grad, weight) if linear.needs_input_grad else None
            w_grad, b_grad = product(grad.T, x), grad.sum(axis=0, dtype=np.float64 if len(grad) > FEW else None)
        if linear.bias is not None:
            linear.bias.accumulate_grad(b_grad)
        linear.weight.accumulate_grad(w_grad, copy=False)
        return x_grad

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        linear: Any = self.layers[0]
        return linear.multiply_adds((input_shape[0], linear.out_features))


class FlattenStep(FusedStep):
    """In inference, Flatten of images whose channels are last in memory: a kernel, so that it can be recorded."""

    def plan(self, x: Array) -> Any:
        if modes.state.saving or type(x) is not np.ndarray or x.ndim != 4 or x.dtype != FLOAT32:
            return None
        return x.shape if not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous else None

    def forward(self, x: Array, plan: Any) -> tuple[Array, Any]:
        n, c, h, w = plan
        return transposed(x, n, h * w, c, (n, c * h * w)), None


class SumReLUStep(FusedStep):
    """Two branches, added, and ReLU: one pass, and the sum is never written to memory."""

    def plan(self, x: Array) -> Any:
        total = self.layers[0]
        return total if type(x) is np.ndarray and x.dtype == FLOAT32 and len(total.children()) == 2 else None

    def forward(self, x: Array, plan: Sum) -> tuple[Array, Any]:
        outputs = plan.run_branches(x)
        plan.check_shapes(outputs)
        y = added_relu(*outputs)
        return y, (y,)

    def backward(self, grad: Array, saved: Any) -> Array | None:
        (y,) = saved
        return self.layers[0].backward(added_relu_grad(grad, y))
