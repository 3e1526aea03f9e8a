"""`cnn train FOLDER --augment`: which random changes the images get, and how `auto` decides."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnn
from cnn.cli import augmentation, datasets, run_folders, trial_losses, trials
from cnn.cli.augmentation import AUTO, EARLIER, NAMES, transforms
from cnn.cli.terminal import fitted
from cnn.cli.train_settings import settings_for
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError
from cnn.training import progress
from cnn.training.progress import LiveLine, Progress


def arrows(folder, count=24, classes=("left", "right"), size=16):
    """Write bright wedges on noise that point to the left or to the right: a flip changes their class."""
    rng = np.random.default_rng(0)
    for name in classes:
        path = Path(folder) / name
        path.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 90, (size, size), dtype=np.uint8)
            top, left = rng.integers(1, size - 10, 2)
            for row in range(9):
                width = 1 + min(row, 8 - row)
                pixels[top + row, left : left + width] = 250  # a wedge to the right
            Image.fromarray(pixels[:, ::-1] if name == "left" else pixels).save(path / f"{i}.png")


def load(folder, **chosen):
    settings = settings_for(folder, image_size=16, **chosen)
    return datasets.load(folder, settings.seed, True, settings.image_size, settings.validation), settings


def kinds(name, size=(64, 64)):
    return [type(transform).__name__ for transform in transforms(name, size)]


# the words


def test_what_each_word_means():
    assert kinds("none") == []
    assert kinds("flip") == ["HorizontalFlip"]
    assert kinds("light") == ["RandomCrop", "Brightness", "Contrast"]
    assert kinds("strong") == ["RandomCrop", "Rotation", "Brightness", "Contrast"]
    for name in ("light", "strong"):
        assert kinds(f"{name}+flip") == ["HorizontalFlip", *kinds(name)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5, 3, 16, 16), (5, 1, 64, 40)])
def test_every_word_changes_images_of_every_size(name, shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    changed, y = x, np.arange(5)
    for i, transform in enumerate(transforms(name, shape[2:])):
        changed, y = transform(changed, y, SampleRNG(0, 1, np.arange(5), i))
    assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
    assert np.array_equal(changed, x) == (name == "none")


@pytest.mark.parametrize("name", ["light", "strong"])
def test_a_light_background_stays_light(name):
    x = np.full((20, 3, 32, 32), 255, np.uint8)
    y = np.arange(20)
    for i, transform in enumerate(transforms(name, (32, 32))):
        x, y = transform(x, y, SampleRNG(0, 1, np.arange(20), i))
    assert np.ptp(x, axis=(1, 2, 3)).max() == 0  # nothing black comes in from outside


def test_the_word_is_checked(run):
    arrows("f")
    code, _, err = run("train", "f", "--augment", "storng")
    assert code == 2
    assert "unknown kind of changes 'storng': did you mean 'strong'?" in err
    code, _, err = run("train", "mnist", "--augment", "flip")
    assert code == 2
    assert "--augment is for a folder of images: it cannot change mnist" in err


def test_help_names_every_word(run):
    text = " ".join(run("train", "--help")[1].split())
    assert all(name in text for name in (*NAMES, AUTO))


# what is written and printed


def test_the_changes_stand_in_the_output_in_config_and_in_an_image(run):
    arrows("f")
    code, out, err = run("train", "f", "--epochs", 1, "--image-size", 16, "--augment", "light+flip", "--out", "run")
    assert code == 0
    assert out.splitlines()[-1].endswith("samples.png, predictions.csv, images.json")
    made = [repr(transform) for transform in transforms("light+flip", (16, 16))]
    assert f"  changes   light+flip: {', '.join(made)}\n" in err  # one line, which a terminal breaks
    config = run_folders.read_config(Path("run/model.safetensors"))
    assert config["augment"] == "light+flip"
    assert config["augmentation"] == {"chosen": "light+flip", "transforms": made}
    with Image.open("run/samples.png") as image:
        assert min(image.size) > 400


def test_samples_show_each_class_and_name_it_once(monkeypatch):
    from cnn.report import plots

    labels = []
    monkeypatch.setattr(plots, "save", lambda axes, path: labels.extend(text.get_text() for text in axes.texts))
    arrows("f")
    dataset = datasets.load("f", 0, quiet=True, image_size=16)
    augmentation.fixed("flip", dataset).draw(dataset, 0, Path("samples.png"))
    rows = [label.split("\n") for label in labels]
    assert {name for name, _ in rows} == set(dataset.class_names)
    assert len(rows) == 6
    assert all("/" not in file and file.endswith(".png") for _, file in rows)


def test_without_changes_there_is_no_image_of_them(run):
    arrows("f")
    code, out, err = run("train", "f", "--epochs", 1, "--image-size", 16, "--augment", "none", "--out", "run")
    assert code == 0
    assert "the images stay as they are" in err
    assert not Path("run/samples.png").exists()
    assert "samples.png" not in out


# auto


@pytest.fixture(scope="module")
def chosen_for_arrows(tmp_path_factory):
    """What trials of arrows to the left and to the right choose, and what they print."""
    folder = tmp_path_factory.mktemp("auto") / "arrows"
    arrows(folder, 40)
    dataset, settings = load(str(folder), epochs=12, model="small-cnn")
    lines: list[str] = []
    return trials.choose(dataset, settings, lines.append), lines, dataset, settings


def test_auto_does_not_flip_arrows(chosen_for_arrows):
    changes, lines, _, _ = chosen_for_arrows
    assert not changes.name.endswith("flip")
    by_name = {trial["name"]: trial for trial in changes.trials}
    [flipped] = [name for name in by_name if name.endswith("flip")]
    assert by_name[flipped]["accuracy"] < 0.75 < by_name[changes.name]["accuracy"]
    assert changes.name in lines[-1]
    assert all(any(name in line for line in lines) for name in by_name)


def test_how_trials_are_made_is_one_line_which_a_terminal_breaks(chosen_for_arrows):
    changes, lines, _, _ = chosen_for_arrows
    assert lines[1] == f"  {changes.how}"
    assert fitted(lines[1], 60).count("\n") == 2


def test_one_epoch_is_not_plural(monkeypatch):
    arrows("f")
    dataset, settings = load("f", epochs=1, model="mlp")
    monkeypatch.setattr(trials, "trial", lambda *_: (np.ones(len(dataset.train[0])), 0.5))
    assert "two trainings of 1 epoch with half of" in trials.choose(dataset, settings, lambda line: None).how


def test_trials_are_reproducible(chosen_for_arrows):
    changes, lines, dataset, settings = chosen_for_arrows
    again: list[str] = []
    assert trials.choose(dataset, settings, again.append) == changes
    assert again == lines


@pytest.mark.parametrize("threads", [1, 2])
def test_trials_are_reproducible_with_the_same_number_of_threads(threads):
    """Another number may give other bits, as in the training itself."""
    arrows("f", 8)
    dataset, settings = load("f", epochs=8, model="small-cnn")
    before = cnn.get_num_threads()
    cnn.set_num_threads(threads)
    try:
        first, second = (trials.choose(dataset, settings, lambda line: None) for _ in range(2))
    finally:
        cnn.set_num_threads(before)
    assert first == second


def test_trials_use_no_validation_or_test_image(chosen_for_arrows):
    changes, _, dataset, settings = chosen_for_arrows
    nothing = np.zeros_like(dataset.validation[0]), np.zeros_like(dataset.validation[1])
    blind = dataclasses.replace(dataset, validation=nothing, test=nothing)
    assert trials.choose(blind, settings, lambda line: None) == changes


def test_halves_have_all_classes_and_no_image_in_common(chosen_for_arrows):
    _, _, dataset, _ = chosen_for_arrows
    a, b = trials.halve(dataset, seed=3)
    for half, other in ((a, b), (b, a)):
        assert half.train[0] is other.validation[0]
        assert min(np.bincount(half.train[1])) >= 14  # of 32
    assert len(a.train[0]) + len(b.train[0]) == len(dataset.train[0])


def test_images_of_the_same_name_are_in_one_half():
    """Such as the emoji of several vendors: a net that has learned one of them is not judged on the other."""
    for vendor in ("left", "right"):
        arrows("f", 30, classes=(vendor,))
    dataset, _ = load("f")
    labels = dataset.train[1]
    assert dataset.train_groups[0] == dataset.train_files[0].split("/")[-1]
    for seed in range(5):
        first = trials.first_half(dataset.train_groups, labels, seed)
        sides = {}
        for name, side in zip(dataset.train_groups, first.tolist(), strict=True):
            assert sides.setdefault(name, side) == side
        assert abs(np.diff([np.bincount(labels[first]), np.bincount(labels[~first])], axis=0)).max() <= 2
        assert len(set(sides.values())) == 2


def test_copies_are_in_one_half():
    """The same picture under different names would be judged by a net that was trained on it."""
    arrows("f", 40)
    for name in ("left", "right"):
        for i in range(0, 40, 2):
            Path(f"f/{name}/{i + 1}.png").write_bytes(Path(f"f/{name}/{i}.png").read_bytes())
    dataset, _ = load("f")
    for seed in range(3):
        a, b = trials.halve(dataset, seed)
        pictures = [{image.tobytes() for image in half.train[0]} for half in (a, b)]
        assert not pictures[0] & pictures[1]
        assert abs(len(a.train[0]) - len(b.train[0])) <= 4


def moved(folder, number):
    """Move images into folders inside the class folders."""
    for path in sorted(Path(folder).glob("*/*.png")):
        to = path.parent / f"p{int(path.stem) // number}" / f"{int(path.stem) % number}.png"
        to.parent.mkdir(exist_ok=True)
        path.rename(to)


@pytest.mark.parametrize("split", ["", "train/"])
def test_images_of_a_folder_inside_the_class_folder_are_in_one_half(split):
    """Such as the views of one thing, or the frames of a video; frames of the same number are not related."""
    arrows(f"f/{split}", 60)
    moved(f"f/{split}", 3)
    if split:
        arrows("f/val", 4)
    dataset, _ = load("f")
    assert set(dataset.train_groups) == {f"p{i}/" for i in range(20)}
    halves = trials.halve(dataset, seed=0)
    groups = [set(half.train_groups) for half in halves]
    assert not groups[0] & groups[1]
    assert abs(len(halves[0].train[0]) - len(halves[1].train[0])) <= 6


def test_groups_that_leave_classes_out_of_a_half_are_divided():
    """Such as a folder inside each class folder."""
    arrows("f", 40)
    for name in ("left", "right"):
        Path(f"f/{name}").rename("x")
        Path(f"f/{name}").mkdir()
        Path("x").rename(f"f/{name}/images of {name}")
    dataset, _ = load("f")
    assert len(set(dataset.train_groups)) == 2
    for half in trials.halve(dataset, seed=0):
        assert min(np.bincount(half.train[1], minlength=2)) >= 14


def test_large_images_and_large_folders_are_made_smaller():
    x = np.random.default_rng(0).integers(0, 256, (2_500, 1, 64, 80), dtype=np.uint8)
    dataset = datasets.Dataset("a", "a", "a", "images", ["a", "b"], (x, np.arange(2_500) % 2), (x, x), (x, x))
    for half in trials.halve(dataset, seed=0):
        assert half.train[0].shape == (trials.IMAGES // 2, 1, 32, 40)
    assert trials.reduced(x[:3, :, :30]).shape == (3, 1, 30, 80)


def test_a_trial_has_a_fixed_number_of_steps(monkeypatch):
    arrows("f")
    dataset, settings = load("f", epochs=24)
    epochs = []

    def trial(halves, settings, name, progress):
        epochs.append(settings.epochs)
        return np.linspace(1, 2, len(dataset.train[0])), 0.5

    monkeypatch.setattr(trials, "trial", trial)
    changes = trials.choose(dataset, settings, lambda line: None)
    assert epochs == [6] * len(changes.trials)  # four trials see as many images as 24 epochs
    assert len(changes.trials) == trials.TRIALS
    assert "6 epochs" in changes.how


@pytest.mark.parametrize(
    ("images", "side", "epochs", "expected"),
    [
        (200, 32, 50, 12),  # as large as in the trials: a quarter of the training each
        (200, 64, 50, 31),  # 64^2 + 1,024 is two and a half times 32^2 + 1,024
        (200, 16, 50, 12),
        (200, 256, 50, 100),  # then a trial has as many steps as the training
        (4_000, 64, 50, 20),  # SEEN
        (200, 32, 2, 1),  # at least one
    ],
)
def test_all_trials_together_cost_at_most_as_much_as_the_training(images, side, epochs, expected):
    x = np.zeros((images, 1, side, side), np.uint8)
    dataset = datasets.Dataset("a", "a", "a", "images", ["a", "b"], (x, np.arange(images) % 2), (x, x), (x, x))
    halves = trials.halve(dataset, seed=0)
    found = trials.trial_epochs(dataset, halves, epochs)
    assert found == expected
    cost = trials.TRIALS * found * sum(len(half.train[0]) * (half.train[0][0].size + trials.FIXED) for half in halves)
    assert cost <= max(epochs, trials.TRIALS) * images * (side**2 + trials.FIXED)


def test_a_terminal_shows_the_steps_of_a_trial():
    arrows("f", 6)
    dataset, settings = load("f", epochs=8, model="mlp")
    shown = []

    class Shown(Progress):
        def show(self, step, samples=0):
            shown.append((step.epoch, step.epochs, samples))

    trials.choose(dataset, settings, lambda line: None, Shown())
    assert [step[:2] for step in shown] == [(epoch, 4) for epoch in (1, 2, 3, 4)] * trials.TRIALS  # two of each half
    assert sum(samples for _, _, samples in shown) == trials.TRIALS * 2 * len(dataset.train[0])


@pytest.mark.parametrize(("answer", "kind"), [(True, LiveLine), (False, Progress)])
def test_only_a_terminal_shows_them(monkeypatch, answer, kind):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "is_terminal", lambda stream: answer)
    assert type(trials.live_line()) is kind


NOISE = np.random.default_rng(0).normal(0, 0.2, 400)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ({"none": 0.5, "light": 0.3, "strong": 0.5, "light+flip": 0.2}, "light+flip"),
        ({"none": 0.5, "light": 0.3, "strong": 0.5, "light+flip": 0.31}, "light+flip"),  # by chance a little worse
        ({"none": 0.5, "light": 0.3, "strong": 0.5, "light+flip": 0.4}, "light"),
        ({"none": 0.2, "light": 0.3, "strong": 0.5, "flip": 0.4}, "none"),
        ({"none": 0.2, "light": 0.3, "strong": 0.5, "flip": 0.1}, "flip"),
        ({"none": 0.5, "light": 0.3, "strong": 0.2, "strong+flip": 0.1}, "strong+flip"),
        ({"none": 0.299, "light": 0.3, "strong": 0.299, "light+flip": 0.4}, "light"),  # by chance a little better
        ({"none": 0.7, "light": 0.7, "strong": 0.7, "light+flip": 0.7}, "light"),  # no trial has learned anything
    ],
)
def test_the_rule(means, expected):
    """Only what is better by more than chance replaces the slight changes; only the trials that it needs are made."""
    made = []

    def run(name):
        made.append(name)
        return means[name] + np.roll(NOISE, len(name))

    y, images = np.arange(400) % 2, [str(i) for i in range(400)]
    assert trial_losses.decide(run, y, images) == expected
    assert made[:3] == ["none", "light", "strong"]
    assert len(made) == 4


def test_images_of_a_group_count_as_one():
    """Fifty frames each of four videos, of which three got better by a little and one much worse."""
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c", "d"], 50)
    before = rng.normal(1, 0.1, 200)
    after = before - np.repeat([0.6, 0.5, 0.5, -0.6], 50)
    assert trial_losses.is_better(after, before)  # as if all images were independent
    a, b = (trial_losses.by_group(losses, groups) for losses in (after, before))
    assert not trial_losses.is_better(a, b)
    assert (a.mean(), len(a)) == (pytest.approx(after.mean()), 4)
    assert trial_losses.by_group(before, [str(i) for i in range(200)]).sum() == pytest.approx(before.sum())


def test_a_trial_has_a_loss_a_class_and_a_group_for_each_image():
    arrows("f", 40)
    moved("f", 4)
    dataset, settings = load("f", epochs=1, model="mlp")
    halves = trials.halve(dataset, 0)
    losses, _ = trials.trial(halves, settings, "none")
    y, groups = trials.trial_labels(halves)
    assert len(losses) == len(y) == len(groups) == len(dataset.train[0])
    assert sorted(groups) == sorted(dataset.train_groups)
    assert len(trial_losses.by_group(losses, groups)) == len(set(dataset.train_groups)) < len(losses)
    assert {*zip(groups, y.tolist(), strict=True)} == {
        *zip(dataset.train_groups, dataset.train[1].tolist(), strict=True)
    }


def test_another_seed_is_no_better():
    """Trainings on the same images with other seeds had losses from 0.438 to 0.524, each with a small standard error."""
    losses = np.random.default_rng(0).normal(0.48, 0.01, 150)
    assert not trial_losses.is_better(losses, losses + 0.04)
    assert trial_losses.is_better(losses, losses + 0.08)


def test_one_group_tells_nothing():
    assert not trial_losses.is_better(np.array([0.1]), np.array([0.9]))


def harmless(changed, before, y, groups=None):
    """Return whether changes do no harm, for images that are independent unless there are groups."""
    return trial_losses.is_harmless(changed, before, y, groups or [str(i) for i in range(len(y))], guessing=0.69)


def test_few_images_cannot_tell_that_flips_do_no_harm():
    losses, y = np.random.default_rng(0).normal(0.48, 0.3, (2, 400)), np.arange(400) % 2
    assert harmless(*losses, y)
    assert not harmless(*losses[:, :99], y[:99])
    assert not harmless(losses[0] + 0.06, losses[1], y)


def test_two_mirrored_classes_among_many():
    """Their loss rises, that of all images hardly: flips are refused. A rise of one class by chance does not matter."""
    rng = np.random.default_rng(0)
    before, y = rng.gamma(2, 0.25, 400), np.repeat(np.arange(10), 40)
    by_chance = np.where(y == 3, rng.normal(0.1, 0.3, 400), 0)
    assert harmless(before + by_chance, before, y)
    mirrored = np.where(y < 2, rng.normal(0.3, 0.3, 400), -0.02)
    assert mirrored.mean() < 0.1 * before.mean()
    assert not harmless(before + mirrored, before, y)
    small = np.where(y == 3, 0.02, 0)  # in all images of a class, but little
    assert harmless(before + small, before, y)


@pytest.mark.parametrize(("balance", "loss"), [(False, -0.9 * np.log(0.9) - 0.1 * np.log(0.1)), (True, np.log(2))])
def test_the_loss_of_guessing(balance, loss):
    """A trial that has learned nothing has this loss: no change of the images looks harmless there."""
    y = np.repeat([0, 1], [90, 10])
    assert trial_losses.guessing_loss(y, balance) == pytest.approx(loss)
    shares = np.full((100, 2), [0.5, 0.5] if balance else [0.9, 0.1])
    weights = np.array([100 / 180, 100 / 20]) if balance else np.ones(2)
    assert trial_losses.calibrated_losses(shares, y, weights[y]).mean() == pytest.approx(loss)


def test_calibration_does_not_reward_confidence():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(300, 4)), rng.integers(0, 4, 300)
    logits[np.arange(300), y] += 1

    def probabilities(logits):
        exp = np.exp(logits)
        return exp / exp.sum(axis=1, keepdims=True)

    losses = [trial_losses.calibrated_losses(probabilities(scale * logits), y).mean() for scale in (0.5, 1, 3)]
    assert np.ptp(losses) < 1e-3
    assert losses[1] <= -np.log(probabilities(logits)[np.arange(300), y]).mean()


# resume


def test_resume_reuses_the_choice(run, monkeypatch):
    arrows("f")
    code, _, _ = run("train", "f", "--epochs", 1, "--image-size", 16, "--model", "small-cnn", "--out", "run")
    assert code == 0
    before = json.loads(Path("run/config.json").read_text())
    assert before["augment"] == AUTO
    assert len(before["augmentation"]["trials"]) >= 4
    monkeypatch.setattr(trials, "trial", None)
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert (code, err.count("--augment auto")) == (0, 0)
    after = json.loads(Path("run/config.json").read_text())
    assert (after["epochs"], after["status"]) == (2, "finished")
    assert after["augmentation"] == before["augmentation"]


def test_a_run_from_before_the_choice_is_resumed_with_what_was_done_then():
    arrows("f")
    dataset, _ = load("f")
    changes = augmentation.recorded({"epochs": 1}, dataset)
    assert [repr(transform) for transform in changes.transforms] == [
        "HorizontalFlip(p=0.5)",
        "RandomCrop(padding=2, edge='reflect')",
        "Rotation(degrees=10.0)",
        "Brightness(amount=0.2)",
        "Contrast(amount=0.2)",
    ]
    assert changes.name == EARLIER


@pytest.mark.parametrize("record", [None, 3, "light", {}, {"chosen": "upside down"}, {"chosen": ["light"]}])
def test_a_damaged_record_is_refused(record):
    arrows("f")
    dataset, _ = load("f")
    with pytest.raises(
        InputError, match=r"config.json is damaged: augmentation must (be an object|name one of none, flip)"
    ):
        augmentation.recorded({"augmentation": record}, dataset)


def test_a_folder_of_four_images_can_be_tried(run, no_plots):
    arrows("f", 2)
    code, _, err = run("train", "f", "--epochs", 1, "--image-size", 16, "--out", "run")
    assert code == 0, err
    assert "chosen: light" in err  # nothing can be told from so few


def test_quiet_trials_print_nothing(run, no_plots):
    arrows("f", 2)
    assert run("train", "f", "--epochs", 1, "--image-size", 16, "--quiet", "--out", "run") == (0, "", "")


def test_trials_leave_the_training_as_it_is(run, no_plots):
    arrows("f", 12)
    options = ("train", "f", "--epochs", 2, "--image-size", 16, "--quiet", "--out")
    assert run(*options, "auto")[0] == 0
    chosen = json.loads(Path("auto/config.json").read_text())["augmentation"]["chosen"]
    assert run(*options, "fixed", "--augment", chosen)[0] == 0
    for name in ("history.jsonl", "model.safetensors"):
        assert Path("auto", name).read_bytes() == Path("fixed", name).read_bytes()
