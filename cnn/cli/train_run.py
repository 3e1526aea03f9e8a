"""One training of `cnn train`: trains, tests and draws, and keeps the run folder up to date."""

import contextlib
import json
import platform
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import training
from cnn.cli import run_folders, shared_training
from cnn.cli.augmentation import Augmentation
from cnn.cli.datasets import Dataset, model_inputs
from cnn.cli.formatting import count_text, program_name, shell_quoted
from cnn.cli.imbalance import is_uneven, low_recall_note
from cnn.cli.keep_best import KeepBest, balanced_accuracy
from cnn.cli.plan_text import start_text
from cnn.cli.processes import Others
from cnn.cli.terminal import print_command, print_data, print_stderr, print_stdout, stdout_columns
from cnn.cli.train_output import draw, epoch_text, progress_display, result_text, save_model
from cnn.cli.train_recipes import Plan
from cnn.cli.train_settings import Settings
from cnn.core.interrupts import Interrupted, Interrupts
from cnn.loss import CrossEntropyLoss
from cnn.metrics import class_report

EPOCH_LINES = 20  # a terminal shows about this many epochs; a pipe and history.jsonl have all of them
HEALTH_SAMPLES = 64


class TrainingRun:
    """One training and its run folder.

    Attributes
    ----------
    dataset : Dataset
    settings : Settings
    plan : Plan
    model : Sequential
        The model of the plan.
    folder : Path
    changes : Augmentation or None
        The random changes of the images of a folder.
    data : Dataset
        The data set as the model of the plan takes it.
    history : History
    last_step : Step or None
        The last completed step.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        plan: Plan,
        folder: Path,
        *,
        changes: Augmentation | None = None,
        resume: bool = False,
        quiet: bool = False,
        as_json: bool = False,
        others: Others | None = None,
    ) -> None:
        self.dataset, self.settings, self.plan, self.model, self.folder = dataset, settings, plan, plan.model, folder
        self.changes, self.data = changes, plan.features or dataset
        self.history = self.model.history = training.History()
        self.last_step: training.Step | None = None
        self._is_finished = False  # and config.json contains the test result
        self._interrupts = Interrupts()
        self._resume, self._quiet, self._json, self._others = resume, quiet, as_json, others
        self._kept = next((callback for callback in plan.callbacks if isinstance(callback, KeepBest)), None)
        self._starts_anew = resume and not run_folders.has_checkpoint(folder)
        self._config: dict[str, Any] = {
            "data": dataset.data,
            **{name: value for name, value in vars(settings).items() if value is not None},
            **({} if changes is None else {"augmentation": changes.record()}),
            "lr_schedule": plan.schedule,
            **plan.record,
            "validation_samples": len(dataset.validation[0]),
            "versions": {"cnn": cnn.__version__, "numpy": np.__version__, "python": platform.python_version()},
        }

    def run(self) -> int:
        """Train, test and draw, and return the exit status; if something stops it, save the current state."""
        with self._interrupts:
            try:
                if not self._resume:  # a resumed run writes nothing before it is certain that training can continue
                    self._write_config("running")
                self._print_message(start_text(self.dataset, self.settings, self.plan, self.changes, self.folder))
                if self._starts_anew:
                    self._print_message(f"{self.folder} was stopped before its first checkpoint: it starts anew")
                self._train()
                return self._test()
            except KeyboardInterrupt as stop:
                status = stop.status if isinstance(stop, Interrupted) else 130
                return self._stop("interrupted", f"interrupted {self._position()}", status)
            except FloatingPointError as error:
                return self._stop("diverged", str(error), 1)
            except Exception:
                if self._is_finished:
                    print_stderr(f"the model was trained and evaluated; it is saved in {self.folder}")
                    raise
                if self._has_not_resumed():
                    raise
                with contextlib.suppress(OSError, MemoryError):  # a full disk may or may not have space for this
                    self._save("failed")
                print_stderr(f"everything that could be saved is in {self.folder}")
                raise

    def _has_not_resumed(self) -> bool:
        """Whether this run is to be resumed and no step is done yet: its folder has better weights than this model."""
        return self._resume and self.last_step is None

    def _train(self) -> None:
        checkpoints = self.folder / run_folders.CHECKPOINTS
        steps = shared_training.steps(
            self.data,
            self.settings,
            self.plan,
            callbacks=[
                *self.plan.callbacks,
                training.Health(*self._health_samples()),
                training.Checkpoint(checkpoints, epochs=1, minutes=1),
            ],
            resume=checkpoints if self._resume and not self._starts_anew else None,
            ranks=None if self._others is None else self._others.ranks,
        )
        with self._together():
            self._follow(steps)
        self.history = self.model.history

    def _together(self) -> contextlib.AbstractContextManager[None]:
        """Return a block in which other processes, if there are any, train, too."""
        if self._others is None:
            return contextlib.nullcontext()
        shared_training.speak_to_user(self._others.ranks, self._position)
        sent = shared_training.message(self.dataset, self.settings, self.changes, self.plan)
        return self._others.training(*sent)

    def _follow(self, steps: Generator[training.Step, None, None]) -> None:
        """Show and record the steps of the training."""
        with contextlib.closing(steps), self._interrupts.delayed(), progress_display(self._quiet) as progress:
            for step in steps:
                if self.last_step is None:
                    self._start(step)
                self.last_step = step
                self.plan.after_step(step)
                progress.show(step, step.samples)
                if step.metrics is not None:
                    with progress.hidden():
                        self._record_epoch(step, step.metrics)
                if self._others is None:  # otherwise `steps` raises it, in all processes
                    self._interrupts.check()

    def _health_samples(self) -> tuple[Any, Any]:
        """Return some training samples, evenly spaced, on which the health of the model is monitored."""
        x, y = self.data.train
        some = np.linspace(0, len(x) - 1, min(HEALTH_SAMPLES, len(x))).astype(int)
        return model_inputs(self.model, x[some]), y[some]

    def _start(self, step: training.Step) -> None:
        """On the first step of a resumed run, bring the files of the folder back to the state of the checkpoint."""
        self.history = self.model.history
        if self._resume:
            self._write_config("running")
            run_folders.rewrite_history(self.folder, self._history_before(step))
            if not self._starts_anew:
                position = f"step {step.step} of {step.steps} in epoch {step.epoch} of {step.epochs}"
                self._print_message(f"resuming at {position}")

    def _history_before(self, step: training.Step) -> training.History:
        """Return the history without the epoch that this step ends, if it ends one; `_record_epoch` adds that."""
        earlier = training.History()
        for i in range(len(self.history) - (step.metrics is not None)):
            earlier.append(**self.history.epoch(i))
        return earlier

    def _record_epoch(self, step: training.Step, metrics: dict[str, float]) -> None:
        """Save the model and the metrics after each epoch, so that a power cut costs one epoch at most."""
        self._save_model()
        run_folders.append_epoch(self.folder, step.epoch, metrics)
        columns = stdout_columns()
        every = 1 if columns is None or step.epochs <= 1.5 * EPOCH_LINES else -(-step.epochs // EPOCH_LINES)
        if step.epoch % every == 0 or step.epoch in (1, step.epochs):
            self._print_result(epoch_text(step.epoch, step.epochs, metrics, columns))

    def _test(self) -> int:
        """Evaluate on the test set, for the first and only time, or without one on the validation set, and draw.

        Returns the exit status.
        """
        x, y = model_inputs(self.model, self.data.test[0]), self.data.test[1]
        part = "test" if self.dataset.has_test else "validation"
        self._print_message(f"evaluating on {len(x):,} {part} {self.dataset.kind} ...")
        self.model.loss_func = CrossEntropyLoss()  # without the label smoothing of a recipe
        loss, accuracy = self.model.evaluate(x, y)
        baseline = self.dataset.baseline(y)
        results = {"loss": loss, "accuracy": accuracy, "samples": len(x), "baseline": baseline}
        is_folder = self.settings.image_size is not None
        if is_folder and is_uneven(self.dataset.train[1], len(self.dataset.class_names)):
            results["balanced_accuracy"] = balanced_accuracy(y, self.model.predict(x))
        self._config |= {f"{part}_{name}": value for name, value in results.items()}
        self._save_model()
        self._write_config("finished")
        self._is_finished = True
        kept = self.plan.remark(self.history) if self._kept is None else self._kept.text(self.dataset.has_test)
        self._print_message(kept)
        balanced = results.get("balanced_accuracy")
        self._print_result(result_text(part, loss, accuracy, len(x), baseline if is_folder else None, balanced))
        if is_folder:  # a folder of images: show which classes are confused
            report = class_report(y, self.model.predict(x), self.dataset.class_names)
            self._print_result(report.text(stdout_columns()))
            self._print_message(low_recall_note(report, self.dataset.train[1], not self.settings.balance))
        self._print_message("drawing the plots ...")
        problem = None
        try:
            self._draw(x, y)
        except OSError as error:  # such as a full disk
            problem = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        if self._json:
            print_data(json.dumps(self._results("finished"), indent=2))
        saved = [name for name in run_folders.RESULTS if (self.folder / name).is_file()]
        self._print_result(f"saved in {self.folder}: {', '.join(saved)}")
        run = shell_quoted(self.folder)
        command = f"predict {run} IMAGE.png" if self.dataset.has_images else f"summary {run}"
        if not self._quiet:
            print_command(f"try it: {program_name()} {command}")
        if problem is not None:
            print_stderr(
                f"error: the model was trained, evaluated and saved; only plots or predictions are missing: {problem}"
            )
        return int(problem is not None)

    def _draw(self, x: Any, y: Any) -> None:
        """Draw the plots; if one fails, those drawn before it stay."""
        if self.changes is not None:
            self.changes.draw(self.dataset, self.settings.seed, self.folder / run_folders.SAMPLES)
        draw(self.folder, self.dataset, self.model, self.history, x, y)

    # If something stops the training

    def _stop(self, status: str, message: str, exit_status: int) -> int:
        """Save the current state, print where it is, and return the exit status."""
        print_stderr(message if status == "interrupted" else f"error: {message}")
        if self._is_finished:  # only the plots are missing
            print_stderr(f"the model was trained and evaluated; it is saved in {self.folder}")
            print_command(f"draw the plots with: {program_name()} train --resume {shell_quoted(self.folder)}")
            return exit_status
        if self._has_not_resumed():
            print_stderr(f"{self.folder} is unchanged")
            return exit_status
        self._save(status)
        epochs = f"{run_folders.HISTORY} ({count_text(len(self.history), 'epoch')}), " if len(self.history) else ""
        files = f"{run_folders.CONFIG}, {epochs}{run_folders.MODEL}"
        print_stderr(f"the run so far is saved in {self.folder}: {files}")
        if self._kept is not None and self._kept.best_epoch is not None:
            print_stderr(self._kept.text(self.dataset.has_test))
        if status == "interrupted":
            print_command(f"resume it with: {program_name()} train --resume {shell_quoted(self.folder)}")
        if self._json:
            print_data(json.dumps(self._results(status), indent=2))
        return exit_status

    def _save(self, status: str) -> None:
        self._save_model()
        self._write_config(status)

    def _save_model(self) -> None:
        """Save the model; with --keep-best as it was in the best epoch so far."""
        weights = None if self._kept is None else self._kept.weights
        save_model(self.folder / run_folders.MODEL, self.model, weights, self.plan.whole)

    def _write_config(self, status: str) -> None:
        self._config["status"] = status
        if self.last_step is not None and status != "finished":
            self._config |= {"stopped_at_epoch": self.last_step.epoch, "stopped_at_step": self.last_step.step}
        run_folders.write_config(self.folder, self._config)

    def _position(self) -> str:
        return "while the plots were drawn" if self._is_finished else shared_training.position(self.last_step)

    def _print_result(self, text: str) -> None:
        if not (self._quiet or self._json):
            print_stdout(text)

    def _print_message(self, text: str) -> None:
        if text and not self._quiet:
            print_stderr(text)

    def _results(self, status: str) -> dict[str, Any]:
        epochs = [{"epoch": i + 1, **self.history.epoch(i)} for i in range(len(self.history))]
        return {"run": str(self.folder), **self._config, "status": status, "history": epochs}
