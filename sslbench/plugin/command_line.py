"""A command line that pytest or xdist takes otherwise than its writer."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from sslbench.files import is_there
from sslbench.names import printable

ENGINE = "--sslbench-engine"
# Where pytest looks for its options, and what says that there are some; the first four are its own in any case.
_INI_FILES = {
    "pytest.toml": "",
    ".pytest.toml": "",
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}


def check_paths(config: pytest.Config, flags: Sequence[str]) -> None:
    """Raise pytest.UsageError when the value of an option has hidden the project's ini file.

    pytest chooses the ini file before it loads plugins. It does not know then that the option takes a value, and looks for
    the file from that path as if tests were there.
    """
    if config.getoption("inifilename", None):
        return
    given = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *map(str, config.invocation_params.args)]
    mistaken = [(flag, value) for flag, value in pairwise(given) if flag in flags]
    here = config.invocation_params.dir
    mistaken = [(flag, value) for flag, value in mistaken if is_there(here / value)]
    if not mistaken:
        return
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    tests = [here / argument.partition("::")[0] for argument in config.args] if named else [here]
    hidden = _ini_file([path for path in tests if is_there(path)])
    if hidden is not None and (config.inipath is None or not hidden.samefile(config.inipath)):
        flag, value = mistaken[0]
        raise pytest.UsageError(
            f"pytest took {value}, the value of {flag}, for a test path, and therefore read the ini file "
            f"{config.inipath or '(none)'} instead of {hidden}. Write {flag}={value}"
        )


def check_carried(config: pytest.Config, flags: Sequence[str]) -> None:
    """Raise pytest.UsageError where an option holds what is not UTF-8 and xdist is on, which would end in an internal error."""
    given = ["", *map(str, config.invocation_params.args)]
    ours = [text for before, text in pairwise(given) if before in flags or text.partition("=")[0] in flags]
    odd = [text for text in ours if printable(text) != text]
    if odd and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError(
            f"pytest-xdist cannot hand on {printable(odd[0])}, which is not UTF-8: rename the folder, name it through a link, "
            "or run without -n"
        )


def check_alone(config: pytest.Config) -> None:
    """Raise pytest.UsageError where the command line names an engine and xdist is on, whose workers would start for nothing.

    An engine of the ini file or of PYTEST_ADDOPTS is for sessions with cases, and whether this is one only the workers will know.
    """
    named = any(str(argument).partition("=")[0] == ENGINE for argument in config.invocation_params.args)
    on = getattr(config.option, "tx", None) and config.option.dist != "no" and not config.option.collectonly
    if on and named and (engine := config.getoption(ENGINE)):
        from sslbench.engine.base import engine_spec
        from sslbench.errors import SslbenchError

        try:
            engine_spec(engine)
        except SslbenchError as error:
            raise pytest.UsageError(str(error)) from error
        raise pytest.UsageError(not_with_xdist(engine))


def not_with_xdist(engine: str) -> str:
    """Why not, and what to do."""
    return f"{ENGINE}={engine} spreads cases by itself and does not go with pytest-xdist: leave -n out"


def _ini_file(paths: Sequence[Path]) -> Path | None:
    """As pytest looks for it: from what all paths have in common upwards, else from the first path that has one above."""
    if not paths:
        return None
    for path in (Path(os.path.commonpath(paths)), *paths):
        for folder in (path, *path.parents):
            for name, sign in _INI_FILES.items():
                file = folder / name
                if file.is_file() and sign in file.read_text(encoding="utf-8", errors="replace"):
                    return file
    return None
