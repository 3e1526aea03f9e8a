"""Mends for readers who hear the page or have a small screen.

Tables in the stored outputs of notebooks scroll inside themselves, and an empty corner is no heading. The buttons that
open a part of the contents have a name.
"""

import re
from typing import Any

from docutils import nodes


def mend(app: Any, doctree: nodes.document) -> None:
    """Mend the tables of a page that came as HTML."""
    for raw in list(doctree.findall(nodes.raw)):
        if raw.get("format") == "html" and "<table" in raw.astext():
            text = re.sub(r"<th\b([^>]*)>\s*</th>", r"<td\1></td>", raw.astext())
            text = re.sub(r"<table\b", '<div class="wide" tabindex="0"><table', text).replace(
                "</table>", "</table></div>"
            )
            raw.replace_self(nodes.raw("", text, format="html"))


def name_buttons(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Name the buttons in the contents, which the theme leaves to their symbol."""
    toctree = context.get("generate_toctree_html")
    if toctree is not None:

        def named(*arguments: Any, **options: Any) -> str:
            made = str(toctree(*arguments, **options))
            return made.replace("<summary>", '<summary aria-label="pages of this part">')

        context["generate_toctree_html"] = named


def setup(app: Any) -> dict[str, Any]:
    """Connect the functions above."""
    app.connect("doctree-read", mend)
    app.connect("html-page-context", name_buttons, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
