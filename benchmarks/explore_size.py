"""How large are the data of a page of `cnn explore`? Prints a Markdown table.

python benchmarks/explore_size.py

Twelve test images of Fashion-MNIST each, at the default limit. small_cnn and resnet(20) have random weights; the ResNet
reads the images as 3 x 32 x 32 pixels.
"""

import json

import numpy as np

import cnn
from cnn import zoo
from cnn.cli import datasets
from cnn.explore import pack
from cnn.zoo.trained import load

IMAGES = 12


def row(name, model, pixels, labels):
    """Return a line of the table."""
    header, block = pack(model, pixels, labels)
    complete = sum(image["complete"] for image in header["images"])
    inflated = sum(chunk["size"] for chunk in header["chunks"]) / 1e6
    text, about = 4 * -(-len(block) // 3) / 1e6, len(json.dumps(header)) / 1e3
    return f"| {name} | {inflated:.1f} | {text:.1f} | {about:.0f} | {complete} |"


def main():
    """Print the table."""
    x, y = datasets.load("fashion-mnist", 0, quiet=True).test
    x, y = x[:IMAGES], y[:IMAGES].tolist()
    cnn.manual_seed(0)
    colours = np.repeat(np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2))), 3, axis=1)
    print("| net | float32, MB | base64, MB | JSON, KB | complete images |")
    print("| --- | --- | --- | --- | --- |")
    print(row("`small_cnn`", zoo.small_cnn(), x, y))
    print(row('`load("fashion")`', load("fashion"), x, y))
    print(row("`resnet(20)`", zoo.resnet(20), colours, y))


if __name__ == "__main__":
    main()
