"""Proof: every layer, loss, optimizer and schedule against finite differences, PyTorch and published ONNX vectors.

run.py runs all; cases.py says what of each class; numeric.py, pytorch.py and the onnx files ask the three.
"""

from cnn.verify.run import verify

__all__ = ["verify"]
