"""Sphinx configuration: MyST pages, numpydoc for the interface, sphinx-gallery for simulations/.

sphinx-build -W -b html docs docs/_build/html              runs every simulation at its default size
sphinx-build -W -b html docs docs/_build/html -D plot_gallery=0
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import neurodecorr

project = "neurodecorr"
author = "The neurodecorr developers"
copyright = author
version = release = neurodecorr.__version__
language = "en_GB"

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
default_role = "py:obj"

myst_heading_anchors = 3

autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../simulations",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"neurodecorr {release}"
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2}
html_sidebars = {"**": []}
html_static_path = ["static"]
html_css_files = ["page.css"]

NAMED = re.compile(
    r"(?<![`{}\w])`((?:circuit|data|estimators|measures|plasticity|recording|workbench)\.[A-Za-z_][\w.]*)`"
)


def link_names(app, page, source):
    """Link every `room.name` on a page to the interface; names that stand nowhere there remain code."""
    source[0] = NAMED.sub(r"{py:obj}`\1 <neurodecorr.\1>`", source[0])


def plain_text(app, what, name, obj, options, lines):
    """Turn docstrings into reST: bars and lone stars in prose are mathematics, a list ends where its indent does."""
    literal, bullet, marked = None, None, []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip():
            literal = None if literal is not None and indent <= literal else literal
            if bullet is not None and indent <= bullet and not line.lstrip().startswith("- "):
                marked.append("")
                bullet = None
        if literal is None and not line.lstrip().startswith((">>>", "...")):
            bullet = indent if line.lstrip().startswith("- ") else bullet if line.strip() else None
            literal = indent if line.rstrip().endswith("::") else None
            line = line.replace("|", r"\|")
            if line.count("*") % 2:
                line = re.sub(r"(?<=[\s(])\*(?=\w)", r"\\*", line)
        marked.append(line)
    lines[:] = marked


def setup(app):
    """Connect both; `plain_text` runs before numpydoc."""
    app.connect("source-read", link_names)
    app.connect("autodoc-process-docstring", plain_text, priority=100)
