"""What the commands share: their types, and options that several have."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from sslbench.config import default_cache_dir, default_data_dir, default_results_dir, expand
from sslbench.errors import SettingsError
from sslbench.store.url import is_url

Command = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def results_option(parser: argparse.ArgumentParser) -> None:
    """`--results DIR`."""
    _directory(parser, "--results", default_results_dir, "results directory (default: SSLBENCH_RESULTS, else results)")


def directory_or_url(given: str) -> Path | str:
    """An argument that names a directory, as a path, or a store, as text."""
    return given if is_url(given) else Path(given)


def cache_option(parser: argparse.ArgumentParser) -> None:
    """`--cache DIR`."""
    _directory(
        parser, "--cache", default_cache_dir, "cache directory (default: SSLBENCH_CACHE, else ~/.cache/sslbench)"
    )


def data_option(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`."""
    _directory(parser, "--data", default_data_dir, "data directory (default: SSLBENCH_DATA, else data)")


def _directory(parser: argparse.ArgumentParser, flag: str, default: Callable[[], Path], text: str) -> None:
    # argparse converts a default that is text only for the command that is called: others need no home directory.
    parser.add_argument(
        flag, type=lambda given: expand(given) if given else default(), default="", metavar="DIR", help=text
    )


def check_writable(directory: Path, remedy: str) -> None:
    """Raise SettingsError where nothing can be written in a directory, there yet or not. remedy: what to do then."""
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"the directory {directory} cannot be written: {reason}. {remedy}") from error
