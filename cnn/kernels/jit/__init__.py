"""The backend "jit": kernels in Python, compiled to machine code by Numba."""
