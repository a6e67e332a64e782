"""Directories and run settings, shared by the Python API, the CLI and the pytest plugin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sslbench.compat import parse_compat


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


def default_offline() -> bool:
    """Whether `$HF_HUB_OFFLINE` asks for it, in the values that huggingface_hub takes for yes."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class Settings:
    """Everything outside backbone and task that a case depends on.

    device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: `float32`, or `bfloat16`/`float16` for autocast extraction.
    batch_size: pictures embedded at once; None lets the device decide.
    stored: `float32` or `float16`, the type that features are kept in on disk and in memory.
    extraction: `fast` folds BatchNorm and decodes JPEG within two grey levels of PIL; `exact` runs the network as it is on
    PIL's pixels (docs/extraction.md).
    decoded_gib: GiB of decoded pictures that the cache may hold for further backbones; 0 keeps none.
    bad_images: `fail` on an unreadable image, or `skip` it and count it in the record.
    check_data: `strict` refuses a dataset whose counts are not the published ones; `loose` runs on what is there, and
    the record says so and has no published reference. compat: choices for `sslbench.compat.SWITCHES`, where not the
    default. offline: nothing opens a socket; the default follows `$HF_HUB_OFFLINE`.
    """

    cache_dir: Path = field(default_factory=default_cache_dir)
    data_dir: Path = field(default_factory=default_data_dir)
    results_dir: Path = field(default_factory=default_results_dir)
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int | None = None
    stored: str = "float32"
    extraction: str = "fast"
    decoded_gib: float = 16.0
    bad_images: str = "fail"
    check_data: str = "strict"
    compat: Mapping[str, str] = field(default_factory=dict)
    offline: bool = field(default_factory=default_offline)

    def choice(self, switch: str) -> str:
        """The choice of a compat switch. Raises for an unknown one."""
        return parse_compat(self.compat)[switch]
