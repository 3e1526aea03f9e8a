"""The one table that says which implementation may serve which plain function.

A plain function is NumPy that a person can read, in the file of its layer, marked with `kernel` of dispatch.py, or with
`batched` or `summed` of parallel.py. Its key here is its full dotted name. A function that is not in this table is
never replaced.

An implementation has the same signature. It is imported when it is first needed. It may decline a call by returning
NotImplemented; then the next one is asked, and at last the plain function runs.

TYPES are the dtypes that it takes: one for each array in its signature, in order, as in `numpy.ufunc.types`. Any other
combination goes to the next implementation. "any" means that the implementation itself checks that array.
"""

from typing import NamedTuple


class Implementation(NamedTuple):
    """What may serve a plain function: for which backend, its full dotted name, and the dtypes that it takes."""

    backend: str
    path: str
    types: tuple[str, ...]


BACKEND_ORDER = {
    "reference": (),
    "array": ("array",),
    "jit": ("jit", "array"),
}  # the backends whose entries serve, in turn


def _jit(path: str, *types: str) -> Implementation:
    return Implementation("jit", f"cnn.kernels.jit.{path}", types)


def _array(path: str, *types: str) -> Implementation:
    return Implementation("array", f"cnn.kernels.array.{path}", types)


TABLE: dict[str, tuple[Implementation, ...]] = {
    # convolutions
    "cnn.layers.conv2d.conv2d": (
        _jit("conv2d.conv2d", "f4 f4 f4"),
        _array("conv2d.conv2d", "f4 f4 f4", "f8 f8 f8"),
    ),
    "cnn.layers.conv2d.conv2d_input_grad": (
        _jit("conv2d.conv2d_input_grad", "f4 f4"),
        _array("conv2d.conv2d_input_grad", "f4 f4", "f8 f8"),
    ),
    "cnn.layers.conv2d.conv2d_weight_grad": (
        _jit("conv2d.conv2d_weight_grad", "f4 f4"),
        _array("conv2d.conv2d_weight_grad", "f4 f4", "f8 f8"),
    ),
    "cnn.layers.conv2d.conv2d_bias_grad": (_array("conv2d.conv2d_bias_grad", "f4", "f8"),),
    "cnn.layers.conv_transpose2d.conv_transpose2d": (_jit("conv_transpose2d.conv_transpose2d", "f4 f4 f4"),),
    "cnn.layers.conv_transpose2d.conv_transpose2d_input_grad": (
        _jit("conv_transpose2d.conv_transpose2d_input_grad", "f4 f4"),
    ),
    "cnn.layers.conv_transpose2d.conv_transpose2d_weight_grad": (
        _jit("conv_transpose2d.conv_transpose2d_weight_grad", "f4 f4"),
    ),
    # linear layers
    "cnn.layers.linear.linear": (
        _jit("linear.linear", "f4 f4 f4"),
        _array("linear.linear", "f4 f4 f4", "f8 f8 f8"),
    ),
    "cnn.layers.linear.linear_input_grad": (
        _jit("linear.linear_input_grad", "f4 f4"),
        _array("linear.linear_input_grad", "f4 f4", "f8 f8"),
    ),
    "cnn.layers.linear.linear_weight_grad": (
        _jit("linear.linear_weight_grad", "f4 f4"),
        _array("linear.linear_weight_grad", "f4 f4", "f8 f8"),
    ),
    # pools
    "cnn.layers.maxpool2d.maxpool2d": (
        _jit("maxpool2d.maxpool2d", "f4"),
        _array("maxpool2d.maxpool2d", "f4", "f8"),
    ),
    "cnn.layers.maxpool2d.maxpool2d_input_grad": (
        _jit("maxpool2d.maxpool2d_input_grad", "f4 u1"),
        _array("maxpool2d.maxpool2d_input_grad", "f4 any", "f8 any"),
    ),
    "cnn.layers.adaptiveavgpool2d.adaptive_avg_pool2d": (_jit("adaptiveavgpool2d.adaptive_avg_pool2d", "f4"),),
    "cnn.layers.avgpool2d.avgpool2d": (_jit("avgpool2d.avgpool2d", "f4 f4"),),
    "cnn.layers.avgpool2d.avgpool2d_input_grad": (_jit("avgpool2d.avgpool2d_input_grad", "f4 f4"),),
    # norms; statistics come in float64 from a batch, and in the layer's dtype from running means
    "cnn.functional.norms.moments": (_jit("norms.moments", "f4"),),
    "cnn.functional.shared_batch.part_sums": (_jit("batchnorm.part_sums", "f4 f4 f8 f8"),),
    "cnn.functional.shared_batch.part_grad": (_jit("batchnorm.part_grad", "f4 f4 f8 f8 f4 f8 f8"),),
    "cnn.layers.batchnorm.batchnorm": (_jit("batchnorm.batchnorm", "f4 f8 f8 f4 f4", "f4 f4 f4 f4 f4"),),
    "cnn.layers.batchnorm.batchnorm_grad": (_jit("batchnorm.batchnorm_grad", "f4 f4 f8 f8 f4", "f4 f4 f4 f4 f4"),),
    # element-wise functions
    "cnn.layers.relu.relu": (_jit("relu.relu", "f4"), _array("relu.relu", "f4", "f8")),
    "cnn.functional.elementwise.gate": (
        _jit("elementwise.gate", "f4 b1"),
        _array("elementwise.gate", "f4 b1", "f8 b1"),
    ),
    "cnn.layers.sigmoid.tanh": (_jit("sigmoid.tanh", "f4"),),
    "cnn.layers.sigmoid.tanh_grad": (_jit("sigmoid.tanh_grad", "f4 f4"),),
    "cnn.containers.branches.added": (_jit("branches.added", "f4 f4"),),
    "cnn.containers.branches.added_relu": (_jit("branches.added_relu", "f4 f4"),),
    "cnn.containers.branches.added_relu_grad": (_jit("branches.added_relu_grad", "f4 f4"),),
    # losses and optimizers
    "cnn.loss.cross_entropy_loss.mean_and_gradient": (_jit("cross_entropy_loss.mean_and_gradient", "f4 i8"),),
    "cnn.optim.adam.adam": (_jit("adam.adam", "f4 f4 f4 f4"), _array("adam.adam", "f4 f4 f4 f4", "f8 f8 f8 f8")),
}
