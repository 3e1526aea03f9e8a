"""Links the first use of each word of docs/glossary.md on a page to its explanation."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes

GLOSSARY = "docs/glossary"
NOT_LINKED = (GLOSSARY, "docs/index", "docs/how_to", "docs/project")
NOT_LINKED_FOLDERS = ("docs/decisions/", "docs/reference/")
NO_LINKS = (nodes.reference, nodes.literal, nodes.title, nodes.literal_block, nodes.raw, nodes.caption, nodes.term)


@cache
def words() -> dict[str, str]:
    """Return the words of the glossary: {regular expression: anchor}; the longest first."""
    text = (Path(__file__).parents[1] / "glossary.md").read_text(encoding="utf-8")
    names = sorted(re.findall(r"^## (.+)$", text, re.M), key=len, reverse=True)
    return {pattern(name): nodes.make_id(name) for name in names}


def pattern(name: str) -> str:
    """Return the regular expression of a word: also in the plural, and in the other spelling of normalization.

    Examples
    --------
    >>> [bool(re.search(pattern("Batch normalization"), text)) for text in ("batch normalisation", "batches")]
    [True, False]
    """
    first = re.escape(name[0])
    initial = first if name[:2].isupper() else f"[{first.lower()}{first.upper()}]"
    rest = re.escape(name[1:]).replace("iz", "i[sz]")
    return rf"\b{initial}{rest}(?:e?s)?\b"


def link_words(app: Any, doctree: nodes.document, page: str) -> None:
    """Replace the first use of each word in the text of a page by a link."""
    if not page.startswith("docs/") or page in NOT_LINKED or page.startswith(NOT_LINKED_FOLDERS):
        return
    to = app.builder.get_relative_uri(page, GLOSSARY)
    left = dict(words())
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, (nodes.paragraph, nodes.emphasis)) and not has_ancestor(text, NO_LINKS):
            parts = linked(str(text), left, to)
            if len(parts) > 1:
                text.parent.replace(text, parts)


def has_ancestor(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    """Return whether a node is inside one of these."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def linked(text: str, left: dict[str, str], to: str) -> list[nodes.Node]:
    """Return a text cut into parts, with links for the words in ``left``, which are taken out of it."""
    for word, anchor in list(left.items()):
        found = re.search(word, text)
        if found:
            del left[word]
            link = nodes.reference("", found[0], internal=True, refuri=f"{to}#{anchor}", classes=["glossary"])
            return [*linked(text[: found.start()], left, to), link, *linked(text[found.end() :], left, to)]
    return [nodes.Text(text)] if text else []


def setup(app: Any) -> dict[str, Any]:
    """Connect the function above."""
    app.connect("doctree-resolved", link_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
