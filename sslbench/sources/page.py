"""HTML pages that come instead of a file: a login, a consent, a preview, an error that is said with status 200."""

from __future__ import annotations

import html
import re

HEAD = 64 * 1024

# `Error` is how object stores say it. A byte order mark, an XML declaration and comments may stand before the first element.
_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body|script|error)\b",
    re.IGNORECASE | re.DOTALL,
)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def is_page(filename: str, head: bytes, content_type: str = "") -> bool:
    """Whether these first bytes, or what the server calls them, are a page although `filename` is none."""
    if filename.lower().endswith((".html", ".htm")):
        return False
    return content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml") or bool(
        _START.match(head)
    )


def describe_page(head: bytes) -> str:
    """The page in words, with its title where it has one."""
    found = _TITLE.search(head)
    title = " ".join(html.unescape(found[1].decode("utf-8", "replace")).split())[:80] if found else ""
    return f"an HTML page{f' ({title!r})' if title else ''} instead of the file, such as a login, consent or error page"
