"""`sslbench convert`: a published checkpoint that was fetched by hand, made ready to load."""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.cli.command import Commands, cache_option
from sslbench.config import Settings


def add(commands: Commands) -> None:
    """Declare the command."""
    convert = commands.add_parser("convert", help="convert a published checkpoint file, so that its name loads")
    convert.add_argument("file", type=Path)
    convert.add_argument("--as", dest="name", required=True, metavar="NAME", help="the backbone whose file it is")
    cache_option(convert)
    convert.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    from sslbench.cli import fetchable

    print(fetchable.convert_checkpoint(arguments.file, arguments.name, Settings(cache_dir=arguments.cache)))
    return 0
