"""The reference of the site has a page for every public name and every command. Sphinx is not needed."""

import importlib
import pkgutil
import sys
from pathlib import Path

import pytest

import cnn
from cnn.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def extensions():
    """The modules that make the pages."""
    pytest.importorskip("numba")
    pytest.importorskip("sklearn")
    sys.path.insert(0, str(ROOT / "docs" / "extensions"))
    try:
        yield importlib.import_module("reference"), importlib.import_module("commands")
    finally:
        sys.path.pop(0)
        for name in ("reference", "commands"):
            sys.modules.pop(name, None)


def modules_with_names():
    """All modules of the library that have `__all__`."""
    for found in pkgutil.walk_packages(cnn.__path__, "cnn."):
        text = Path(found.module_finder.path, *found.name.split(".")[-1:])
        file = text / "__init__.py" if found.ispkg else text.with_suffix(".py")
        if "\n__all__ = " in file.read_text(encoding="utf-8"):
            yield found.name
    yield "cnn"


def test_every_public_name_has_a_page(extensions, tmp_path, monkeypatch):
    reference, _ = extensions
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    reference.write(None)
    modules = set(modules_with_names())
    assert len(modules) >= 25
    assert modules <= {*reference.MODULES, *reference.INSIDE}
    names = 0
    for module in modules:
        table = (tmp_path / module / "index.rst").read_text(encoding="utf-8")
        for name in importlib.import_module(module).__all__:
            page = reference.pages()[module, name]
            text = (tmp_path / f"{page}.rst").read_text(encoding="utf-8")
            assert any(f"{directive}:: " in text for directive in ("autoclass", "autofunction", "py:data", "py:module"))
            assert f":doc:`{name} <../{page}>`" in table
            names += 1
    assert names >= 250


def test_no_two_pages_differ_only_in_capitals(extensions):
    """They would be one file on Windows and macOS."""
    pages = set(extensions[0].pages().values())
    assert len(pages) == len({page.lower() for page in pages})


def test_the_contents_lead_to_every_module(extensions):
    text = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    for module in (*extensions[0].MODULES, *extensions[0].INSIDE):
        assert f"\napi/{module}/index\n" in text


def test_every_command_and_option_is_in_the_reference(extensions, tmp_path, monkeypatch):
    _, commands = extensions
    monkeypatch.setattr(commands, "FOLDER", tmp_path)
    commands.write(None)
    assert {file.stem for file in tmp_path.glob("*.rst")} == {*COMMANDS, "index"}
    assert "``--epochs N``" in (tmp_path / "train.rst").read_text(encoding="utf-8")
    for name, parser in commands._parsers()[1].items():
        text = (tmp_path / f"{name}.rst").read_text(encoding="utf-8")
        for action in parser._actions:
            for option in action.option_strings:
                assert option in text, (name, option)


def test_signs_of_formulas_mean_themselves(extensions):
    escaped = extensions[0].escaped
    assert escaped(["y = |x| * w_, `x` and ``y_``, a**2"]) == ["y = \\|x\\| * w\\_, ``x`` and ``y_``, a\\*\\*2"]
    assert escaped([">>> a = x_ | y", "|", "", "x_"]) == [">>> a = x_ | y", "|", "", "x\\_"]
