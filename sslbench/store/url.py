"""How a store is told from a directory."""

from __future__ import annotations

import re


def is_url(text: object) -> bool:
    """Whether a setting names a store and no directory."""
    return isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def is_url_as_path(text: str) -> bool:
    """Whether a path was a URL before it lost one of its two slashes."""
    return re.match(r"(s3a?|gs|gcs|file|memory):/", text) is not None
