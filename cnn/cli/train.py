"""`cnn train`: train a model on a data set and write a run folder."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import cnn
from cnn.cli import (
    augmentation,
    datasets,
    fine_tuning,
    model_arguments,
    pretrained,
    run_folders,
    run_images,
    train_recipes,
    trials,
)
from cnn.cli.augmentation import Augmentation
from cnn.cli.datasets import Dataset
from cnn.cli.run_images import RunImages
from cnn.cli.seen_images import SeenImages
from cnn.cli.terminal import print_stderr
from cnn.cli.train_arguments import DESCRIPTION, EXAMPLE, add_arguments
from cnn.cli.train_run import TrainingRun
from cnn.cli.train_settings import OPTIONS, Settings, check_combination, settings_for
from cnn.core.interrupts import Interrupts
from cnn.core.text import printable
from cnn.errors import CheckpointError, InputError
from cnn.sequential import Sequential

FEW_PER_CLASS = 200  # training images: with more, starting from a trained net gains less

__all__ = ["DESCRIPTION", "EXAMPLE", "add_arguments", "check", "run"]


def check(args: argparse.Namespace) -> None:
    """Replace ``args.data`` by the data set or folder to train on, and add ``args.settings``."""
    args.data, args.settings = data_and_settings(args)


def run(args: argparse.Namespace) -> int:
    """Train, test, write a run folder, and return the exit status."""
    settings: Settings = args.settings
    if args.resume is None and args.out is not None:
        run_folders.check_new(args.out)  # before the data are read, which may take long
    if args.resume is not None and is_finished(args.resume, settings) and not lacks_files(args.resume, args.data):
        option, epochs = "--epochs" if settings.fine_tune is None else "--fine-tune", settings.epochs_recorded
        print_stderr(f"{args.resume} is finished: give {option} N with more than {epochs} to train it further")
        return 0
    saved = None if args.resume is None else run_images.read(args.resume)
    seen = seen_before(args, settings, saved)
    try:
        with Interrupts():  # SIGTERM is told apart from a crash, too
            dataset, settings, changes, plan = prepared(args, settings, saved, seen)
    except KeyboardInterrupt as stop:
        rest = "nothing is saved yet: run the same command again"
        stop.args = (rest if args.resume is None else f"{args.resume} is unchanged",)
        raise
    if args.others is not None:
        args.others.ranks.stall_seconds = args.stall_seconds
    folder = run_folders.create(dataset.name, args.out) if args.resume is None else args.resume
    if args.resume is None:
        run_images.write(folder, dataset, seen)
    training = TrainingRun(
        dataset,
        settings,
        plan,
        folder,
        changes=changes,
        resume=args.resume is not None,
        quiet=args.quiet,
        as_json=args.json,
        others=args.others,
    )
    try:
        return training.run()
    except CheckpointError as error:
        if plan.whole is None:
            raise
        raise CheckpointError(
            f"{error}. These data are what the layers of {printable(settings.model)} give for the images: they are "
            "only the same with the net that the run started from, on the same kind of machine and with as many threads"
        ) from None


def prepared(
    args: argparse.Namespace, settings: Settings, saved: RunImages | None, seen: SeenImages | None
) -> tuple[Dataset, Settings, Augmentation | None, train_recipes.Plan]:
    """Read the data and what a training starts from: -> (the data, the settings, the random changes, the plan)

    Nothing is written.
    """
    cnn.manual_seed(settings.seed)  # the layers of the net to start from may draw, such as Dropout
    start = pretrained.load(settings)
    if start is not None:
        settings = dataclasses.replace(settings, model=start.name, image_size=max(start.input_shape[1:]))
    reading: dict[str, Any] = {"image_size": settings.image_size} if start is None else start.reading()
    if args.resume is not None:
        reading |= _conversion(args.resume, saved)
    try:
        dataset = datasets.load(
            args.data,
            settings.seed,
            args.quiet,
            validation=settings.validation,
            group_by=settings.group_by,
            seen=seen,
            **reading,
        )
    except InputError as error:
        origin = f"; {args.resume} was trained on it" if args.resume is not None else ""
        text = str(error).replace("group_by=", "--group-by ", 1)
        raise type(error)(f"{text}{origin}") from None
    if saved is not None:
        run_images.check_same(args.resume, saved, dataset)
    if seen is not None and not seen.are_all:
        unknown = f"warning: it is not known which images {seen.name} was trained on: some may be among the "
        dataset.notes.append(f"{unknown}{'test' if dataset.has_test else 'validation'} images")
    if not (args.quiet or args.json or args.resume is not None or start is not None):
        print_hint(dataset)
    changes = changes_for(dataset, settings, args.resume, args.quiet)
    if changes is not None:
        dataset = dataclasses.replace(dataset, transforms=changes.transforms)
    cnn.manual_seed(settings.seed)
    if start is None or changes is None:
        plan = train_recipes.plan(dataset, settings)
    else:
        plan = fine_tuning.plan(start, dataset, settings, changes, args.quiet)
    if seen is not None:
        counts = {"left_out": dataset.left_out, "moved_to_training": dataset.moved}
        record = {**counts, "start_images_are_known": seen.are_all}
        plan = dataclasses.replace(plan, record=plan.record | record)
    return dataset, settings, changes, plan


def seen_before(args: argparse.Namespace, settings: Settings, saved: RunImages | None) -> SeenImages | None:
    """Return the images that the net of ``--from`` was trained on: as a resumed run has noted, or as the net's run has.

    None without ``--from``.
    """
    if settings.start is None:
        return None
    name = printable(settings.start)
    if args.resume is not None:
        return SeenImages(name, saved.earlier, saved.earlier_are_all) if saved else SeenImages(name, [], False)
    file = model_arguments.find_model(settings.start)
    images = run_images.read(file.parent) if file.name == run_folders.MODEL else None
    if images is None:
        return SeenImages(name, [], False)
    before, advice = settings_of_split(file, args.data), ""
    given = [OPTIONS[option] for option, value in before.items() if value != vars(settings)[option]]
    if given:
        advice = f"without {' and '.join(given)}, the images that are held out are the same as in its run"
    return SeenImages(name, images.trained_on(), images.earlier_are_all, advice)


def settings_of_split(model: Path, data: str) -> dict[str, Any]:
    """Return the settings by which the run of a model held out images, if it was trained on this folder."""
    config = run_folders.read_config(model)
    if not run_folders.is_same_file(data, str(config.get("data", ""))):
        return {}
    return {name: config.get(name) for name in ("seed", "validation", "group_by")}


def _conversion(run: Path, saved: RunImages | None) -> dict[str, Any]:
    """Return how a run that is resumed read its images: from images.json, or else from its model."""
    if saved is not None:
        return saved.conversion
    path = run / run_folders.MODEL
    return run_images.conversion_without_list(Sequential.load(path).preprocessing if path.is_file() else None)


def changes_for(dataset: Dataset, settings: Settings, resume: Path | None, quiet: bool) -> Augmentation | None:
    """Return the random changes of the training images: as given, as recorded, or as trials decide; None: no folder."""
    if settings.augment is None:
        return None
    if resume is not None:
        return augmentation.recorded(run_folders.config_to_resume(resume), dataset)
    if settings.augment == augmentation.AUTO:
        if quiet:
            return trials.choose(dataset, settings, tell=lambda line: None)
        return trials.choose(dataset, settings, print_stderr, trials.live_line())
    return augmentation.fixed(settings.augment, dataset)


def data_and_settings(args: argparse.Namespace) -> tuple[str, Settings]:
    """Return the data and the settings: from the options, or from the run to resume, where only the epochs may differ.

    Raises
    ------
    ValueError
        If options do not fit together; the message names them.
    """
    chosen = {
        "model": args.model,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "lr": args.lr,
        "seed": args.seed,
        "image_size": args.image_size,
        "validation": args.val,
        "group_by": args.group_by,
        "recipe": args.recipe,
        "augment": args.augment,
        "balance": args.balance,
        "keep_best": args.keep_best,
        "pretrained": args.pretrained,
        "start": None if args.start is None else str(args.start.resolve()),
        "fine_tune": args.fine_tune,
    }
    if args.resume is None:
        if args.data is None:
            raise ValueError(f"give the data to train on: {', '.join(datasets.NAMES)} or a folder of images")
        if run_folders.is_run_folder(Path(args.data)):
            raise ValueError(f"{args.data} is a run folder: did you mean --resume {args.data}?")
        if args.moved is not None:
            raise ValueError("--data is for --resume: give the folder to train on without it")
        check_combination(chosen)
        if args.start is not None and args.data not in datasets.NAMES:
            before = settings_of_split(model_arguments.find_model(args.start), args.data)
            chosen |= {name: value for name, value in before.items() if chosen[name] is None}
        return datasets.check_name(args.data), settings_for(args.data, **chosen)
    if args.data is not None:
        raise ValueError(
            f"--resume takes the data from the run; if they have moved, write --data {printable(args.data)}"
        )
    may_change = ("epochs", "fine_tune", "start")
    given = [OPTIONS[name] for name, value in chosen.items() if value is not None and name not in may_change]
    given += ["--out"] if args.out is not None else []
    if given:
        may = "only --epochs, --fine-tune, --data and --from may change"
        raise ValueError(f"--resume uses the settings of the run, and {may}, not {given[0]}")
    config = run_folders.config_to_resume(args.resume)
    epochs, other = ("epochs", "fine_tune") if config.get("fine_tune") is None else ("fine_tune", "epochs")
    may = ", ".join([OPTIONS[epochs], *(["--from"] if config.get("start") else [])])
    if chosen[other] is not None:
        raise ValueError(f"of {args.resume} only {may} and --data may change, not {OPTIONS[other]}")
    data = str(config["data"])
    saved = {name: config.get(name) for name in chosen}
    if data not in datasets.NAMES and saved["augment"] is None:
        saved["augment"] = augmentation.EARLIER
    if chosen[epochs] is not None:
        if chosen[epochs] < int(config.get(epochs, 1)):
            raise ValueError(f"{args.resume} has {config[epochs]} epochs: {OPTIONS[epochs]} must be at least as many")
        saved[epochs] = chosen[epochs]
    if chosen["start"] is not None:
        if saved["start"] is None:
            raise ValueError(f"{args.resume} did not start from a net of --from: omit it")
        saved["start"] = str(model_arguments.find_model(chosen["start"]))
    elif saved["start"] is not None and not Path(saved["start"]).exists():
        raise FileNotFoundError(
            f"there is no {printable(saved['start'])}, from which {printable(args.resume)} started: if it has moved, "
            "give --from FILE"
        )
    if data in datasets.NAMES and args.moved is not None:
        raise ValueError(f"--data is for a folder of images that has moved, but {args.resume} was trained on {data}")
    if args.moved is not None:
        data = str(args.moved.resolve())
    elif data not in datasets.NAMES and not Path(data).is_dir():
        raise FileNotFoundError(
            f"there is no folder {printable(data)}, on which {printable(args.resume)} was trained: if it has moved, "
            "give --data FOLDER"
        )
    return datasets.check_name(data), settings_for(data, **saved)


def is_finished(folder: Path, settings: Settings) -> bool:
    """Return whether a run has completed the epochs of these settings and its final test."""
    config = run_folders.config_to_resume(folder)
    epochs = (config.get("epochs"), config.get("fine_tune"))
    return config.get("status") == "finished" and epochs == (settings.epochs, settings.fine_tune)


def print_hint(dataset: Dataset) -> None:
    """Say that there is --pretrained, if the images have colours and are few."""
    few = FEW_PER_CLASS * len(dataset.class_names)
    if dataset.data not in datasets.NAMES and dataset.input_shape[0] == 3 and len(dataset.train[0]) < few:
        print_stderr("few photographs? --pretrained starts from a net that has seen ImageNet, and is often better")


def lacks_files(folder: Path, data: str) -> bool:
    """Return whether files are missing that a finished run on these data has, because something stopped it earlier."""
    names = [run_folders.CURVES, run_folders.CONFUSION]
    names.append(run_folders.BOUNDARY if data == "spiral" else run_folders.MISTAKES)
    names += [] if data in datasets.NAMES else [run_folders.PREDICTIONS]
    return not all((folder / name).is_file() for name in names)
