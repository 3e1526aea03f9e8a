"""For live.spec.ts: an image to drop, what the net says of images, and a page that is served."""

import json
import sys

import numpy as np
from PIL import Image

from cnn.cli.main import main
from cnn.cli.predict_images import read_for_model
from cnn.explore import trace
from cnn.layers import Flatten, Linear
from cnn.loss import MSELoss
from cnn.sequential import Sequential
from cnn.zoo.trained import load


def shoe(path):
    """Write a picture of a boot, dark on white, in colour and of another size than the net reads."""
    pixels = np.full((120, 160, 3), 255, np.uint8)
    pixels[15:80, 60:95] = (90, 40, 20)
    pixels[70:105, 20:95] = (90, 40, 20)
    Image.fromarray(pixels).save(path)


def probabilities(path):
    """Print what the net says of an image."""
    model = load("fashion")
    pixels = read_for_model(path, model.input_shape, preprocessing=model.preprocessing).pixels
    print(json.dumps(trace(model, model.preprocess(pixels[None])).probabilities[0].tolist()))


def regression(path):
    """Write a net without classes."""
    model = Sequential([Flatten(), Linear(64, 2, rng=0)], loss_func=MSELoss())
    model.input_shape = (1, 8, 8)
    model.save(path)


if __name__ == "__main__":
    command, path = sys.argv[1:]
    if command == "probabilities":
        probabilities(path)
    elif command == "regression":
        regression("regression.safetensors")
        sys.exit(main(["explore", "regression.safetensors", "--live"]))
    else:
        shoe(path)
        sys.exit(main(["explore", "--model", "fashion", "--images", path, "--live"]))
