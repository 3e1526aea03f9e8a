"""The machinery of the compiled kernels: tiles, packing, thread pool, compilation."""
