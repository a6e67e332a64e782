"""The option of `masks:PATH?ignore=...`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sslbench.errors import DataError


@dataclass(frozen=True)
class Ignore:
    """What counts for nothing: a value of masks of numbers, a colour (red, green, blue), or neither of them.

    given: whether somebody asked for it.
    """

    given: bool = False
    value: int | None = None
    colour: tuple[int, int, int] | None = None


def parse_ignore(name: str, options: Mapping[str, str]) -> Ignore:
    """`ignore=255` for a value, `ignore=#rrggbb` for a colour, `ignore=none` for nothing. Raises DataError for others."""
    if "ignore" not in options:
        return Ignore()
    text = options["ignore"]
    if text == "none":
        return Ignore(given=True)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
        return Ignore(given=True, colour=(red, green, blue))
    if re.fullmatch(r"[0-9]{1,5}", text):
        return Ignore(given=True, value=int(text))
    raise DataError(
        f"{name}: expected ignore=255 (a value), ignore=#rrggbb (a colour) or ignore=none, got ignore={text}"
    )
