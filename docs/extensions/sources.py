"""Pages of source text, and the links to them: from each signature of the reference, and from files that pages link to.

A link of a page to a file that is no page, such as ``../cnn/module.py``, becomes ``repo:cnn/module.py`` when the page
is read, and then a link to a page with the file's text. HTML files are copied as they are.
"""

import ast
import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent.parent
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
TOO_LONG = 200_000  # characters; a longer file is linked by its name only


def link_files(app: Sphinx, docname: str, content: list[str]) -> None:
    """Mark the links of a Markdown page to files and folders that are no pages."""
    page = Path(app.env.doc2path(docname))
    if page.suffix != ".md":
        return

    def marked(found: re.Match[str]) -> str:
        target = (page.parent / found[1]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return found[0]
        path = target.relative_to(ROOT)
        if target.is_dir():
            index = path / "index"
            return f"/{index}.md" if index.as_posix() in app.env.found_docs else f"repo:{path.as_posix()}"
        if app.env.path2doc(target) in app.env.found_docs or target.suffix in {".png", ".svg"}:
            return found[0]
        return f"repo:{path.as_posix()}{found[2] or ''}"

    content[0] = LINK.sub(marked, content[0])


@cache
def lines_of(path: Path) -> dict[str, int]:
    """Return the first line of each class, function and method of a file, by its dotted name."""
    found: dict[str, int] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for statement in body:
            if isinstance(statement, ast.ClassDef | ast.FunctionDef):
                found[prefix + statement.name] = statement.lineno
                if isinstance(statement, ast.ClassDef):
                    visit(statement.body, f"{prefix}{statement.name}.")
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                found.update({prefix + name.id: statement.lineno for name in targets if isinstance(name, ast.Name)})

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def source_of(thing: Any, parts: list[str]) -> tuple[str, int] | None:
    """Return the file, from the root of the clone, and the line in which a public name is written."""
    owner = thing
    for name in parts[:-1]:
        owner = getattr(owner, name)
    value = getattr(owner, parts[-1], None)
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, property):
        value = value.fget
    elif hasattr(value, "func"):  # functools.cached_property
        value = value.func
    module = inspect.getmodule(value) or (thing if inspect.ismodule(thing) else None)
    if module is None or not module.__name__.startswith("cnn") or not module.__file__:
        return None
    path = Path(module.__file__)
    line = lines_of(path).get(getattr(value, "__qualname__", parts[-1]))
    return (path.relative_to(ROOT).as_posix(), line) if line else None


def link_signatures(app: Sphinx, doctree: nodes.document) -> None:
    """Add the link to its source to each signature, and give the links to files their place in the site."""
    docname = app.env.docname
    up = "../" * docname.count("/")
    used: set[str] = app.env.__dict__.setdefault("cnn_sources", set())
    for signature in list(doctree.findall(addnodes.desc_signature)):
        module, name = signature.get("module"), signature.get("fullname")
        if module and name and (found := source_of(importlib.import_module(module), name.split("."))):
            path, line = found
            used.add(path)
            link = nodes.reference("", "source", refuri=f"{up}source/{path}.html#line-{line}", classes=["source-link"])
            link["aria-label"] = f"source of {name}"
            signature += link
    for quoted in doctree.findall(nodes.literal_block):
        if str(quoted.get("source", "")).endswith(".py"):
            quoted["language"] = "python"
    for reference in doctree.findall(nodes.reference):
        uri = reference.get("refuri", "")
        if uri.startswith("repo:"):
            path, mark, fragment = uri.removeprefix("repo:").partition("#")
            used.add(path)
            place = path if path.endswith(".html") else f"source/{path}.html"
            reference["refuri"] = up + place + mark + fragment


def merge(app: Sphinx, env: Any, docnames: Any, other: Any) -> None:
    """Unite what parallel processes have found."""
    env.__dict__.setdefault("cnn_sources", set()).update(other.__dict__.get("cnn_sources", ()))


def text_page(path: str) -> str:
    """Return the HTML of a file's text, with numbered lines, or of a folder's list of files."""
    file = ROOT / path
    if file.is_dir():
        return "<ul>" + "".join(f"<li>{escape(one.name)}</li>" for one in sorted(file.iterdir())) + "</ul>"
    text = file.read_text(encoding="utf-8")
    if len(text) > TOO_LONG:
        return f"<p>{len(text):,} characters: see the file in the repository.</p>"
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    formatter = HtmlFormatter(linenos="inline", lineanchors="line", wrapcode=True, cssclass="highlight source-text")
    return highlight(text, lexer, formatter).replace("<pre>", '<pre tabindex="0">', 1)


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Make a page for each file that is linked."""
    for path in sorted(app.env.__dict__.get("cnn_sources", ())):
        if path.endswith(".html"):
            target = Path(app.outdir) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)
        else:
            yield f"source/{path}", {"title": path, "body": f"<h1>{escape(path)}</h1>{text_page(path)}"}, "page.html"


def first_page(app: Sphinx, error: Exception | None) -> None:
    """Write docs/_build/html/index.html, which leads to the first page."""
    if error is None:
        start = f"{app.config.root_doc}.html"
        text = f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{app.config.html_title}</title>'
        text += (
            f'<meta http-equiv="refresh" content="0; url={start}"><a href="{start}">{app.config.html_title}</a></html>'
        )
        (Path(app.outdir) / "index.html").write_text(text + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions above."""
    app.connect("source-read", link_files)
    app.connect("doctree-read", link_signatures)
    app.connect("env-merge-info", merge)
    app.connect("html-collect-pages", source_pages)
    app.connect("build-finished", first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
