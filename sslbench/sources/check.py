"""Whether a file is the one that was declared: size, digest, and no HTML page."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sslbench.files import write_atomic
from sslbench.sources.page import HEAD, describe_page, is_page
from sslbench.sources.source import Source


def digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digests(path: Path) -> dict[str, str]:
    """SHA-256 and MD5 of a file by algorithm, in one pass. Raises OSError."""
    both = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for state in both.values():
                state.update(chunk)
    return {algorithm: state.hexdigest() for algorithm, state in both.items()}


def pin_path(path: Path) -> Path:
    """Where the digest of a file is kept for which nobody publishes one; `sha256sum -c` reads it."""
    return path.with_name(f"{path.name}.sha256")


def expected_digests(source: Source, path: Path) -> dict[str, str]:
    """What is published, else what was pinned when `path` was first used, by algorithm; prefixes are enough."""
    published = {"sha256": source.sha256.lower(), "md5": source.md5.lower()}
    if any(published.values()):
        return {algorithm: value for algorithm, value in published.items() if value}
    pin = pin_path(path)
    words = pin.read_text(encoding="utf-8").split() if pin.is_file() else []
    return {"sha256": words[0].lower()} if words else {}


def problem(file: Path, source: Source, path: Path) -> str:
    """What is wrong with `file`, in words, before it may be used as `path`; empty where it is sound. Raises OSError."""
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    if is_page(source.filename, head):
        return describe_page(head)
    size = file.stat().st_size
    if source.size is not None and size != source.size:
        return f"expected {source.size} bytes, got {size}"
    if size == 0:
        return "it is empty"
    for algorithm, expected in expected_digests(source, path).items():
        actual = digest(file, algorithm)
        if not actual.startswith(expected):
            reason = f"expected {algorithm} {expected}, got {actual[: max(len(expected), 16)]}"
            if source.sha256 or source.md5:
                return reason
            return f"{reason} (pinned when it was first used; if its publisher changed it, remove {pin_path(path)})"
    return ""


def pin(source: Source, path: Path) -> None:
    """Keep the digest of a sound file for which none is published. Raises OSError."""
    if not expected_digests(source, path):
        write_atomic(pin_path(path), f"{digest(path, 'sha256')}  {path.name}\n".encode())
