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
from cnn.cli import progress, recipes, runs, tasks
from cnn.cli.choices import is_finished
from cnn.cli.interrupts import Interrupted, Interrupts
from cnn.cli.recipes import Plan
from cnn.cli.settings import Settings
from cnn.cli.tasks import Task
from cnn.cli.terminal import note, say
from cnn.cli.words import counted, program, quoted, sample_text
from cnn.errors import InputError
from cnn.loss import CrossEntropyLoss
from cnn.metrics import accuracy_interval, class_report
from cnn.training.history import epoch_line

LINES = 20  # about so many epochs get a line on stdout; history.jsonl has them all
SURE_MISTAKES = 25
WATCHED = 64  # samples


def train(args: argparse.Namespace) -> int:
    """Train, test, and leave a run folder; return the exit status."""
    chosen: Settings = args.settings
    if args.resume is None and args.out is not None:
        runs.refuse_existing(args.out)  # before the data are read, which may take long
    if args.resume is not None and is_finished(args.resume, chosen.epochs):
        note(f"{args.resume} is finished: --epochs N, of more than {chosen.epochs}, trains it further")
        return 0
    folder_only = {"image_size": chosen.image_size, "validation": chosen.validation}
    try:
        task = tasks.load(args.data, chosen.seed, args.quiet, **folder_only)  # type: ignore[arg-type]
    except InputError as error:
        where = f"; {args.resume} was trained on it" if args.resume is not None else ""
        raise type(error)(f"{error}{where}") from None
    cnn.manual_seed(chosen.seed)
    plan = recipes.plan(task, chosen)
    folder = runs.create(task.name, args.out) if args.resume is None else args.resume
    return Run(task, chosen, plan, folder, args).go()


class Run:
    """One training with its folder.

    Attributes
    ----------
    task : Task
    settings : Settings
    plan : Plan
    model : Sequential
        That of the plan.
    folder : Path
    history : History
    at : Step or None
        The last step done.
    """

    def __init__(self, task: Task, settings: Settings, plan: Plan, folder: Path, args: argparse.Namespace) -> None:
        self.task, self.settings, self.plan, self.model, self.folder = task, settings, plan, plan.model, folder
        self.history = self.model.history = training.History()
        self.at: training.Step | None = None
        self._finished = False  # and config.json says so
        self._interrupts = Interrupts()
        self._quiet, self._json, self._resumes = args.quiet, args.json, args.resume is not None
        self._config: dict[str, Any] = {
            "data": task.data,
            **{name: value for name, value in vars(settings).items() if value is not None},
            "lr_schedule": plan.schedule,
            "validation_samples": len(task.validation[0]),
            "versions": {"cnn": cnn.__version__, "numpy": np.__version__, "python": platform.python_version()},
        }

    def go(self) -> int:
        """Train, test and draw; save what there is if something stops it."""
        with self._interrupts:
            try:
                if not self._resumes:  # then nothing is written before it is known that the training can go on
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
                if self._is_untouched():
                    raise
                with contextlib.suppress(OSError, MemoryError):  # a full disk may have room for this, and may not
                    self._save("failed")
                note(f"what could be saved is in {self.folder}")
                raise

    def _is_untouched(self) -> bool:
        """Whether this is a run that was to go on and has not: its folder has better weights than this model."""
        return self._resumes and self.at is None

    def _train(self) -> None:
        x_val, y_val = tasks.inputs(self.model, self.task.validation[0]), self.task.validation[1]
        folder = self.folder / runs.CHECKPOINTS
        steps = training.train(
            self.model,
            self.plan.loader,
            validation_data=(x_val, y_val),
            epochs=self.settings.epochs,
            callbacks=[
                *self.plan.callbacks,
                training.Health(*self._few()),
                training.Checkpoint(folder, epochs=1, minutes=1),
            ],
            resume=folder if self._resumes else None,
        )
        with contextlib.closing(steps), self._interrupts.waiting(), progress.for_training(self._quiet) as shown:
            for step in steps:
                if self.at is None:
                    self._begin(step)
                self.at = step
                self.plan.after_step(step)
                shown.show(step, step.samples)
                if step.metrics is not None:
                    with shown.hidden():
                        self._epoch(step, step.metrics)
                self._interrupts.check()
        self.history = self.model.history

    def _few(self) -> tuple[Any, Any]:
        """Some training samples, by which the health of the net is watched."""
        x, y = self.task.train
        some = np.linspace(0, len(x) - 1, min(WATCHED, len(x))).astype(int)
        return tasks.inputs(self.model, x[some]), y[some]

    def _begin(self, step: training.Step) -> None:
        """With the first step, what is in the folder is brought to where the training is."""
        self.history = self.model.history
        if self._resumes:
            self._write_config("running")
            runs.rewrite_history(self.folder, self._before(step))
            self._note(f"going on with step {step.step} of {step.steps} in epoch {step.epoch} of {step.epochs}")

    def _before(self, step: training.Step) -> training.History:
        """The history without the epoch that this step ends, if it does; `_epoch` adds that."""
        whole = training.History()
        for i in range(len(self.history) - (step.metrics is not None)):
            whole.append(**self.history.epoch(i))
        return whole

    def _epoch(self, step: training.Step, metrics: dict[str, float]) -> None:
        """Record an epoch. The model is saved each time, so that a power cut costs one epoch at most."""
        self.model.save(self.folder / runs.MODEL)
        runs.append_epoch(self.folder, step.epoch, metrics)
        if step.epoch % self._every() == 0 or step.epoch in (1, step.epochs):
            self._say(f"{epoch_line(step.epoch, step.epochs, metrics)}  {metrics['seconds']:.1f} s")

    def _every(self) -> int:
        return 1 if self.settings.epochs <= 1.5 * LINES else math.ceil(self.settings.epochs / LINES)

    def _test(self) -> int:
        """Meet the test set, for the first and only time, and draw the images; return the exit status."""
        x, y = tasks.inputs(self.model, self.task.test[0]), self.task.test[1]
        which = self.task.things if self.task.has_test else f"{self.task.things} held out"
        self._note(f"testing on {len(x):,} {which} ...")
        self.model.loss_func = CrossEntropyLoss()  # a recipe's has softened labels, which are not those of the test
        loss, accuracy = self.model.evaluate(x, y)
        self._config |= {"test_loss": loss, "test_accuracy": accuracy}
        self._config["test_samples"] = len(x)
        self.model.save(self.folder / runs.MODEL)
        self._write_config("finished")
        self._finished = True
        self._say(outcome_line(loss, accuracy, len(x), "test" if self.task.has_test else "validation"))
        if self.settings.image_size is not None:  # own images: which classes are told apart, and which are not
            self._say(str(class_report(y, self.model.predict(x), self.task.class_names)))
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
        self._note(f"try it: {program()} {f'predict {run} IMAGE.png' if self.task.has_images else f'summary {run}'}")
        if wrong is not None:
            note(f"error: the model was trained, tested and saved; only images are missing: {wrong}")
        return int(wrong is not None)

    def _draw(self, x: Any, y: Any) -> None:
        """Draw the images; what was drawn before something goes wrong stays."""
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
        if self._finished:  # only the images were missing
            note(f"the model was trained and tested; it is saved in {self.folder}")
            return code
        if self._is_untouched():
            note(f"{self.folder} is as it was")
            return code
        self._save(status)
        epochs = f"{runs.HISTORY} ({counted(len(self.history), 'epoch')}), " if len(self.history) else ""
        note(f"the run so far is saved in {self.folder}: {runs.CONFIG}, {epochs}{runs.MODEL}")
        if status == "interrupted":
            note(f"go on with it: {program()} train --resume {quoted(self.folder)}")
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
        held = f"{validation} more for validation, {test} more for the test at the end"
        if not task.has_test:
            held = f"{validation} more held out, for validation and for the test at the end"
        self._note(
            f"Training on {task.title}\n"
            f"  data      {train} {task.things} of {shape}, {len(task.class_names)} classes; {task.source}\n"
            f"            {held}\n"
            f"  model     {chosen.model}, {count:,} parameters\n"
            f"  settings  {counted(chosen.epochs, 'epoch')}, batches of {chosen.batch_size}, {self.plan.text}, "
            f"seed {chosen.seed}\n"
            f"  folder    {self.folder}; Ctrl-C saves the run so far"
        )
        for line in task.notes:
            self._note(f"  {line}")


def outcome_line(loss: float, accuracy: float, count: int, which: str = "test") -> str:
    """Return the metrics of a test, for people; with so few samples, another test would give another accuracy.

    Examples
    --------
    >>> outcome_line(0.25, 0.915, 10_000)
    'test loss 0.2500  test accuracy 0.9150  (9,150 of 10,000 right; 95 % interval 0.909 to 0.920)'
    """
    right = round(accuracy * count)
    low, high = accuracy_interval(right, count)
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    return f"{which} loss {loss:.4f}  {which} accuracy {accuracy:.4f}  ({right:,} of {count:,} right; {interval})"
