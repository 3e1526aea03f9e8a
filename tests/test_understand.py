"""The pages that teach run as they stand, and each has all its parts."""

import re
from pathlib import Path

import pytest

import cnn

FOLDER = Path(__file__).parent.parent / "docs" / "understand"
HEADINGS = (
    "Intuition",
    "Formula",
    "The loop that anyone can write",
    "The vectorised code",
    "The derivation",
    "A numerical check",
    "What goes wrong in practice",
    "Three questions",
)
NEEDS_PYTORCH = {"why_the_numbers_equal_pytorch.md"}


PAGES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.parity] if path.name in NEEDS_PYTORCH else [])
    for path in sorted(FOLDER.glob("*.md"))
    if path.name != "index.md"
]


def text(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES)
def test_the_blocks_of_a_page_run_as_one_program(path):
    cnn.manual_seed(0)
    blocks = re.findall(r"^```python\n(.*?)^```", text(path), re.M | re.S)
    check = text(path).partition("\n## A numerical check\n")[2].partition("\n## ")[0]
    assert re.search(r"^ *assert ", check, re.M), "the numerical check compares nothing"
    exec(compile("\n".join(blocks), path.name, "exec"), {})


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_all_its_parts_in_this_order(path):
    assert tuple(re.findall(r"^## (.+)$", text(path), re.M)) == HEADINGS
    questions, answers = (text(path).count(word) for word in ("<summary>", "</details>"))
    assert questions == answers == 3


@pytest.mark.parametrize("path", PAGES)
def test_links_and_quoted_code_exist(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", text(path)):
        assert (FOLDER / target).exists(), target
    includes = re.findall(r"^```\{literalinclude\} (\S+)\n(.*?)^```", text(path), re.M | re.S)
    assert includes, "no code is shown from the source"
    for target, options in includes:
        source = text(FOLDER / target)
        for option, value in re.findall(r"^:([\w-]+): (.+)$", options, re.M):
            if option == "pyobject":
                *owner, name = value.split(".")
                assert all(re.search(rf"^class {part}\b", source, re.M) for part in owner), value
                assert re.search(rf"^ *(def|class) {name}\b", source, re.M), value
            elif option in ("start-at", "end-at", "end-before"):
                assert value in source, value


def test_the_contents_list_every_page():
    contents = text(FOLDER / "index.md")
    listed = re.search(r"^```\{toctree\}\n(.*?)^```", contents, re.M | re.S)[1]
    for path in FOLDER.glob("*.md"):
        if path.name != "index.md":
            assert path.stem in listed.split(), path.name
            assert f"]({path.name})" in contents, path.name
