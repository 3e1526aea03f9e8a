"""The plot of changed samples."""

import numpy as np
import pytest

from cnn.report import plots
from cnn.report.changes import LABEL, LINES, wrapped

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 6), dtype=np.uint8)


def test_a_row_has_its_label_the_original_and_the_changed_versions():
    ax = plots.changes(
        IMAGES, [255 - IMAGES, IMAGES[:, :, ::-1]], ["cat\na.png", "dog\nb.png", "owl\nc.png"], "flipped"
    )
    assert ax.get_title() == "flipped"
    assert [text.get_text() for text in ax.texts] == ["cat\na.png", "dog\nb.png", "owl\nc.png"]
    assert len(ax.images) == 9
    first, second = ax.images[0], ax.images[3]
    np.testing.assert_allclose(first.get_array(), IMAGES[0].transpose(1, 2, 0) / 255, atol=0.01)
    np.testing.assert_allclose(second.get_array(), 1 - IMAGES[0].transpose(1, 2, 0) / 255, atol=0.01)
    rows = [image.get_extent()[3] for image in ax.images]
    assert rows[:3] == rows[3:6] == rows[6:]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["original", "changed"]
    assert "3 images, each beside 2 changed versions: cat, dog, owl" in plots.describe(ax)


def test_labels_stay_short_and_plain():
    text = wrapped("class $5\n" + "long/" * 60 + "\x1b[2J.png")
    lines = text.split("\n")
    assert len(lines) == 2
    assert max(map(len, lines)) <= LABEL + 1
    assert lines[0] == r"class \$5"
    assert lines[1] == "long/long/lon…/\\x1b[2J.png"
    assert wrapped("articulated_lorry.facebook.png") == "articulated_l…facebook.png"
    assert len(wrapped("a\n" * 9).split("\n")) == LINES
    assert "\x1b" not in wrapped("a\x1b[2J")
    plots.changes(IMAGES[:1], [IMAGES[:1]], [text])


@pytest.mark.parametrize(
    ("changed", "labels", "message"),
    [
        ([], ["a", "b", "c"], "images and their changed versions: expected at least 2, got 1"),
        (
            [IMAGES[:2]],
            ["a", "b", "c"],
            r"changed: expected the shape of originals, \(3, 3, 8, 6\), got \(2, 3, 8, 6\)",
        ),
        ([IMAGES], ["a"], "originals and labels: expected the same length, got 3 and 1"),
    ],
)
def test_wrong_arguments_are_named(changed, labels, message):
    with pytest.raises(ValueError, match=message):
        plots.changes(IMAGES, changed, labels)
