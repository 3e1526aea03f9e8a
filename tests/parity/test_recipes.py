"""The PyTorch counterparts in benchmarks/recipes.py train as the recipes do."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cnn
from cnn.bench import pytorch
from cnn.cli import train_recipes
from cnn.cli.datasets import Dataset
from cnn.cli.train_settings import RECIPES, settings_for
from tests.parity.oracle import give_weights

spec = importlib.util.spec_from_file_location("recipes_script", Path(__file__).parents[2] / "benchmarks" / "recipes.py")
recipes_script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipes_script)


@pytest.mark.parametrize("recipe", [None, *RECIPES])
def test_24_steps_in_float64(recipe):
    """From the same weights on the same augmented images: the same losses and learning rates."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (48, 1, 28, 28)).astype(np.uint8), rng.integers(0, 10, 48)
    task = Dataset("made up", "", "", "images", [str(k) for k in range(10)], (x, y), (x, y), (x, y))
    chosen = replace(settings_for("fashion-mnist", recipe=recipe), epochs=6, batch_size=12)
    cnn.manual_seed(0)
    plan = train_recipes.plan(task, chosen)
    ours = plan.model.to(np.float64).train()
    theirs = pytorch.counterpart(ours, without_softmax=True).double().train()
    give_weights(ours, theirs)
    for dropout in (*ours.modules(), *theirs.modules()):
        if type(dropout).__name__ == "Dropout":
            dropout.p = 0.0  # the two draw other masks
    loss_func, optimizer, schedule = recipes_script.loss_optimizer_schedule(theirs, chosen, len(plan.loader))
    steps = 0
    for _ in range(chosen.epochs):
        for batch, labels in plan.loader:
            for group, their_group in zip(ours.optimizer.param_groups, optimizer.param_groups, strict=True):
                assert group.lr == pytest.approx(their_group["lr"], abs=1e-12)
            batch = batch.astype(np.float64)
            loss, _ = ours.loss_and_grad(batch, labels)
            ours.optimizer.step()
            ours.zero_grad()
            steps += 1
            if recipe is None:
                ours.optimizer.lr = chosen.lr * (1 - steps / (chosen.epochs * len(plan.loader)))
            else:
                plan.callbacks[0].schedule.step()
            optimizer.zero_grad()
            their_loss = loss_func(theirs(torch.from_numpy(batch)), torch.from_numpy(labels))
            their_loss.backward()
            optimizer.step()
            schedule.step()
            assert loss == pytest.approx(their_loss.item(), rel=1e-6)
    assert steps == 24
