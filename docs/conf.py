"""The documentation as a site: `make site`."""

import hashlib
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)  # cells run this very library, whatever is installed
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # bars are no part of a page

from docs import notebooks, reference  # noqa: E402
from scorefield import __version__  # noqa: E402


def library() -> str:
    """A digest of the library: what another one has executed is executed again."""
    files = sorted((ROOT / "scorefield").rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


project = "Scorefield"
author = copyright = "The Scorefield authors"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "docs.mathml"]
exclude_patterns = ["pictures", "images", "cells"]
default_role = "code"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = os.environ.get("SCOREFIELD_CELLS", "cache")  # off: the fast half of the site
nb_execution_cache_path = str(ROOT / "build" / "executed" / library())
nb_execution_timeout = 600  # of a cell, on a machine that has other work
nb_execution_in_temp = True  # what a cell writes is no part of the sources
nb_execution_raise_on_error = True
nb_merge_streams = True  # what a cell prints is one block

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"Scorefield {__version__}"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]


def plain(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text with code in backquotes: what else reStructuredText would read as
    markup is escaped, and a block that is further in stands between empty lines. Doctests stay."""
    before, example = "", False
    for i, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if example:
            continue
        parts = re.split(r"(`[^`]*`)", line)
        parts[::2] = [re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        parts[2::2] = [re.sub(r"^(?=[\w^+=(])", r"\\ ", part) for part in parts[2::2]]  # `s`^2
        line = "".join(parts)
        indent, last = (len(text) - len(text.lstrip()) for text in (line, before))
        lines[i] = f"\n{line}" if before.strip() and line.strip() and indent != last else line
        before = line
    lines[:] = "\n".join(lines).split("\n")


def downloadable(app, name: str, source: list[str]) -> None:
    """A page with cells says below its title where it is as a notebook."""
    if "{code-cell}" in source[0] and name.startswith("course/"):
        stem = name.partition("/")[2]
        link = f"{{nb-download}}`This page as a notebook <{stem}.ipynb>`"
        source[0] = re.sub(r"^(# .*\n)", rf"\1\n{link}\n", source[0], count=1, flags=re.MULTILINE)


def setup(app) -> None:
    reference.written(HERE / "reference", dict(reference.pages()))
    reference.written(HERE / "examples", notebooks.pages())
    app.connect("source-read", downloadable)
    app.connect("autodoc-process-docstring", plain)
