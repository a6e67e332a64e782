"""The C allocator's settings; what they gain is measured in docs/extraction.md."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# A block freed and taken again costs page faults only when it went back to the system in between.
FAULTS = """
import resource, sys
import torch
from sslbench.features.allocator import keep_large_blocks, return_large_blocks
if sys.argv[1] == "keep":
    assert keep_large_blocks()
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(40 << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# Small blocks come to lie between the large ones at first, until there are enough holes.
for _ in range(30):
    faults()
settled = sum(faults() for _ in range(10))
if sys.argv[1] == "keep":
    return_large_blocks()
print(settled, faults())
"""


def faults(how: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of the GNU C library")
def test_large_blocks_are_kept_until_they_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    plain, _ = faults("leave")
    kept, after = faults("keep")
    assert plain > 10 * 10_000
    assert kept < plain / 4
    assert after > 10_000
