"""What identifies one file a picture, without reading any of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sslbench.names import encoded


def sizes_digest(start: Any, files: Iterable[tuple[str, int]]) -> str:
    """32 hexadecimal digits that change with names, sizes in bytes, their order and `start`, which JSON can hold.

    As for pictures, not the contents: gigabytes would have to be read for it.
    """
    digest = hashlib.blake2b(json.dumps(start).encode(), digest_size=16)
    for name, size in files:
        digest.update(encoded(name) + f"\0{size}\n".encode())
    return digest.hexdigest()
