"""What the commands share: their types, and options that several have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from sslbench.config import default_cache_dir, default_data_dir, default_results_dir

Command = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def results_option(parser: argparse.ArgumentParser) -> None:
    """`--results DIR`."""
    parser.add_argument(
        "--results", type=Path, default=default_results_dir(), help="results directory (default %(default)s)"
    )


def cache_option(parser: argparse.ArgumentParser) -> None:
    """`--cache DIR`."""
    parser.add_argument("--cache", type=Path, default=default_cache_dir(), help="cache directory (default %(default)s)")


def data_option(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`."""
    parser.add_argument("--data", type=Path, default=default_data_dir(), help="data directory (default %(default)s)")


def size_text(size: int | None) -> str:
    """Bytes in decimal units, as download pages give them."""
    if size is None:
        return "size unknown"
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} bytes"
