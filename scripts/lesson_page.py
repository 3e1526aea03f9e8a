"""Make the page that docs/lesson_ten_things.md links to: python scripts/lesson_page.py

It is the page of `cnn explore --model fashion`, smaller: two of its images have all their numbers. Run this after each
change of cnn/explore/page.html, and commit the result.
"""

from pathlib import Path

from cnn.cli import datasets
from cnn.explore import page
from cnn.zoo.trained import load

OUT = Path(__file__).parent.parent / "docs" / "example" / "fashion.html"
LIMIT = 4_500_000  # bytes of base64: the weights, and two images
NOTES = [
    "The net is cnn.zoo.trained.load('fashion').",
    "Images: test images of Fashion-MNIST, copyright 2017 Zalando SE, MIT licence.",
]


def main():
    """Write the page."""
    x, y = datasets.load("fashion-mnist", 0, quiet=True).test
    names = [f"test image {i}" for i in range(len(x))]
    made = page(load("fashion"), x, y, names=names, title="Inside a net for clothes", notes=NOTES, limit=LIMIT)
    made.save(OUT)
    print(f"{OUT}: {len(made.text) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
