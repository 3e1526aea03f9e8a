"""Settings of the site: bash scripts/docs.sh builds it into docs/_build. Nothing here needs a network."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent / "extensions")]

import cnn  # noqa: E402

# Sphinx reads the whole clone, so that a link in a file leads to the same place here and in the repository.
project = "cnn"
author = "the authors of cnn"
project_copyright = "the authors of cnn, MIT licence"
version = release = cnn.__version__
root_doc = "docs/index"
include_patterns = ["docs/**", "models/*.ipynb", "cnn/zoo/*/README.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = ["docs/_build", "docs/extensions", "docs/example", "**/.ipynb_checkpoints"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "formulas",
    "reference",
    "commands",
    "outputs",
    "sources",
    "glossary",
]

# Links to Python and NumPy need their inventories from the network: CNN_DOCS_INTERSPHINX=1 turns them on.
if os.environ.get("CNN_DOCS_INTERSPHINX") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
    }

# Pages
highlight_language = "text"  # of blocks that do not say their language
smartquotes = False  # --epochs keeps its two hyphens
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_disable_syntax = ["myst_line_comment"]  # a line may begin with a per cent sign
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "repo": None}  # repo: see extensions/sources.py
nb_execution_mode = "off"  # the notebooks are stored with their outputs
nb_merge_streams = True

# Reference. numpydoc warns about the sections Shape and Source, and puts all sections into an order of its own.
napoleon_google_docstring = False
napoleon_custom_sections = ["Shape", "Source"]
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "none"  # the types are in the signature and in the text
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
add_module_names = False

# Appearance
html_theme = "pydata_sphinx_theme"
html_title = "cnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # it would fetch each page, which a browser does not do for pages on disk
html_context = {"default_mode": "auto"}
html_sidebars = {"source/**": [], "docs/index": []}
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "collapse_navigation": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
