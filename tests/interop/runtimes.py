"""Other libraries that run ONNX files: onnxruntime and OpenCV, each with one thread."""

import cv2
import numpy as np
import onnxruntime

cv2.setNumThreads(1)
onnxruntime.set_default_logger_severity(3)  # errors only


class OnnxRuntime:
    """A file in onnxruntime, for batches of any size."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, x):
        """The outputs by name"""
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(None, {"input": x}), strict=True))


class OpenCV:
    """A file in OpenCV's dnn module; ``fusion`` lets it run neighbours as one, which is its default."""

    def __init__(self, path, fusion=True):
        self.net = cv2.dnn.readNetFromONNX(str(path))
        self.net.enableFusion(fusion)
        self.names = self.net.getUnconnectedOutLayersNames()

    def __call__(self, x):
        """The outputs by name"""
        self.net.setInput(np.ascontiguousarray(x))
        outputs = self.net.forward(self.names)
        return {name: y.copy() for name, y in zip(self.names, outputs, strict=True)}  # they end with the net
