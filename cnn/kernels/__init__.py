"""Where the mathematics of the layers meets the machine: threads now, faster twins of the plain functions later."""

from cnn.kernels.threads import kernel, one_blas_thread

__all__ = ["kernel", "one_blas_thread"]
