"""The command line, one file a command: `sslbench demo | list | fetch | report | figures | claims | compare` and more."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence

from sslbench.cli import (
    cache,
    claims,
    compare,
    convert,
    demo,
    doctor,
    fetch,
    figures,
    history,
    listing,
    merge,
    plan,
    report,
    show,
)
from sslbench.cli.command import Command
from sslbench.errors import SslbenchError

_COMMANDS = (demo, listing, fetch, convert, plan, report, figures, show, compare, merge, history, claims, cache, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 a problem was found, 2 bad input, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    plain, warnings.formatwarning = warnings.formatwarning, _warning_line
    try:
        arguments = _parser().parse_args(argv)
        command: Command = arguments.command
        status = command(arguments)
        sys.stdout.flush()
        return status
    except SslbenchError as error:
        print(f"sslbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sslbench: interrupted; the same command goes on where this one ended", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) may leave early; Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"sslbench: {error}", file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = plain


def _warning_line(message: Warning | str, *_: object, **__: object) -> str:
    # Which line of which module warned tells the reader of a terminal nothing.
    return f"sslbench: warning: {message}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sslbench", description="Judge pretrained vision backbones.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
