"""Models as ONNX files: `load` reads them, `save` writes them, which needs ``pip install "cnn[onnx]"``."""

from cnn.interop.onnx.loading import load
from cnn.interop.onnx.saving import save

__all__ = ["load", "save"]
