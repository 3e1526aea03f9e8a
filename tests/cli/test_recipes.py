"""`cnn train --recipe`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn.cli import datasets, train_recipes
from cnn.cli.train_settings import RECIPES, settings_for
from cnn.optim import AdamW
from cnn.sequential import Sequential
from tests.cli.example_files import config, history
from tests.cli.test_train_stopped import stop_after

FOLDER = Path("runs", "fashion-mnist-1")
TRANSFORMS_TEXT = {"fast": "flipped", "best": "shifted, flipped and partly erased"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_train_with_a_recipe(run, data, no_plots, recipe):
    code, _, err = run("train", "fashion-mnist", "--recipe", recipe, "--epochs", "3", "--batch-size", "16")
    assert code == 0
    assert "fashion-cnn, 288,170 parameters" in err
    assert (
        f"3 epochs, batch size 16, AdamW, lr increasing to 0.01 and decreasing to 0, images {TRANSFORMS_TEXT[recipe]}"
        in err
    )
    expected = RECIPES[recipe]
    settled = config(FOLDER)
    assert (settled["recipe"], settled["model"], settled["lr"]) == (recipe, expected.model, expected.lr)
    assert settled["lr_schedule"] == "one cycle"
    assert settled["epochs"] == 3
    assert settled["test_accuracy"] > 0.4  # eight of the ten classes look like another one when flipped
    assert len(history(FOLDER)) == 3
    assert sum(p.size for p in Sequential.load(FOLDER / "model.safetensors").parameters()) < 300_000


def test_a_recipe_that_was_stopped_resumes_to_the_same_result(run, data, no_plots, monkeypatch):
    command = ("train", "fashion-mnist", "--recipe", "best", "--epochs", "2", "--batch-size", "32", "--quiet")
    assert run(*command)[0] == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 8, KeyboardInterrupt())  # an epoch has 6 steps
        assert run(*command)[0] == 130
    second = FOLDER.with_name("fashion-mnist-2")
    assert run("train", "--resume", second, "--quiet")[0] == 0
    for name in ("model.safetensors", "history.jsonl"):
        assert (second / name).read_bytes() == (FOLDER / name).read_bytes()


TRANSFORMS = {
    "fast": ["AlternatingFlip()"],
    "best": [
        "RandomCrop(padding=1, edge='zero')",
        "AlternatingFlip()",
        "RandomErasing(p=0.25, area=(0.02, 0.4))",
    ],
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_parts_of_the_recipes(data, name):
    dataset = datasets.load("fashion-mnist", 0)
    plan = train_recipes.plan(dataset, replace(RECIPES[name], batch_size=32))
    model, optimizer = plan.model, plan.model.optimizer
    assert isinstance(optimizer, AdamW)
    assert optimizer.betas == (0.9, 0.99)
    decays = {p.shape: group.weight_decay for group in optimizer.param_groups for p in group.params}
    assert all(decay == (0.05 if len(shape) > 1 else 0) for shape, decay in decays.items())
    assert len(decays) > 5
    assert model.loss_func.label_smoothing == 0.1
    *transforms, last = plan.loader.transforms
    assert [repr(transform) for transform in transforms] == TRANSFORMS[name]
    assert type(last).__name__ == "Normalize"
    steps = RECIPES[name].epochs * len(plan.loader)
    rates = [plan.callbacks[0].schedule.rate(0.01 / 25, t) for t in range(steps)]
    assert max(rates) == pytest.approx(0.01, rel=0.1)
    assert int(np.argmax(rates)) == pytest.approx(0.2 * steps, abs=1)
    assert rates[-1] < 1e-6
    x, _ = next(iter(plan.loader))
    assert (x.dtype, x.shape[1:]) == (np.float32, (1, 28, 28))


def test_the_default_training_has_no_callbacks_with_state(data):
    """Checkpoints contain their names, and those of runs before recipes existed contain only Health."""
    assert train_recipes.plan(datasets.load("fashion-mnist", 0), settings_for("fashion-mnist")).callbacks == []


def test_the_test_loss_has_no_label_smoothing(run, data, no_plots):
    """Unlike the training loss."""
    assert run("train", "fashion-mnist", "--recipe", "fast", "--epochs", "1", "--batch-size", "16", "--quiet")[0] == 0
    model, (x, y) = Sequential.load(FOLDER / "model.safetensors"), datasets.load("fashion-mnist", 0).test
    p = model.predict_proba(model.preprocess(x))[np.arange(len(y)), y]
    assert config(FOLDER)["test_loss"] == pytest.approx(-np.log(p).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist", "--recipe", "best"), "--recipe best is for fashion-mnist, on which its settings were chosen"),
        (("spiral", "--recipe", "fast"), "--recipe fast is for fashion-mnist"),
        (("fashion-mnist", "--recipe", "bets"), "argument --recipe: unknown recipe 'bets': did you mean 'best'?"),
        (("fashion-mnist", "--recipe", "best", "--epochs", "1", "--batch-size", "500"), "at least 10 steps"),
        (
            ("--resume", "r", "--recipe", "fast"),
            "only --epochs, --fine-tune, --data and --from may change, not --recipe",
        ),
    ],
)
def test_wrong_usage(run, data, arguments, message):
    code, out, err = run("train", *arguments)
    assert (code, out) == (1 if "10 steps" in message else 2, "")
    assert message in err
