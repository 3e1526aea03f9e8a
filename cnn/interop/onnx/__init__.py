"""Models as ONNX files, which other runtimes read; needs the package onnx: ``pip install "cnn[onnx]"``."""

from cnn.interop.onnx.saving import save

__all__ = ["save"]
