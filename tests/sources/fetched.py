"""The file that tests fetch, and what may lie beside it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

DATA = random.Random(0).randbytes(3 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in &ndash; Accounts</title></head></html>"


def only_the_file(directory: Path, name: str = "net.pth") -> None:
    """Nothing is left beside the file but its lock and, where no digest is published, its pin."""
    left = {path.name for path in directory.iterdir()}
    assert left - {f".{name}.lock", f"{name}.sha256"} == {name}
