"""Formulas as MathML, which browsers draw themselves: docutils translates the LaTeX, and no script is loaded.

Brackets and sums grow only with a font for mathematics, which many systems lack. The package ziamath has one.
"""

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

# What docutils does not know, and what it knows instead
SPELLINGS = [
    (r"\\dots(?![A-Za-z])", r"\\ldots "),
    (r"\\(d|t|)frac(\d)(\d)", r"\\\1frac{\2}{\3}"),
    (r"\\([bB]igg?)\s*(?=[(\[|/])", r"\\\1l"),
    (r"\\([bB]igg?)\s*(?=[)\]])", r"\\\1r"),
]


def mathml(translator: Any, node: nodes.Element, *, block: bool) -> None:
    """Write the formula; one that docutils cannot read is a warning, so that the build fails."""
    text = node.astext()
    for pattern, replacement in SPELLINGS:
        text = re.sub(pattern, replacement, text)
    if block and r"\\" in text and r"\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    try:
        formula = tex2mathml(text, as_block=block)
    except MathError as error:
        logger.warning("formula %r: %s", text, error, location=node)
        formula = translator.encode(text)
    if r"\begin{aligned}" in text:  # otherwise its fractions and sums are small, as in a matrix
        formula = formula.replace('<mtable class="ams-align"', '<mtable class="ams-align" displaystyle="true"')
    translator.body.append(f'<div class="formula" tabindex="0">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def inline(translator: Any, node: nodes.Element) -> None:
    """Write a formula inside a line."""
    mathml(translator, node, block=False)


def block(translator: Any, node: nodes.Element) -> None:
    """Write a formula on lines of its own."""
    mathml(translator, node, block=True)


def copy_font(app: Sphinx, error: Exception | None) -> None:
    """Put the font beside the style sheet."""
    if error is None:
        font = distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
        shutil.copyfile(str(font), Path(app.outdir) / "_static" / "STIXTwoMath-Regular.ttf")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer, and copy the font."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    app.connect("build-finished", copy_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
