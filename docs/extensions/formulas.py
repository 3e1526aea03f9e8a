"""Formulas as MathML, which browsers draw themselves: latex2mathml translates the LaTeX, and no script is loaded."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(translator: Any, node: nodes.Element, *, block: bool) -> None:
    """Write the formula; one that docutils cannot read is a warning, so that the build fails."""
    text = node.astext()
    if block and r"\\" in text and r"\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    try:
        formula = convert(text, display="block" if block else "inline")
        unknown = re.findall(r"\\[A-Za-z]+", formula)
    except Exception as error:
        formula, unknown = translator.encode(text), [repr(error)]
    if unknown:
        logger.warning("formula %r: cannot translate %s", text, ", ".join(unknown), location=node)
    translator.body.append(f'<div class="math block" tabindex="0">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def inline(translator: Any, node: nodes.Element) -> None:
    """Write a formula inside a line."""
    mathml(translator, node, block=False)


def block(translator: Any, node: nodes.Element) -> None:
    """Write a formula on lines of its own."""
    mathml(translator, node, block=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
