"""The pictures: what is drawn, that it is labelled, that nothing else changes, and that files are whole and equal."""

import os
import subprocess
import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from cnn.report import plots

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


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def images():
    return frozen(np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6)), np.uint8)


def every_picture(images):
    """One picture of each kind, from read-only arrays; each as a list of axes."""
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
    }


def test_every_picture_is_labelled_described_and_saved_twice_alike(images, tmp_path):
    settings = dict(mpl.rcParams)
    for name, axes in every_picture(images).items():
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


def test_no_text_is_cut_and_no_captions_overlap(images):
    long_names = ["T-shirt/top", "Ankle boot", "something with a very long name indeed"]
    labels, other = np.arange(12) % 3, (np.arange(12) + 1) % 3
    pictures = [axes[0] for axes in every_picture(images).values()]
    pictures += [plots.confusion(labels, other, long_names), plots.confusion([0, 1], [0, 1], ["even", "odd"])]
    pictures += [
        plots.samples(images, labels, long_names),
        plots.mistakes(images, labels, np.eye(3)[other], long_names),
    ]
    left, right = plots.panels(2)
    pictures += [plots.samples(images, labels, long_names, ax=left), plots.feature_maps(images[:, 0], ax=right)]
    for ax in pictures:
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
        boxes = [text.get_window_extent() for text in ax.texts]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(later) for later in boxes[i + 1 :]), (ax.get_title(), ax.texts[i])


def test_figures_never_reach_pyplot(images):
    code = (
        "import sys, cnn.report; assert 'matplotlib' not in sys.modules\n"
        "from cnn.report import plots; plots.history({'train_loss': [1.0]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    import matplotlib.pyplot as plt

    every_picture(images)
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
    assert not blank.axison


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
    assert "cat is taken for dog, 1 times" in plots.describe(ax)


def test_confusion_of_a_class_without_samples_and_of_many_classes():
    assert np.isfinite(plots.confusion([0, 0], [0, 2]).images[0].get_array()).all()
    ax = plots.confusion(np.arange(20), np.arange(20), [f"class number {k}" for k in range(20)])
    assert ax.get_xticklabels()[0].get_rotation() == 45
    assert len(ax.texts) == 400


def test_mistakes_are_the_surest_first(images):
    scores = frozen([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.99, 0.01]])
    ax = plots.mistakes(images[:4], frozen([0, 0, 0, 1]), scores, ["cat", "dog"], count=2)
    assert texts(ax) == ["99% cat\nis dog", "80% dog\nis cat"]
    np.testing.assert_allclose(ax.images[0].get_array(), images[3, 0] / 255, rtol=1e-6)
    assert ax.get_title() == "3 of 4 wrong, the 2 surest"


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
    assert ax.get_title() == "Predicted class (100.0 % right)"


def test_decision_boundary_of_one_region_and_one_point():
    ax = plots.decision_boundary(lambda X: np.zeros(len(X), int), [[3.0, 3.0]], [0], resolution=5)
    assert ax.get_xlim() == (2.0, 4.0)


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
def test_pictures_are_shown_in_their_own_range(pixels, low, high):
    shown = plots.samples(frozen(pixels), [0], ["cat"]).images[0].get_array()
    assert shown.shape == (*pixels.shape[2:], *([3] if pixels.shape[1] == 3 else []))
    np.testing.assert_allclose([shown.min(), shown.max()], [low, high], rtol=1e-6)


def test_samples_names_pictures(images):
    ax = plots.samples(images, np.arange(12) % 2, ["T-shirt/top", "Ankle boot"], count=3)
    assert texts(ax) == ["T-shirt/top", "Ankle boot", "T-shirt/top"]
    assert ax.get_title() == "First 3 of 12 pictures"


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


def test_a_figure_shows_itself_in_a_notebook_with_alternative_text():
    ax = plots.confusion([0, 1], [0, 1])
    data, metadata = ax.figure._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")  # a PNG in base 64
    ax.set_title("Ours")
    assert plots.describe(ax).startswith("Ours. x axis: predicted class; y axis: true class.")
    assert metadata["image/png"]["alt"].startswith("Accuracy 100.0 %")
    assert "share of" not in metadata["image/png"]["alt"]  # the colour bar is no picture of its own


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
        (lambda: plots.feature_maps(np.zeros((2, 3, 4, 4))), r"maps: expected shape .*one picture, got \(2, 3, 4, 4\)"),
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
