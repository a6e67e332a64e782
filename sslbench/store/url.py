"""How a store is told from a directory."""

from __future__ import annotations

import re


def is_url(text: object) -> bool:
    """Whether a setting names a store and no directory."""
    return isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None
