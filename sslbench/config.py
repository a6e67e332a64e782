"""Directories and run settings, shared by the Python API, the CLI and the pytest plugin."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _directory(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else default


def default_cache_dir() -> Path:
    """`$SSLBENCH_CACHE`, else `$XDG_CACHE_HOME/sslbench`, else `~/.cache/sslbench`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return _directory("SSLBENCH_CACHE", (Path(base) if base else Path.home() / ".cache") / "sslbench")


def default_data_dir() -> Path:
    """`$SSLBENCH_DATA`, else `data` below the current directory."""
    return _directory("SSLBENCH_DATA", Path("data"))


def default_results_dir() -> Path:
    """`$SSLBENCH_RESULTS`, else `results` below the current directory."""
    return _directory("SSLBENCH_RESULTS", Path("results"))


@dataclass(frozen=True)
class Settings:
    """Everything outside backbone and task that a case depends on.

    device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: `float32`, or `bfloat16`/`float16` for autocast extraction.
    batch_size: pictures embedded at once; None lets the device decide.
    bad_images: `fail` on an unreadable image, or `skip` it and count it in the record.
    """

    cache_dir: Path = field(default_factory=default_cache_dir)
    data_dir: Path = field(default_factory=default_data_dir)
    results_dir: Path = field(default_factory=default_results_dir)
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int | None = None
    bad_images: str = "fail"
