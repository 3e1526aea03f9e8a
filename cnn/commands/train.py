"""`cnn train`: a data set in, a run folder out."""

import argparse
import contextlib
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import training
from cnn.commands import progress, runs, tasks
from cnn.commands.interrupts import Interrupted, Interrupts
from cnn.commands.tasks import Settings, Task
from cnn.commands.terminal import note, say
from cnn.commands.words import counted, program, quoted, sample_text
from cnn.rng import generator
from cnn.sequential import Sequential
from cnn.training.history import epoch_line

LINES = 20  # about so many epochs get a line on stdout; history.jsonl has them all
SURE_MISTAKES = 25


def train(args: argparse.Namespace) -> int:
    """Train, test, and leave a run folder; return the exit status."""
    if args.out is not None:
        runs.refuse_existing(args.out)  # before the data are read, which may take long
    task = tasks.load(args.data, args.settings.seed, args.quiet)
    cnn.manual_seed(args.settings.seed)
    model = tasks.build(task, args.settings)
    training_run = Run(task, args.settings, model, runs.create(task.name, args.out), args)
    return training_run.go()


class Run:
    """One training with its folder.

    Attributes
    ----------
    task : Task
    settings : Settings
    model : Sequential
    folder : Path
    history : History
    at : Step or None
        The last step done.
    """

    def __init__(
        self, task: Task, settings: Settings, model: Sequential, folder: Path, args: argparse.Namespace
    ) -> None:
        self.task, self.settings, self.model, self.folder = task, settings, model, folder
        self.history = model.history = training.History()
        self.at: training.Step | None = None
        self._finished = False  # and config.json says so
        self._interrupts = Interrupts()
        self._quiet, self._json = args.quiet, args.json
        self._config: dict[str, Any] = {
            "data": task.name,
            **vars(settings),
            "lr_schedule": "linear to 0",
            "validation_samples": len(task.validation[0]),
            "versions": {"cnn": cnn.__version__, "numpy": np.__version__, "python": platform.python_version()},
        }

    def go(self) -> int:
        """Train, test and draw; save what there is if something stops it."""
        with self._interrupts:
            try:
                self._write_config("running")
                self._tell_plan()
                self._train()
                return self._test()
            except KeyboardInterrupt as stop:
                status = stop.status if isinstance(stop, Interrupted) else 130
                return self._stopped("interrupted", f"interrupted {self._where()}", status)
            except FloatingPointError as error:
                return self._stopped("diverged", str(error), 1)
            except Exception:
                if self._finished:
                    note(f"the model was trained and tested; it is saved in {self.folder}")
                    raise
                with contextlib.suppress(OSError, MemoryError):  # a full disk may have room for this, and may not
                    self._save("failed")
                note(f"what could be saved is in {self.folder}")
                raise

    def _train(self) -> None:
        x, y = tasks.inputs(self.model, self.task.train[0]), self.task.train[1]
        x_val, y_val = tasks.inputs(self.model, self.task.validation[0]), self.task.validation[1]
        chosen: dict[str, Any] = {
            "epochs": self.settings.epochs,
            "batch_size": self.settings.batch_size,
            "rng": generator(),
        }
        with self._interrupts.waiting(), progress.for_training(self._quiet) as shown:
            for step in training.train(self.model, x, y, validation_data=(x_val, y_val), **chosen):
                self.at = step
                self._lower_the_rate(step)
                shown.show(step)
                if step.figures is not None:
                    with shown.hidden():
                        self._epoch(step, step.figures)
                self._interrupts.check()

    def _lower_the_rate(self, step: training.Step) -> None:
        """Let the learning rate fall in a straight line to 0: small last steps find a better place at no cost."""
        assert self.model.optimizer is not None
        self.model.optimizer.lr = self.settings.lr * (1 - step.done)

    def _epoch(self, step: training.Step, figures: dict[str, float]) -> None:
        """Record an epoch. The model is saved each time, so that a power cut costs one epoch at most."""
        self.history.append(**figures)
        self.model.save(self.folder / runs.MODEL)
        runs.append_epoch(self.folder, {"epoch": step.epoch, **figures})
        if step.epoch % self._every() == 0 or step.epoch in (1, step.epochs):
            self._say(f"{epoch_line(step.epoch, step.epochs, figures)}  {figures['seconds']:.1f} s")

    def _every(self) -> int:
        return 1 if self.settings.epochs <= 1.5 * LINES else math.ceil(self.settings.epochs / LINES)

    def _test(self) -> int:
        """Meet the test set, for the first and only time, and draw the pictures; return the exit status."""
        x, y = tasks.inputs(self.model, self.task.test[0]), self.task.test[1]
        self._note(f"testing on {len(x):,} {self.task.things} ...")
        loss, accuracy = self.model.evaluate(x, y)
        self._config |= {"test_loss": loss, "test_accuracy": accuracy}
        self._write_config("finished")
        self._finished = True
        self._say(outcome_line(loss, accuracy, len(x)))
        self._note("drawing ...")
        wrong = None
        try:
            self._draw(x, y)
        except OSError as error:  # as a full disk
            wrong = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        if self._json:
            say(json.dumps(self._results("finished"), indent=2))
        known = (runs.CONFIG, runs.HISTORY, runs.MODEL, runs.CURVES, runs.CONFUSION, runs.MISTAKES, runs.BOUNDARY)
        self._say(f"saved in {self.folder}: {', '.join(name for name in known if (self.folder / name).is_file())}")
        run = quoted(self.folder)
        self._note(f"try it: {program()} {f'predict {run} PICTURE.png' if self.task.has_images else f'summary {run}'}")
        if wrong is not None:
            note(f"error: the model was trained, tested and saved; only pictures are missing: {wrong}")
        return int(wrong is not None)

    def _draw(self, x: Any, y: Any) -> None:
        """Draw the pictures; what was drawn before something goes wrong stays."""
        from cnn.report import plots

        names = self.task.class_names
        probabilities = self.model.predict_proba(x)
        plots.save(plots.history(self.history), self.folder / runs.CURVES)
        plots.save(plots.confusion(y, probabilities.argmax(axis=1), names), self.folder / runs.CONFUSION)
        if self.task.has_images:
            drawn = plots.mistakes(self.task.test[0], y, probabilities, names, count=SURE_MISTAKES)
            plots.save(drawn, self.folder / runs.MISTAKES)
        else:
            plots.save(plots.decision_boundary(self.model.predict, x, y, names), self.folder / runs.BOUNDARY)

    # What there is if something stops it

    def _stopped(self, status: str, what: str, code: int) -> int:
        note(what if status == "interrupted" else f"error: {what}")
        if self._finished:  # only the pictures were missing
            note(f"the model was trained and tested; it is saved in {self.folder}")
            return code
        self._save(status)
        epochs = f"{runs.HISTORY} ({counted(len(self.history), 'epoch')}), " if len(self.history) else ""
        note(f"the run so far is saved in {self.folder}: {runs.CONFIG}, {epochs}{runs.MODEL}")
        if self._json:
            say(json.dumps(self._results(status), indent=2))
        return code

    def _save(self, status: str) -> None:
        self.model.save(self.folder / runs.MODEL)
        self._write_config(status)

    def _write_config(self, status: str) -> None:
        self._config["status"] = status
        if self.at is not None and status != "finished":
            self._config |= {"stopped_at_epoch": self.at.epoch, "stopped_at_step": self.at.step}
        runs.write_config(self.folder, self._config)

    def _where(self) -> str:
        if self.at is None:
            return "before the first step"
        return f"after step {self.at.step} of {self.at.steps} in epoch {self.at.epoch} of {self.at.epochs}"

    # What is told

    def _say(self, text: str) -> None:
        if not (self._quiet or self._json):
            say(text)

    def _note(self, text: str) -> None:
        if not self._quiet:
            note(text)

    def _results(self, status: str) -> dict[str, Any]:
        epochs = [{"epoch": i + 1, **self.history.epoch(i)} for i in range(len(self.history))]
        return {"run": str(self.folder), **self._config, "status": status, "history": epochs}

    def _tell_plan(self) -> None:
        task, chosen = self.task, self.settings
        train, validation, test = (f"{len(part[0]):,}" for part in (task.train, task.validation, task.test))
        count = sum(parameter.size for parameter in self.model.parameters())
        shape = sample_text(task.input_shape) if task.has_images else f"{task.input_shape[0]} coordinates"
        self._note(
            f"Training on {task.title}\n"
            f"  data      {train} {task.things} of {shape}, {len(task.class_names)} classes; {task.source}\n"
            f"            {validation} more for validation, {test} more for the test at the end\n"
            f"  model     {chosen.model}, {count:,} parameters\n"
            f"  settings  {counted(chosen.epochs, 'epoch')}, batches of {chosen.batch_size}, Adam, lr {chosen.lr:g} "
            f"falling to 0, seed {chosen.seed}\n"
            f"  folder    {self.folder}; Ctrl-C saves the run so far"
        )


def outcome_line(loss: float, accuracy: float, count: int) -> str:
    """Return the figures of a test, for people.

    Examples
    --------
    >>> outcome_line(0.25, 0.915, 10_000)
    'test loss 0.2500  test accuracy 0.9150  (9,150 of 10,000 right)'
    """
    return f"test loss {loss:.4f}  test accuracy {accuracy:.4f}  ({round(accuracy * count):,} of {count:,} right)"
