"""Where the mathematics of the layers meets the machine: what is marked ``kernel`` runs with BLAS on one thread."""

from cnn.kernels.threads import kernel, one_blas_thread

__all__ = ["kernel", "one_blas_thread"]
