"""Verification: every layer, loss, optimizer and schedule against finite differences, PyTorch and ONNX's test vectors.

run.py runs all checks. cases.py lists what is checked of each class; case_types.py defines the kinds of cases.
numeric.py checks against finite differences, pytorch.py against PyTorch, and the onnx files against ONNX's vectors.
"""

from cnn.verify.run import verify

__all__ = ["verify"]
