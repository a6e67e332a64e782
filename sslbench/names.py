"""Names and globs: matching, bytes that are not UTF-8, and helpful answers to unknown ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from sslbench.errors import UnknownNameError


def split_patterns(value: str | Iterable[str]) -> list[str]:
    r"""The names or globs of an option: text at its commas, or, where it has several lines, line by line; a list as it is.

    Blanks around and between them are dropped. `\,` stands for a comma that belongs to a name or path. On lines of their
    own and in a list names are apart already, so that a comma there is always one of theirs.
    """
    if not isinstance(value, str):
        parts = list(value)
    elif "\n" in value.strip():
        parts = [re.sub(r"(?<!\\),\s*$", "", line) for line in value.splitlines()]
    else:
        parts = re.split(r"(?<!\\),", value)
    return [part.strip().replace("\\,", ",") for part in parts if part.strip()]


def is_glob(pattern: str) -> bool:
    """Whether `pattern` holds a wildcard.

    Only `*` and `[` count: `?` starts the options of a backbone name (`file:PATH?arch=...`).
    """
    return "*" in pattern or "[" in pattern


def matches(name: str, pattern: str) -> bool:
    """Whether `name` equals `pattern` or is matched by it as a glob (`*`, `[...]`)."""
    return name == pattern or fnmatchcase(name, pattern.replace("?", "[?]"))


def encoded(name: str) -> bytes:
    """The bytes of a name, for a digest; a file name that is not UTF-8 keeps its own."""
    return name.encode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    """Text that every file and terminal takes: bytes of file names that are not UTF-8 are shown as \\xe9."""
    try:
        return encoded(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # Half a character, which stands for no byte of a name.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """`; did you mean 'strict'?` where one of the choices is near the value, otherwise nothing."""
    known = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(value).lower(), known, n=1, cutoff=0.7)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """Build the error for a name that nobody declared, with the nearest known ones."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    told = (
        f"nearest: {', '.join(near)}" if near else f"known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    )
    return UnknownNameError(f"unknown {kind} {name!r}; {told}{'. ' + hint if hint else ''}")


def select(kind: str, names: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """Names matched by any pattern, in the order of `names`.

    Raises UnknownNameError for a pattern that matches nothing.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        hits = [name for name in names if matches(name, pattern)]
        if not hits:
            if is_glob(pattern):
                raise UnknownNameError(
                    f"the glob {pattern!r} matches no {kind}; known: {', '.join(names[:12])}"
                    f"{', ...' if len(names) > 12 else ''}"
                )
            raise unknown(kind, pattern, names)
        chosen.update(hits)
    return [name for name in names if name in chosen]
