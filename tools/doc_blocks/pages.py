"""Blocks of a page that a command writes: found by their markers, and replaced or compared."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

OPEN, CLOSE = "<!-- table: ", "<!-- /table -->"
_BLOCK = re.compile(r"<!-- table: (?P<name>[a-z-]+) -->\n(?P<body>.*?)<!-- /table -->", re.DOTALL)


class PageError(Exception):
    """A page whose blocks cannot be written."""


def filled(text: str, blocks: Mapping[str, str], where: str) -> str:
    """The page with every block as `blocks` has it; PageError for an unknown one or for markers that do not match."""
    _check_markers(text, where)

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in blocks:
            raise PageError(f"{where} has a block {name!r}, which nothing makes; known are {', '.join(sorted(blocks))}")
        return f"{OPEN}{name} -->\n{blocks[name].strip()}\n{CLOSE}"

    return _BLOCK.sub(block, text)


def names(text: str) -> list[str]:
    """The blocks of a page, in its order."""
    return [match["name"] for match in _BLOCK.finditer(text)]


def by_hand(text: str, backbones: Collection[str]) -> Iterator[str]:
    """Rows of tables outside of blocks that look like scores: a backbone of the baseline, then a number with decimals.

    What a command prints on other tasks may stand in a page as it is.
    """
    for line in _BLOCK.sub("", text).splitlines():
        if line.startswith("|"):
            first, *cells = (cell.strip(" `*_") for cell in line.strip("|").split("|"))
            if first in backbones and any(re.match(r"[-+−]?\d+\.\d", cell) for cell in cells):
                yield line


def _check_markers(text: str, where: str) -> None:
    inside = ""
    for line in text.splitlines():
        opens, closes = line.startswith(OPEN), line == CLOSE
        if (opens and inside) or (closes and not inside) or (opens and not _BLOCK.match(f"{line}\n{CLOSE}")):
            raise PageError(
                f"{where}: expected {OPEN}NAME --> and {CLOSE} in turn, each on a line of its own, got {line!r}"
            )
        inside = line if opens else "" if closes else inside
    if inside:
        raise PageError(f"{where}: {inside} is not closed by {CLOSE}")
