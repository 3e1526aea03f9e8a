"""What `cnn train` is to do: as its options say, or as the run to resume was."""

import argparse
from pathlib import Path

from cnn.cli import runs, tasks
from cnn.cli.settings import DATA_SETS, Settings, settings_for
from cnn.zoo import trained


def settings(args: argparse.Namespace) -> tuple[str, Settings]:
    """Return what to train on and how: as it was chosen, or as the run to resume was, but for ``--epochs``.

    Raises
    ------
    ValueError
        If something was chosen that does not go together; the message names the options.
    """
    chosen = {
        "model": args.model,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "lr": args.lr,
        "seed": args.seed,
        "image_size": args.image_size,
        "validation": args.val,
        "recipe": args.recipe,
    }
    if args.resume is None:
        if args.data is None:
            raise ValueError(f"name what to train on: {', '.join(DATA_SETS)} or a folder of images")
        if runs.is_run(Path(args.data)):
            raise ValueError(f"{args.data} is a run folder: did you mean --resume {args.data}?")
        return tasks.data_set(args.data), settings_for(args.data, **chosen)
    given = [name for name, value in chosen.items() if value is not None and name != "epochs"]
    given += [name for name in ("data", "out") if getattr(args, name) is not None]
    if given:
        raise ValueError(f"--resume goes on with the settings of the run, and only --epochs may change, not {given[0]}")
    config = runs.to_resume(args.resume)
    data = str(config["data"])
    kept = {name: config.get(name) for name in chosen}
    if args.epochs is not None:
        if args.epochs < int(config.get("epochs", 1)):
            raise ValueError(f"{args.resume} is of {config['epochs']} epochs: --epochs may only be more")
        kept["epochs"] = args.epochs
    return tasks.data_set(data), settings_for(data, **kept)


def is_finished(folder: Path, epochs: int) -> bool:
    """Tell whether a run has done so many epochs and its test."""
    config = runs.to_resume(folder)
    return config.get("status") == "finished" and config.get("epochs") == epochs


def with_folder(words: list[str]) -> list[str]:
    """Put the folder of a trained net first, where RUN is, in the place of ``--model NAME``.

    Raises
    ------
    ValueError
        If there is a run as well, or in place of NAME.

    Examples
    --------
    >>> with_folder(["--top", "2", "--model", "fashion", "shoe.png"])[1:]
    ['--top', '2', 'shoe.png']
    """
    options = words[: words.index("--")] if "--" in words else words
    for i, word in enumerate(options):
        option, equals, name = word.partition("=")
        if option != "--model":
            continue
        rest = words[i + 1 :]
        if not equals and rest:
            name, rest = rest[0], rest[1:]
        others = [*words[:i], *rest] if name in trained.FOLDERS else [name, *words[:i], *rest]
        given = next((other for other in others if runs.is_model(other)), None)
        if given is not None:
            raise ValueError(f"{given} is a run: leave --model out, which names a net of the library")
        if name in trained.FOLDERS:
            return [str(trained.folder(name)), *words[:i], *rest]
    return words
