"""The reference of the library: a page for each module that has public names, and a page for each name.

They are written into docs/reference/api when a build begins, from the docstrings. ``MODULES`` says in which order.
"""

import functools
import importlib
import inspect
import operator
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "reference" / "api"

# module: title
MODULES = {
    "cnn": "Modules and models",
    "cnn.layers": "Layers",
    "cnn.loss": "Losses",
    "cnn.optim": "Optimizers and schedules",
    "cnn.data": "Data",
    "cnn.training": "Training",
    "cnn.metrics": "Metrics",
    "cnn.zoo": "Nets that are ready",
    "cnn.utils": "Helpers",
    "cnn.report.plots": "Plots",
    "cnn.explore": "A look inside a net",
    "cnn.interop.onnx": "ONNX files",
    "cnn.interop.pytorch": "Weights of PyTorch",
    "cnn.interop.sklearn": "Estimators of scikit-learn",
    "cnn.distributed": "Several processes",
    "cnn.verify": "Checks of correctness",
    "cnn.bench": "Measurements of speed",
    "cnn.kernels": "Which code computes",
}
INSIDE = {
    "cnn.module": "The base of all layers",
    "cnn.training.callbacks": "Callbacks",
    "cnn.training.health": "Warnings in training",
    "cnn.utils.gradcheck": "Gradient checks",
    "cnn.containers.fusion.rules": "Layers that run as one",
    "cnn.kernels.jit.branches": "Compiled sums",
    "cnn.kernels.jit.engine.arrays": "Memory layout",
    "cnn.cli.train": "What defines a command",
}
WITHOUT_ALL = {"cnn.interop.sklearn": ["CNNClassifier", "CNNRegressor"]}


def names_of(module: str) -> list[str]:
    """Return the public names of a module, in alphabetical order."""
    names = WITHOUT_ALL.get(module) or importlib.import_module(module).__all__
    return sorted(names, key=str.lower)


@functools.cache
def pages() -> dict[tuple[str, str], str]:
    """Return the page of each public name, as a path in ``FOLDER`` without its ending.

    A name of an object that an earlier module also has, leads to the page of that one.
    """
    found: dict[tuple[str, str], str] = {}
    places: dict[int, str] = {}
    taken: set[str] = set()  # in small letters, as Windows and macOS see Saliency.html and saliency.html as one file
    for module in (*MODULES, *INSIDE):
        namespace = importlib.import_module(module)
        for name in names_of(module):
            thing = getattr(namespace, name)
            if inspect.ismodule(thing):
                found[module, name] = f"{thing.__name__}/index"
                continue
            own = getattr(thing, "__name__", name)  # MSE is MSELoss
            page = f"{module}/{own if getattr(namespace, own, None) is thing else name}"
            if id(thing) not in places:
                places[id(thing)] = f"{page}_" if page.lower() in taken else page
                taken.add(page.lower())
            found[module, name] = places[id(thing)]
    return found


def summary(thing: Any) -> str:
    """Return the first sentence of a docstring, as reStructuredText."""
    if not (inspect.isclass(thing) or callable(thing) or inspect.ismodule(thing)):
        return f"A constant, {type(thing).__name__}."
    first = " ".join(escaped((inspect.getdoc(thing) or "").partition("\n\n")[0].splitlines()))
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", first)[0]


def escaped(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText: signs of formulas mean themselves.

    Docstrings are written for ``help``. What is in backticks becomes code; examples and lines that are indented in a
    paragraph stay as they are.
    """
    result = []
    example = False
    for line in lines:
        stripped = line.strip()
        example = stripped.startswith((">>>", "...")) or (example and bool(stripped))
        if example or re.fullmatch(r"[-=]{3,}", stripped) or stripped.startswith(".. "):
            result.append(line)
            continue
        parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
        for number, part in enumerate(parts):
            if number % 2:
                parts[number] = f"``{part.strip('`')}``"
            else:
                part = re.sub(r"(?<!^)\\", r"\\\\", part)
                part = re.sub(r"(?<=\S)[*]|[*](?=\S)", r"\\*", part) if not part.lstrip().startswith("* ") else part
                parts[number] = re.sub(r"\|", r"\\|", re.sub(r"(?<=\w)_(?!\w)", r"\\_", part))
        text = "".join(parts)
        result.append(re.sub(r"^(\s*)(?=[A-Za-z]\.(\s|$))", r"\1\\", text))  # a sentence such as "N." is no list
    return result


def attributes_apart(lines: list[str]) -> list[str]:
    """Give each attribute of ``weight, bias : Parameter`` an entry of its own, as napoleon does for parameters."""
    result: list[str] = []
    section = ""
    position = 0
    while position < len(lines):
        line = lines[position]
        if re.fullmatch(r"-{3,}", "".join(lines[position + 1 : position + 2])):
            section = line
        found = re.fullmatch(r"(\w+(?:, \w+)+) : (.*)", line) if section == "Attributes" else None
        end = position + 1
        if found:
            while end < len(lines) and (lines[end].startswith(" ") or not lines[end].strip()):
                end += 1
            for name in found[1].split(", "):
                result += [f"{name} : {found[2]}", *lines[position + 1 : end]]
        else:
            result.append(line)
        position = end
    return result


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out properties whose docstring is that of attrgetter."""
    return True if isinstance(obj, property) and isinstance(obj.fget, operator.attrgetter) else None


def tidy(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring reStructuredText: a paragraph of one line that is a formula becomes a block of its own."""
    lines[:] = attributes_apart(lines)
    result: list[str] = []
    for before, line, after, text in zip(["", *lines], lines, [*lines[1:], ""], escaped(lines), strict=False):
        alone = not before.strip() and not after.strip()
        formula = alone and re.match(r"[A-Za-z_]+(\[[^]]*\]|\([^)]*\))? = ", line) and not line.endswith((".", ":"))
        result += ["::", "", f"    {line}"] if formula else [text]
    lines[:] = result


def module_text(module: str, title: str) -> str:
    """Return the page of a module: what it is for, and a table of its names."""
    namespace = importlib.import_module(module)
    heading = f"{title} (``{module}``)"
    table, children = [], []
    for name in names_of(module):
        page = pages()[module, name]
        table.append(f"   * - :doc:`{name} <../{page}>`\n     - {summary(getattr(namespace, name))}")
        if page.startswith(f"{module}/") and page not in children:
            children.append(page)
    intro = "\n".join(escaped((inspect.getdoc(namespace) or "").splitlines()))
    toctree = "\n".join(f"   {page.partition('/')[2]}" for page in children)
    rows = "\n".join(table)
    return (
        f"{heading}\n{'=' * len(heading)}\n\n{intro}\n\n.. py:module:: {module}\n   :no-index:\n\n"
        f".. list-table::\n   :header-rows: 1\n   :widths: auto\n\n   * - name\n     - what it is\n{rows}\n\n"
        f".. toctree::\n   :hidden:\n\n{toctree}\n"
    )


def name_text(module: str, name: str) -> str:
    """Return the page of one name."""
    thing = getattr(importlib.import_module(module), name)
    head = f"{name}\n{'=' * len(name)}\n\n``from {module} import {name}``\n\n"
    if inspect.isclass(thing):
        return f"{head}.. autoclass:: {module}.{name}\n   :members:\n"
    if callable(thing):
        return f"{head}.. autofunction:: {module}.{name}\n"
    shown = "\n".join(f"      {line}" for line in str(thing).splitlines())
    return f"{head}.. py:data:: {name}\n   :module: {module}\n\n   ::\n\n{shown}\n"


def write(app: Any) -> None:
    """Write the pages; those that have not changed keep their time, so that the next build does not read them again."""
    texts = {f"{module}/index": module_text(module, title) for module, title in (MODULES | INSIDE).items()}
    for (module, name), page in pages().items():
        if page in (f"{module}/{name}", f"{module}/{name}_"):
            texts[page] = name_text(module, name)
    for old in FOLDER.rglob("*.rst"):
        if old.relative_to(FOLDER).with_suffix("").as_posix() not in texts:
            old.unlink()
    for page, text in texts.items():
        write_changed(FOLDER / f"{page}.rst", text)


def write_changed(path: Path, text: str) -> None:
    """Write a file if its text differs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Write the pages at the beginning of a build."""
    app.connect("config-inited", lambda app, config: write(app))
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", tidy, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
