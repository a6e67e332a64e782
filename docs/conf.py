"""The site: pages of docs/, with README.md as the first one, and the public API (`public_api.py`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import public_api  # noqa: E402

project = "sslbench"
author = "the authors of sslbench"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "sslbench"
exclude_patterns = ["_build"]

myst_heading_anchors = 4

# Pages of the repository's root, by the page that stands for each. A marker in that page says where its text goes.
FROM_ROOT = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changes": "CHANGELOG.md",
    "study-tables": "sslbench/studies/ericsson2021/tables/README.md",
}
MARKER = "<!-- file: {} -->"


def _read(app: Any, docname: str, source: list[str]) -> None:
    """Links to pages of the root lead to those that stand for them; pages of the root and the API are put in."""
    text = source[0]
    for page, file in FROM_ROOT.items():
        text = text.replace(f"](../{file})", f"]({page}.md)")
    if docname in FROM_ROOT:
        file = FROM_ROOT[docname]
        marker = MARKER.format(file)
        if marker not in text:
            raise ValueError(f"docs/{docname}.md: expected the line {marker}")
        text = text.replace(marker, _of_the_root(file))
    if docname == "api":
        text = public_api.filled(text, ROOT)
    source[0] = text


def _of_the_root(file: str) -> str:
    """A page of the root with links that hold from docs/."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for page, other in FROM_ROOT.items():
        text = text.replace(f"]({other})", f"](docs/{page}.md)")
    return re.sub(r"\]\((?!https?:|#)", "](../", text).replace("](../docs/", "](")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
