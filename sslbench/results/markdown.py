"""Markdown tables, and names in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table whose first `left` columns stand to the left and the others to the right; cells are Markdown."""
    lines = [head, [*["---"] * left, *["---:"] * (len(head) - left)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, inside a cell too."""
    # Underscores stay: inside a word, where names have them, they are no markup.
    return re.sub(r"([\\`*<|\[])", r"\\\1", " ".join(text.split()))
