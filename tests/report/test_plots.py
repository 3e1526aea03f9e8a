"""The plots: what is drawn, labels and descriptions, no global state, and files that are complete and reproducible."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from cnn.report import names, plots
from cnn.report.names import short_names
from cnn.training import History

HISTORY = {
    "train_loss": [0.9, 0.5, 0.4],
    "val_loss": [0.8, 0.6, 0.55],
    "train_accuracy": [0.7, 0.8, 0.85],
    "val_accuracy": [0.72, 0.78, 0.8],
}


def frozen(values, dtype=None):
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


LOSSES = frozen([2.3, 1.5, 0.75])


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def images():
    return frozen(np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6)), np.uint8)


def every_plot(images):
    """One plot of each kind, from read-only arrays; each as a list of axes."""
    labels = frozen(np.arange(12) % 3)
    scores = frozen(np.random.default_rng(1).dirichlet(np.ones(3), 12))
    points = frozen(np.random.default_rng(2).normal(size=(12, 2)))
    weight = frozen(np.random.default_rng(3).normal(size=(6, 3, 3, 3)))
    return {
        "history": plots.history(HISTORY),
        "confusion": [plots.confusion(labels, frozen(scores.argmax(axis=1)))],
        "mistakes": [plots.mistakes(images, labels, scores)],
        "decision_boundary": [plots.decision_boundary(lambda X: (X[:, 0] > 0).astype(int), points, labels)],
        "filters": [plots.filters(weight)],
        "filters of one channel": [plots.filters(weight[:, :1])],
        "feature_maps": [plots.feature_maps(weight[0])],
        "samples": [plots.samples(images, labels)],
        "points": [plots.points(points, labels)],
        "compare_losses": plots.compare_losses({"cnn": LOSSES, "PyTorch": frozen(np.add(LOSSES, [0, 1e-15, 3e-14]))}),
        "compare_seeds": [plots.compare_seeds({"cnn": frozen([0.92, 0.925, 0.92]), "PyTorch": frozen([0.921, 0.93])})],
        "growth": plots.growth(
            {"batch": ((1, 2.0, 50.0), (2, 3.0, 67.0)), "channels": ((4, 1.0, 9.0), (8, 1.5, 24.0))}
        ),
        "ratios": [
            plots.ratios({"training": {"vgg": frozen([0.7, 0.6, 0.75])}, "layers": {"ReLU()": (1.2, 1.1, 1.3)}})
        ],
        "numbers": [
            plots.numbers({"window": weight[0, 0], "* kernel": weight[0, 1], "= a long name": weight[0, 2, :1]})
        ],
    }


def test_every_plot_is_labelled_described_and_saved_with_equal_bytes(images, tmp_path):
    settings = dict(mpl.rcParams)
    for name, axes in every_plot(images).items():
        for ax in axes:
            assert ax.get_title(), name
            assert ax.get_xlabel(), name
            assert ax.get_label() in plots.describe(ax), name
            assert ax.get_title() in plots.describe(axes), name
        first, second = plots.save(axes, tmp_path / "a.png"), plots.save(axes[0].figure, tmp_path / "b.png")
        assert first.read_bytes() == second.read_bytes(), name
        assert imread(first).std() > 0.01, name
        assert b"matplotlib" not in first.read_bytes().lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert dict(mpl.rcParams) == settings


def test_every_axes_has_a_title_and_every_axis_with_ticks_a_label(images):
    drawn = every_plot(images)
    drawn["no mistakes"] = [plots.mistakes(images[:2], [0, 1], np.eye(2))]
    drawn["loss beside blank axes"] = plots.history({"train_loss": [1.0]}, ax=plots.panels(2))
    drawn["a row of regions"] = plots.panels(3, width=3, height=3)
    for i, ax in enumerate(drawn["a row of regions"]):
        plots.decision_boundary(lambda X: np.zeros(len(X), int), np.eye(2), [0, 1], ax=ax, legend=i == 2)
    for name, axes in drawn.items():
        figure = axes[0].figure
        figure.draw_without_rendering()
        for ax in figure.axes:
            if not ax.get_visible():
                continue
            if ax.get_label() == "<colorbar>":
                assert ax.get_ylabel(), name
                continue
            assert ax.get_title(), name
            for axis in (ax.xaxis, ax.yaxis):
                if ax.axison and axis.get_visible() and len(axis.get_ticklocs()):
                    assert axis.get_label_text(), (name, axis.axis_name)


def test_no_text_is_cut_off_and_no_captions_overlap(images):
    long_names = ["T-shirt/top", "Ankle boot", "something with a very long name indeed"]
    labels, other = np.arange(12) % 3, (np.arange(12) + 1) % 3
    drawn = [ax for axes in every_plot(images).values() for ax in axes]
    drawn += [plots.confusion(labels, other, long_names), plots.confusion([0, 1], [0, 1], ["even", "odd"])]
    drawn += [
        plots.samples(images, labels, long_names),
        plots.mistakes(images, labels, np.eye(3)[other], long_names),
    ]
    drawn += plots.compare_losses({"cnn": LOSSES, "PyTorch": LOSSES}, ax=plots.panels(2, width=3.5, height=3))
    drawn += [
        plots.points(np.eye(3)[:, :2], [0, 1, 2], long_names),
        plots.compare_seeds({name: [0.9, 0.91] for name in long_names}),
        plots.compare_seeds({name: [0.9, 0.91] for name in long_names}, ax=plots.panels(2, width=4)[0]),
        plots.numbers({name: np.full((8, 8), -123.456) for name in long_names}),
        plots.numbers({name: np.full((1, 1), -123.456) for name in long_names}, ax=plots.panels(2)[0]),
        plots.numbers({"a": np.eye(3), "b": np.eye(2)}, ax=plots.panels(1, 3, height=1.5)[0]),
    ]
    files = [f"cat/IMG_2024_{i}_and_more_of_a_long_name.jpeg" for i in range(12)]
    drawn += [plots.mistakes(images, labels, np.eye(3)[other], long_names, files=files)]
    drawn += [plots.confusion(*many_classes(100), [f"a rather long name of class {k}" for k in range(100)])]
    left, right = plots.panels(2)
    drawn += [plots.samples(images, labels, long_names, ax=left), plots.feature_maps(images[:, 0], ax=right)]
    for ax in drawn:
        figure = ax.figure
        for _ in range(3):
            figure.draw_without_rendering()
        frame = figure.bbox.padded(1)
        ticks = []
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        drawn = [ax.title, ax.xaxis.label, ax.yaxis.label, *ticks, *ax.texts]
        for text in drawn:
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            assert inside or not text.get_text() or not text.get_visible(), (ax.get_title(), text)
        names = ax.get_xticklabels() if ax.get_xlabel().startswith("library") else []
        boxes = [text.get_window_extent() for text in [*ax.texts, *names]]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(later) for later in boxes[i + 1 :]), (ax.get_title(), [*ax.texts, *names][i])


def test_figures_do_not_use_pyplot(images):
    code = (
        "import sys, cnn.report; assert 'matplotlib' not in sys.modules\n"
        "from cnn.report import plots; plots.history({'train_loss': [1.0]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    import matplotlib.pyplot as plt

    every_plot(images)
    assert plt.get_fignums() == []


def test_history_draws_percent_over_epochs_with_lines_that_differ():
    loss, accuracy = plots.history(SimpleNamespace(**{name: tuple(values) for name, values in HISTORY.items()}))
    for ax, fields, factor in (
        (loss, ("train_loss", "val_loss"), 1),
        (accuracy, ("train_accuracy", "val_accuracy"), 100),
    ):
        assert [line.get_label() for line in ax.lines] == ["training", "validation"]
        for line, field in zip(ax.lines, fields, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
            np.testing.assert_allclose(line.get_ydata(), np.multiply(factor, HISTORY[field]))
        for trait in ("color", "linestyle", "marker"):
            train, val = (getattr(line, f"get_{trait}")() for line in ax.lines)
            assert train != val
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "validation"]
        assert ax.get_xlabel() == "epoch"
        assert all(float(tick).is_integer() for tick in ax.get_xticks())
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss (mean per sample)", "accuracy (%)")
    assert "training 0.9 at epoch 1, 0.4 at epoch 3" in plots.describe([loss, accuracy])


def test_history_of_one_epoch_of_regression_and_without_validation():
    [loss] = plots.history({"train_loss": [0.5], "train_accuracy": [np.nan], "val_loss": [np.nan], "val_accuracy": []})
    [line] = loss.lines
    assert line.get_marker() == "o"
    assert line.get_markevery() == [0]
    assert [tick for tick in loss.get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert len(loss.figure.axes) == 1


def test_history_marks_few_of_many_epochs():
    [loss] = plots.history({"train_loss": np.linspace(1, 0, 200)})
    assert 10 <= len(loss.lines[0].get_markevery()) <= 25


def test_history_with_validation_accuracy_alone():
    accuracy = plots.history({"train_loss": [1.0, 0.5, 0.2], "val_accuracy": [0.5, np.nan, 0.7]})[1]
    assert [line.get_label() for line in accuracy.lines] == ["validation"]
    assert accuracy.get_xlim() == (0.5, 3.5)


def test_history_on_given_axes():
    pair = plots.panels(2)
    assert plots.history(HISTORY, ax=pair) == pair
    [alone] = plots.panels()
    assert plots.history(HISTORY, ax=alone) == [alone]
    assert alone.get_ylabel() == "loss (mean per sample)"
    loss, blank = plots.panels(2)
    assert plots.history({"train_loss": [1.0, 2.0]}, ax=(loss, blank)) == [loss]
    assert not blank.get_visible()


def test_confusion_counts_rows_and_shading():
    ax = plots.confusion(frozen([0, 0, 0, 0, 1, 1]), frozen([0, 0, 0, 1, 1, 1]), ["cat", "dog"])
    assert texts(ax) == ["3", "1", "0", "2"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[75, 25], [0, 100]])
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == (
        "Accuracy 83.3 % (5 of 6)",
        "predicted class",
        "true class",
    )
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["cat", "dog"]
    assert "cat is predicted as dog, 1 times" in plots.describe(ax)


def test_confusion_of_a_class_without_samples_and_of_many_classes():
    assert np.isfinite(plots.confusion([0, 0], [0, 2]).images[0].get_array()).all()
    ax = plots.confusion(np.arange(20), np.arange(20), [f"class number {k}" for k in range(20)])
    assert ax.get_xticklabels()[0].get_rotation() == 45
    assert len(ax.texts) == 400


def many_classes(count, samples=900):
    """True and predicted class ids: each class is taken for the next one now and then."""
    true = np.arange(samples) % count
    return frozen(true), frozen((true + (np.arange(samples) % 7 == 0)) % count)


@pytest.mark.parametrize("count", [31, 100, 300])
def test_confusion_of_many_classes_shows_the_most_frequent_pairs(count):
    true, predicted = many_classes(count)
    ax = plots.confusion(true, predicted, [f"class {k}" for k in range(count)])
    right = int((true == predicted).sum())
    assert ax.get_title() == f"Accuracy {right / 9:.1f} % ({right} of 900)"
    assert "25 most frequent confusions" in ax.get_xlabel()
    assert len(ax.patches) == 25
    lengths = [bar.get_width() for bar in ax.patches]
    assert lengths == sorted(lengths, reverse=True)
    shown = texts(ax)
    a, b = (int(shown[28 + i].removeprefix("class ")) for i in (0, 2))  # after 25 numbers and a row of headings
    wrong = int(((true == a) & (predicted == b)).sum())
    assert lengths[0] == wrong > 0
    assert shown[0] == f"{wrong} of {(true == a).sum()}"
    assert f"of {count} classes" in plots.describe(ax)
    assert f"class {a} is predicted as class {b}, {wrong} times" in plots.describe(ax)


def test_confusion_of_many_classes_with_few_mistakes_or_none():
    ids = np.arange(100)
    assert texts(plots.confusion(ids, ids)) == ["no mistakes"]
    ax = plots.confusion(ids, np.where(ids == 5, 6, ids))
    assert texts(ax) == ["1 of 1", "true class", "→", "predicted class", "5", "→", "6"]
    assert "all confusions" in ax.get_xlabel()


ODD_NAMES = [
    "猫と犬の写真", "قطة صغيرة", "😀 grinning", "a\nb\x1b[31m", "$x_1^2$ and $y", "snake_case_", "_private", "100% \\alpha",
    "क्षत्रिय", "👩\u200d👩\u200d👧 family", "עברית", "\u202egnp", "a long name of a class, all begin with these words: 1",
    "a long name of a class, all begin with these words: 2", "x" * 60, "",
]  # fmt: skip


@pytest.mark.parametrize(("count", "first"), [(2, 0), (2, 12), (10, 6), (16, 0), (100, 0), (300, 0)])
def test_odd_names_of_few_and_many_classes_are_drawn_without_a_warning(count, first, images):
    """Warnings are errors here: for a missing glyph, a formula, or names that leave no space for the plot."""
    names = [(ODD_NAMES * 25)[first + k] + (f" {k}" if k >= len(ODD_NAMES) else "") for k in range(count)]
    true, predicted = many_classes(count, 300)
    scores = np.eye(count)[predicted[:12]]
    drawn = [
        plots.confusion(true, predicted, names),
        plots.confusion(true, predicted, names, ax=plots.panels(2, width=4)[0]),
        plots.samples(images, true[:12], names),
        plots.mistakes(images, true[:12], scores, names, files=(ODD_NAMES * 2)[:12]),
        plots.points(np.random.default_rng(0).normal(size=(300, 2)), true, names),
    ]
    for ax in drawn:
        for _ in range(3):
            ax.figure.draw_without_rendering()
        box, frame = ax.get_window_extent(), ax.figure.bbox
        assert box.width > 0.1 * frame.width
        assert box.height > 0.1 * frame.height
        for text in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]:
            assert len(text.get_text().split("\n")[0]) < 45
    legend = drawn[-1].get_legend()
    assert len(legend.get_texts()) == (count if count <= 20 else 21)
    if count > 20:
        assert legend.get_texts()[-1].get_text() == f"and {count - 20} more"


def test_names_that_would_look_alike_begin_with_their_class_id():
    long = [f"a class with a long name, number {k}, of many" for k in range(3)]
    assert short_names([*long, "dog", "犬", "猫", "dog" * 20], 16) == [
        "#0 a clas…f many", "#1 a clas…f many", "#2 a clas…f many", "dog", "#4 □", "#5 □", "dogdogdo…gdogdog",
    ]  # fmt: skip
    ax = plots.confusion([0, 1, 2], [0, 1, 2], long)
    shown = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(set(shown)) == 3
    assert all(len(text) <= 26 for text in shown)
    assert long[1] not in plots.describe(ax)  # nothing is confused
    assert long[1] in plots.describe(plots.confusion([0, 1, 2], [0, 2, 2], long))  # in full


def test_a_fallback_font_draws_what_the_usual_one_lacks(monkeypatch):
    """STIX, which comes with matplotlib, stands in for the fonts of a system."""
    name = next(chr(c) for c in sorted(names._characters("STIXGeneral") - names._characters("DejaVu Sans"))
                if chr(c).isprintable() and chr(c).isalpha())  # fmt: skip
    assert names.drawable(name) == "□"
    monkeypatch.setattr(names, "_installed_fallback", lambda: ("STIXGeneral",))
    assert names.drawable(name) == name
    ax = plots.confusion([0, 1], [0, 1], [name, "b"])
    ax.figure.draw_without_rendering()
    assert ax.get_yticklabels()[0].get_text() == name
    assert "STIXGeneral" in ax.get_yticklabels()[0].get_fontfamily()


def test_mistakes_show_the_names_of_the_files(images):
    scores = frozen([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.99, 0.01]])
    files = ["cat/a.png", "val/cat/old/b.png", Path("c.png"), "dog/IMG_2024_05_17_a_very_long_name_of_a_copy.jpeg"]
    ax = plots.mistakes(images[:4], frozen([0, 0, 0, 1]), scores, ["cat", "dog"], files=files)
    lines = [text.split("\n") for text in texts(ax)]
    assert [line[:2] for line in lines] == [["99% cat", "is dog"], ["80% dog", "is cat"], ["70% dog", "is cat"]]
    assert [line[2] for line in lines[1:]] == ["old/b.png", "c.png"]  # without the folder of the class
    assert re.fullmatch(r"IMG.*….*\.jpeg", lines[0][2])
    assert ax.get_xlabel() == "predicted (probability), then true class, file"
    assert texts(plots.mistakes(images[:4], [0, 0, 0, 1], scores, files=[])) == [
        "99% 0\nis 1",
        "80% 1\nis 0",
        "70% 1\nis 0",
    ]
    with pytest.raises(ValueError, match="images and files: expected the same length, got 4 and 1"):
        plots.mistakes(images[:4], [0, 0, 0, 1], scores, files=["a"])


def test_every_name_is_drawn_as_it_is():
    """Not as a formula, nor left out of a legend because it begins with an underscore."""
    odd = {"_under": [0.9, 0.8], "$a_1$ 猫": [0.5, 0.7]}
    drawn = {
        "legend": plots.compare_losses(odd)[0],
        "captions": plots.compare_seeds(odd),
        "numbers": plots.numbers({"$a$": [[1.0]], "猫 _x": [[2.0]]}),
        "maps": plots.feature_maps(np.ones((2, 3, 3)), title="$a 猫"),
        "ratios": plots.ratios({"g_$x$": {"猫 $": (1.0, 0.9, 1.1)}}),
    }
    for ax in drawn.values():
        ax.figure.draw_without_rendering()
    assert [text.get_text() for text in drawn["legend"].get_legend().get_texts()] == [" _under", r"\$a_1\$ □"]
    assert drawn["maps"].get_title().startswith(r"\$a □: 2 maps")


def test_the_most_confident_mistakes_come_first(images):
    scores = frozen([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.99, 0.01]])
    ax = plots.mistakes(images[:4], frozen([0, 0, 0, 1]), scores, ["cat", "dog"], count=2)
    assert texts(ax) == ["99% cat\nis dog", "80% dog\nis cat"]
    np.testing.assert_allclose(ax.images[0].get_array(), images[3, 0] / 255, rtol=1e-6)
    assert ax.get_title() == "3 of 4 wrong, the 2 most confident"


def test_no_mistakes_says_so(images):
    ax = plots.mistakes(images[:2], [0, 1], np.eye(2))
    assert texts(ax) == ["no mistakes"]
    assert ax.get_title() == "0 of 2 wrong"
    assert "No mistakes" in plots.describe(ax)


def test_decision_boundary_draws_regions_points_and_markers():
    points, y = frozen([[-1.0, 0.0], [-0.5, 1.0], [1.0, 0.5]]), frozen([0, 0, 1])
    given = []

    def predict(X):
        given.append(X)
        return (X[:, 0] > 0).astype(np.int64)

    ax = plots.decision_boundary(predict, points, y, ["left", "right"], resolution=50)
    assert [(X.shape, X.dtype) for X in given] == [((50 * 50 + 3, 2), np.float32)]
    regions = ax.images[0].get_array()
    assert regions.shape == (50, 50, 3)
    assert not np.array_equal(regions[0, 0], regions[0, -1])
    groups = [group for group in ax.collections if group.get_label() in ("left", "right")]
    np.testing.assert_allclose(groups[0].get_offsets(), points[:2])
    assert not np.array_equal(groups[0].get_paths()[0].vertices, groups[1].get_paths()[0].vertices)
    assert not np.array_equal(groups[0].get_facecolor(), groups[1].get_facecolor())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("x1", "x2", 1.0)
    assert ax.get_title() == "Predicted class (100.0 % correct)"


def test_decision_boundary_of_one_region_and_one_point():
    ax = plots.decision_boundary(lambda X: np.zeros(len(X), int), [[3.0, 3.0]], [0], resolution=5)
    assert ax.get_xlim() == (2.0, 4.0)


def test_decision_boundary_without_legend_keeps_its_style():
    with_legend, without = (
        plots.decision_boundary(lambda X: np.zeros(len(X), int), np.eye(2), [0, 1], legend=legend)
        for legend in (True, False)
    )
    assert with_legend.get_legend() is not None
    assert without.get_legend() is None
    assert len(with_legend.collections) == len(without.collections)
    assert with_legend.get_title() == without.get_title()


def test_points_are_drawn_as_decision_boundary_draws_them():
    X, y = frozen([[-1.0, 0.0], [-0.5, 1.0], [1.0, 0.5]]), frozen([0, 0, 2])
    ax = plots.points(X, y, ["left", "nowhere", "right"])
    both = plots.decision_boundary(lambda X: np.zeros(len(X), int), X, y, ["left", "nowhere", "right"], resolution=5)
    others = [group for group in both.collections if group.get_label() in ("left", "right")]
    for group, other in zip(ax.collections, others, strict=True):
        np.testing.assert_array_equal(group.get_offsets(), other.get_offsets())
        np.testing.assert_array_equal(group.get_facecolor(), other.get_facecolor())
        np.testing.assert_array_equal(group.get_paths()[0].vertices, other.get_paths()[0].vertices)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("x1", "x2", 1.0)
    assert (ax.get_xlim(), ax.get_ylim()) == (both.get_xlim(), both.get_ylim())
    assert ax.get_title() == "3 points, 2 classes"
    assert "Points of each class: left 2, right 1." in plots.describe(ax)
    assert plots.points([[3.0, 3.0]], [0]).get_title() == "1 point, 1 class"


def test_compare_losses_draws_both_curves_and_their_difference():
    other = frozen(np.add(LOSSES, [0, 1e-15, -3e-14]))
    losses, difference = plots.compare_losses({"cnn": LOSSES, "PyTorch": other})
    first, second = losses.lines
    for line, values in ((first, LOSSES), (second, other)):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert first.get_linewidth() > 2 * second.get_linewidth()  # both are visible where they coincide
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    assert first.get_color() != second.get_color()
    assert first.get_zorder() <= second.get_zorder()
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["cnn", "PyTorch"]
    assert (losses.get_title(), losses.get_xlabel(), losses.get_ylabel()) == (
        "Loss per step",
        "step",
        "loss (mean per sample)",
    )
    above, zero = difference.lines
    np.testing.assert_array_equal(above.get_xdata(), [2, 3])
    np.testing.assert_array_equal(above.get_ydata(), np.abs(LOSSES - other)[1:])
    np.testing.assert_array_equal(zero.get_xdata(), [1])
    assert difference.get_yscale() == "log"
    low, high = difference.get_ylim()
    assert low < above.get_ydata().min() / 1.5
    assert high > 1.5 * above.get_ydata().max()
    assert (difference.get_title(), difference.get_xlabel(), difference.get_ylabel()) == (
        "Largest difference 3e-14",
        "step",
        "|difference of the losses|",
    )
    description = plots.describe([losses, difference])
    assert "Lines over 3 steps: cnn from 2.3 to 0.75; PyTorch from 2.3 to 0.75." in description
    assert "Differences over 3 steps, the largest at step 3; exactly 0 at 1 step." in description


def test_compare_losses_that_are_equal_of_one_step_and_on_given_axes():
    pair = plots.panels(2)
    assert plots.compare_losses({"cnn": LOSSES, "PyTorch": LOSSES}, ax=pair) == pair
    assert pair[1].get_title() == "Largest difference 0"
    assert [len(line.get_xdata()) for line in pair[1].lines] == [0, 3]
    assert "exactly 0 at 3 steps" in plots.describe(pair)
    assert pair[1].get_legend().get_texts()[0].get_text() == "exactly 0 (3 steps)"
    losses, difference = plots.compare_losses({"a": [1], "b": [2]})
    assert [line.get_marker() for line in losses.lines] == ["o", "o"]  # a line with one point is invisible
    assert len(difference.lines) == 1
    assert difference.get_legend() is None
    pair[0].figure.draw_without_rendering()
    difference.figure.draw_without_rendering()


def test_compare_seeds_draws_dots_means_and_spreads():
    accuracies = {"cnn": frozen([0.92, 0.94, 0.92]), "PyTorch": frozen([0.93, 0.93, 0.93])}
    ax = plots.compare_seeds(accuracies)
    dots = [group for group in ax.collections if group.get_label() in accuracies]
    bars = [group for group in ax.collections if group.get_label() not in accuracies]
    for i, (group, values) in enumerate(zip(dots, accuracies.values(), strict=True)):
        across, up = np.asarray(group.get_offsets()).T
        np.testing.assert_allclose(up, 100 * values)
        assert len(set(across)) == 3  # equal accuracies stand side by side
        assert np.all(np.abs(across - i) < 0.3)
    assert not np.array_equal(dots[0].get_facecolor(), dots[1].get_facecolor())
    assert not np.array_equal(dots[0].get_paths()[0].vertices, dots[1].get_paths()[0].vertices)
    spread = 100 * np.std([0.92, 0.94, 0.92], ddof=1)
    mean = 278 / 3
    heights = [bar.get_segments()[0][:, 1] for bar in bars]  # mean, error, mean, error
    np.testing.assert_allclose(heights, [[mean, mean], [mean - spread, mean + spread], [93, 93], [93, 93]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cnn\n92.67 ± 1.15 %", "PyTorch\n93.00 ± 0.00 %"]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == (
        "Accuracy over 3 seeds",
        "library: mean ± standard deviation",
        "accuracy (%)",
    )
    assert "cnn mean 92.67 %, standard deviation 1.15, 3 seeds; PyTorch mean 93.00 %" in plots.describe(ax)


def test_compare_seeds_of_one_seed_of_different_counts_and_on_given_axes():
    [given] = plots.panels()
    ax = plots.compare_seeds({"cnn": [0.92], "PyTorch": [0.92]}, ax=given)
    assert ax is given
    assert (ax.get_title(), ax.get_xlabel()) == ("Accuracy over 1 seed", "library: accuracy")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cnn\n92.00 %", "PyTorch\n92.00 %"]
    low, high = ax.get_ylim()
    assert low < 92 < high
    assert "cnn mean 92.00 %, 1 seed;" in plots.describe(ax)
    assert plots.compare_seeds({"a": [0, 1], "b": [1]}).get_title() == "Accuracy over seeds"


def test_numbers_are_in_cells_shaded_by_sign():
    window, kernel = frozen([[1.0, -4.0], [0.0, -0.001]]), frozen([[0.5, 0.25, 10.0]])
    ax = plots.numbers({"window": window, "* kernel": kernel})
    assert texts(ax) == ["1.00", "-4.00", "0.00", "0.00", "window", "0.50", "0.25", "10.00", "* kernel"]
    meshes = ax.collections
    np.testing.assert_allclose(meshes[0].get_array(), window / 4)  # each with its own scale
    np.testing.assert_allclose(meshes[1].get_array(), kernel / 10)
    blue, zero, red = meshes[0].to_rgba([-1.0, 0.0, 1.0])[:, :3]
    assert blue[2] > blue[0] + 0.2
    assert red[0] > red[2] + 0.2
    assert zero.min() > 0.95
    assert np.min([blue, red]) > 0.3  # light enough for dark text
    ends = [mesh.get_datalim(ax.transData) for mesh in meshes]
    assert ends[0].x1 + 0.3 < ends[1].x0
    x, y = ax.texts[1].get_position()  # row 0, column 1, as it is read
    assert ends[0].x0 + 1 < x < ends[0].x1
    assert ends[0].y0 < y < ends[0].y0 + 1
    assert ax.yaxis_inverted()
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("2 matrices", "name under each matrix", "")
    assert (len(ax.get_xticks()), len(ax.get_yticks())) == (0, 0)
    assert "window, 2 x 2, from -4 to 1; * kernel, 1 x 3, from 0.25 to 10." in plots.describe(ax)


def test_numbers_too_small_or_long_for_two_decimals_are_in_scientific_notation():
    assert texts(plots.numbers({"a": [[1e-9, 0.0]]})) == ["1.0e-09", "0.0e+00", "a"]
    assert texts(plots.numbers({"a": [[-1e300, 5.0]]})) == ["-1.0e+300", "5.0e+00", "a"]
    assert texts(plots.numbers({"a": [[0.0, -0.0]]})) == ["0.00", "0.00", "a"]


def test_class_ids_too_large_to_draw_are_rejected():
    with pytest.raises(ValueError, match=r"class ids: expected at most 9,999, got 1,000,000,000"):
        plots.points([[0.0, 1.0], [1.0, 0.0]], [0, 10**9])


def test_points_far_from_zero_are_drawn_exactly():
    far = 1e8 + np.array([[0.0, 0.0], [1.0, 2.0]])  # in float32 both would be the same
    ax = plots.points(far, [0, 1])
    np.testing.assert_array_equal(np.concatenate([group.get_offsets() for group in ax.collections]), far)


def test_numbers_fit_into_their_cells():
    axes = plots.panels(2, 2, width=4, height=2)
    for ax, value in zip(axes, (0.0, -0.25, 123.456, -1e9), strict=True):
        assert plots.numbers({"a": np.full((3, 4), value), "b": [[value]]}, ax=ax) is ax
    alone = plots.numbers({"a": np.full((8, 8), -12.0)})
    assert alone.get_title() == "1 matrix"
    for ax in [*axes, alone]:
        for _ in range(3):
            ax.figure.draw_without_rendering()
        cell = abs(np.subtract(*ax.transData.transform([(0, 0), (1, 0)])[:, 0]))
        for text in ax.texts:
            assert text.get_text() in "ab" or text.get_window_extent().width < cell
    alone.set_title("Ours")
    assert plots.describe(alone).startswith("Ours. x axis: name under each matrix.")


def test_ratios_are_bars_that_start_at_one():
    bars = {"training": {"vgg": (0.5, 0.4, 0.6), "mlp": (2.0, 1.5, 3.0)}, "layers": {"ReLU()": (1.0, 0.9, 1.1)}}
    ax = plots.ratios(bars)
    ends = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in ax.patches]
    assert ends == [[0.5, 1.0], [1.0, 2.0], [1.0, 1.0]]
    faster, slower, even = (bar.get_facecolor() for bar in ax.patches)
    assert faster == even != slower
    np.testing.assert_allclose([line.get_xdata() for line in ax.lines[:3]], [[0.4, 0.6], [1.5, 3.0], [0.9, 1.1]])
    assert list(ax.lines[3].get_xdata()) == [1, 1]
    ticks = ax.get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ["training", "vgg", "mlp", "layers", "ReLU()"]
    assert [tick.get_fontweight() for tick in ticks] == ["bold", "normal", "normal", "bold", "normal"]
    positions = [bar.get_y() + bar.get_height() / 2 for bar in ax.patches]
    np.testing.assert_allclose(positions, [ax.get_yticks()[i] for i in (1, 2, 4)])
    assert ax.yaxis_inverted()
    assert texts(ax) == ["0.50", "2.00", "1.00"]
    assert ax.get_xscale() == "log"
    assert ax.get_title() == "Faster than PyTorch (left of 1) in 2 of 3 cases"
    assert "vgg 0.50; mlp 2.00; ReLU() 1.00" in plots.describe(ax)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_text_beside_the_bars_of_ratios_has_space(scale):
    many = {
        f"Conv2d(64, 64, 3, padding=1, bias=False) {i}": (scale * i / 20, scale * i / 22, scale * i / 18)
        for i in range(1, 41)
    }
    ax = plots.ratios({"single layers": many})
    for _ in range(3):
        ax.figure.draw_without_rendering()
    frame = ax.get_window_extent().padded(1)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    for above, below in pairwise(boxes):
        assert above.y0 >= below.y1 - 1
    labels = [
        tick.label1.get_window_extent()
        for tick in ax.xaxis.get_major_ticks()
        if ax.viewLim.x0 <= tick.get_loc() <= ax.viewLim.x1
    ]
    for left, right in pairwise(labels):
        assert left.x1 < right.x0


def test_invalid_ratios():
    for wrong in ({}, {"training": {}}):
        with pytest.raises(ValueError, match="expected at least one case"):
            plots.ratios(wrong)
    with pytest.raises(ValueError, match="ratios: expected numbers above 0, got -1"):
        plots.ratios({"a": {"b": (1.0, -1.0, 1.0)}})
    with pytest.raises(ValueError, match="ratios: expected finite values"):
        plots.ratios({"a": {"b": (1.0, np.nan, 1.0)}})


def test_filters_are_symmetric_around_zero():
    weight = frozen(np.linspace(-0.5, 2.0, 4 * 2 * 3 * 3).reshape(4, 2, 3, 3))
    ax = plots.filters(weight)
    assert len(ax.images) == 8
    np.testing.assert_array_equal(ax.images[1].get_array(), weight[1, 0])  # a row is an input channel
    assert {image.get_clim() for image in ax.images} == {(-2.0, 2.0)}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("filter (output channel)", "input channel")
    assert ax.figure.axes[1].get_ylabel() == "weight"
    single = plots.filters(weight[:, :1], count=3)
    assert (len(single.images), texts(single)) == (3, ["0", "1", "2"])
    assert single.get_title() == "First 3 of 4 filters, 3 x 3"
    part = plots.filters(np.zeros((1, 3, 1, 1)), channels=1)
    assert "y axis: input channel (first 1 of 3)" in plots.describe(part)  # on two lines, the axes being low


def test_feature_maps_scale_title_and_batch_of_one():
    maps = frozen(np.arange(32.0).reshape(2, 4, 4))
    ax = plots.feature_maps(maps[None], title="conv1")
    np.testing.assert_array_equal(ax.images[1].get_array(), maps[1])
    assert ax.images[0].get_clim() == (0.0, 31.0)
    assert ax.get_title() == "conv1: 2 maps of 4 x 4"
    assert plots.feature_maps(maps - 31).images[0].get_clim() == (-31.0, 31.0)
    assert plots.feature_maps(np.zeros((1, 2, 2))).images[0].get_clim() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("pixels", "low", "high"),
    [(np.full((1, 1, 2, 2), 51, np.uint8), 0.2, 0.2), (np.array([[[[0.25, 0.5]]]]), 0.25, 0.5),
     (np.array([[[[-3.0, 5.0]]]]), 0.0, 1.0), (np.full((1, 3, 2, 2), 0.5, np.float32), 0.5, 0.5)],
)  # fmt: skip
def test_images_are_scaled_from_their_own_range(pixels, low, high):
    shown = plots.samples(frozen(pixels), [0], ["cat"]).images[0].get_array()
    assert shown.shape == (*pixels.shape[2:], *([3] if pixels.shape[1] == 3 else []))
    np.testing.assert_allclose([shown.min(), shown.max()], [low, high], rtol=1e-6)


def test_samples_names_images(images):
    ax = plots.samples(images, np.arange(12) % 2, ["T-shirt/top", "Ankle boot"], count=3)
    assert texts(ax) == ["T-shirt/top", "Ankle boot", "T-shirt/top"]
    assert ax.get_title() == "First 3 of 12 images"


def test_plots_draw_on_the_axes_given(images):
    axes = plots.panels(3, 2)
    labels, scores = np.arange(12) % 3, np.full((12, 3), 1 / 3)
    drawn = [
        plots.confusion(labels, labels, ax=axes[0]),
        plots.mistakes(images, labels, scores, ax=axes[1]),
        plots.decision_boundary(lambda X: np.zeros(len(X), int), np.eye(2), [0, 1], ax=axes[2]),
        plots.filters(np.ones((2, 3, 3, 3)), ax=axes[3]),
        plots.feature_maps(np.ones((2, 3, 3)), ax=axes[4]),
        plots.samples(images, labels, ax=axes[5]),
    ]
    assert drawn == axes
    plain = Figure().add_subplot()  # without a layout engine the legend stays inside
    ax = plots.decision_boundary(lambda X: np.zeros(len(X), int), np.eye(2), [0, 1], ax=plain)
    ax.figure.draw_without_rendering()
    assert ax.bbox.padded(1).contains(*ax.get_legend().get_window_extent().min)


def test_a_notebook_displays_a_figure_with_alternative_text():
    ax = plots.confusion([0, 1], [0, 1])
    data, metadata = ax.figure._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")  # a PNG in base 64
    ax.set_title("Ours")
    assert plots.describe(ax).startswith("Ours. x axis: predicted class; y axis: true class.")
    assert metadata["image/png"]["alt"].startswith("Accuracy 100.0 %")
    assert "share of" not in metadata["image/png"]["alt"]  # the colour bar is not described as a plot


def test_a_notebook_displays_what_every_plot_returns(images):
    """Once, as a picture with alternative text, also when a list of axes is the value of the cell."""
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    labels = np.arange(12) % 3
    history = History(**{name: list(values) for name, values in HISTORY.items()}, seconds=[1.0] * 3)
    values = [
        plots.confusion(labels, labels),
        plots.confusion(np.arange(100), np.arange(100)[::-1]),
        plots.samples(images, labels),
        plots.history(HISTORY),
        plots.history({"train_loss": [1.0]}, ax=plots.panels(2)),
        plots.compare_losses({"cnn": LOSSES, "PyTorch": LOSSES}),
        plots.panels(2),
        history.plot(),
        plots.growth({"batch": ((1, 2.0, 50.0), (2, 3.0, 67.0))}),
    ]
    for value in values:
        data, metadata = formatter.format(value)
        assert data["image/png"].startswith("iVBOR")
        assert metadata["image/png"]["alt"] or value is values[6]
    of_another = Figure().add_subplot()
    data, _ = formatter.format(plots.history(HISTORY, ax=of_another))  # whoever made the figure shows it
    assert "image/png" not in data
    assert "text/plain" in data


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = plots.save(plots.panels(), tmp_path / "a.png")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        plots.save(plots.confusion([0], [0]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.history({"train_loss": []}), "no epoch"),
        (
            lambda: plots.history({"train_loss": [1.0], "val_loss": [1.0, 2.0]}),
            r"val_loss has shape \(2,\), expected 1",
        ),
        (lambda: plots.history(HISTORY, ax=plots.panels(3)), "one axes .* or two .*, got 3"),
        (lambda: plots.confusion([0, 1], [0]), "labels and predictions: expected the same length, got 2 and 1"),
        (lambda: plots.confusion([], []), r"labels: expected class ids.*float64 \(0,\)"),
        (lambda: plots.confusion([0.0], [0]), "labels: expected class ids, integers"),
        (lambda: plots.confusion([-1], [0]), "got a negative one"),
        (lambda: plots.confusion([0], [2], ["a", "b"]), "a name for each of 3 classes, got 2"),
        (lambda: plots.samples(np.zeros((2, 4, 4)), [0, 1]), r"expected shape \(N, 1, H, W\).*got \(2, 4, 4\)"),
        (lambda: plots.samples(np.zeros((1, 1, 2, 2), int), [0]), "expected uint8 or floating values, got int64"),
        (lambda: plots.samples(np.full((1, 1, 2, 2), np.nan), [0]), "images: expected finite values"),
        (lambda: plots.mistakes(np.zeros((2, 1, 2, 2)), [0], [[1.0]]), "images and labels: expected the same length"),
        (lambda: plots.mistakes(np.zeros((1, 1, 2, 2)), [0], [1.0]), r"expected shape \(1, classes\), got \(1,\)"),
        (lambda: plots.mistakes(np.zeros((1, 1, 2, 2)), [0], [[3.0, 1.0]]), "from 0 to 1; predict_proba"),
        (lambda: plots.mistakes(np.zeros((1, 1, 2, 2)), [0], [[1.0]], count=0), "count: expected at least 1, got 0"),
        (lambda: plots.decision_boundary(lambda X: X, np.eye(2), [0, 1]), "predict: expected integer class ids"),
        (
            lambda: plots.decision_boundary(lambda X: X, np.eye(3), [0, 1, 2]),
            r"X: expected .*\(N, 2\), got shape \(3, 3\)",
        ),
        (lambda: plots.filters(np.zeros((2, 3, 3))), r"weight: expected shape \(K, C, KH, KW\), got \(2, 3, 3\)"),
        (lambda: plots.filters(np.full((1, 1, 1, 1), np.inf)), "weight: expected finite"),
        (lambda: plots.feature_maps(np.zeros((2, 3, 4, 4))), r"maps: expected shape .*one image, got \(2, 3, 4, 4\)"),
        (lambda: plots.points(np.eye(3), [0, 1, 2]), r"X: expected .*\(N, 2\), got shape \(3, 3\)"),
        (lambda: plots.points([[np.nan, 0.0]], [0]), "X: expected finite values"),
        (lambda: plots.points(np.eye(2), [0]), "X and y: expected the same length, got 2 and 1"),
        (lambda: plots.points(np.eye(2), [0, 1], ["a"]), "a name for each of 2 classes, got 1"),
        (lambda: plots.compare_losses({"cnn": LOSSES}), "losses: expected two named curves, got 1: cnn"),
        (lambda: plots.compare_losses({}), "losses: expected two named curves, got none"),
        (lambda: plots.compare_losses(dict.fromkeys("abc", LOSSES)), "expected two named curves, got 3: a, b, c"),
        (
            lambda: plots.compare_losses({"cnn": LOSSES, "PyTorch": LOSSES[:2]}),
            "losses of cnn and losses of PyTorch: expected the same length, got 3 and 2",
        ),
        (
            lambda: plots.compare_losses({"cnn": [], "PyTorch": []}),
            r"losses of cnn: expected shape \(steps,\), at least one step, got \(0,\)",
        ),
        (lambda: plots.compare_losses({"a": LOSSES, "b": [LOSSES]}), r"losses of b: expected .* got \(1, 3\)"),
        (lambda: plots.compare_losses({"a": LOSSES, "b": [1.0, np.nan, 2.0]}), "losses of b: expected finite values"),
        (
            lambda: plots.compare_losses({"a": LOSSES, "b": ["1", "2", "3"]}),
            "losses of b: expected real numbers, got <U1",
        ),
        (
            lambda: plots.compare_losses({"a": LOSSES, "b": LOSSES}, ax=plots.panels(3)),
            r"ax: expected two axes \(losses, difference\), got 3",
        ),
        (lambda: plots.compare_losses({"a": LOSSES, "b": LOSSES}, ax=plots.panels()[0]), "expected two axes .*, got 1"),
        (lambda: plots.compare_seeds({}), "accuracies: expected at least one name with its accuracies, got none"),
        (lambda: plots.compare_seeds({"cnn": []}), r"accuracies of cnn: expected .* at least one seed, got \(0,\)"),
        (lambda: plots.compare_seeds({"cnn": 0.92}), r"accuracies of cnn: expected shape \(seeds,\).*got \(\)"),
        (
            lambda: plots.compare_seeds({"cnn": [0.9, 92.5]}),
            "accuracies of cnn: expected fractions from 0 to 1, got 92.5",
        ),
        (lambda: plots.compare_seeds({"cnn": [0.9, -0.5]}), "expected fractions from 0 to 1, got -0.5"),
        (lambda: plots.compare_seeds({"cnn": [np.inf]}), "accuracies of cnn: expected finite values"),
        (lambda: plots.numbers({}), "matrices: expected at least one named matrix, got none"),
        (lambda: plots.numbers({"kernel": [1.0, 2.0]}), r"kernel: expected shape \(rows, columns\), got \(2,\)"),
        (lambda: plots.numbers({"kernel": np.zeros((0, 2))}), r"kernel: expected shape .*, got \(0, 2\)"),
        (lambda: plots.numbers({"kernel": np.zeros((9, 2))}), "kernel: expected at most 8 x 8 numbers, got 9 x 2"),
        (lambda: plots.numbers({"kernel": [[np.nan]]}), "kernel: expected finite values"),
        (lambda: plots.save(plots.panels(), "a.jpg"), r"ends in .png, got 'a.jpg'"),
        (lambda: plots.save([], "a.png"), "nothing to save"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_saving_into_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; make it before saving"):
        plots.save(plots.panels(), tmp_path / "missing" / "a.png")
