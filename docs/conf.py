"""Builds the documentation site from the pages as they are: ``make docs``. Links are those that also work in the repository.

The navigation is docs/index.md: every section with its list of links becomes a part of the sidebar. A page that no list names,
and a link that leads nowhere, are warnings, and warnings are errors.
"""

import re
from typing import Any

project = "edgefleet"
author = "the edgefleet authors"
project_copyright = "the edgefleet authors, Apache-2.0"

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CHANGELOG.md", "ansible/README.md"]
exclude_patterns = [
    ".*",
    "agent",
    "bench",
    "build",
    "compression",
    "controller",
    "deploy",
    "dist",
    "shared",
    "tests",
    "docs/img",
]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "edgefleet"
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["site"]

SECTION = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)
PAGE = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<path>[^)#]+)\.md\)", re.MULTILINE)


def navigation(text: str) -> str:
    """Hidden tables of contents, one for each section of the index, with the words of its links."""
    parts = SECTION.split(text)[1:]
    trees = []
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        entries = "\n".join(f"{match['title']} <{match['path']}>" for match in PAGE.finditer(body))
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n")
    return "\n".join(trees)


def _add_navigation(_app: Any, docname: str, source: list[str]) -> None:
    if docname == root_doc:
        source[0] += "\n" + navigation(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Connect what this file adds."""
    app.connect("source-read", _add_navigation)
    return {"parallel_read_safe": True}
