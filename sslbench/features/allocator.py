"""What the C allocator does with the large blocks that a network's layers take and return."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

# malloc.h of the GNU C library.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


@cache
def keep_large_blocks() -> bool:
    """Let the allocator keep what is freed for the next layer; whether it agreed. Once a process, GNU C library only.

    By default a block of more than 32 MiB goes back to the system when it is freed, and the next layer pays a page
    fault for each 4 KiB of its output: nearly half the time of a ResNet-50 on two cores (docs/extraction.md). A user
    who has set the allocator's own variables knows better and is left alone.
    """
    if platform.libc_ver()[0] != "glibc" or {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys():
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(library.mallopt(_TRIM_THRESHOLD, _LARGEST))


def return_large_blocks() -> None:
    """Give what was kept back to the system; nothing to do where nothing was."""
    if keep_large_blocks():
        ctypes.CDLL(None).malloc_trim(0)
