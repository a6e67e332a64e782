"""Options in the ini file: text, lists, and the numbers and switches that TOML has types for."""

from __future__ import annotations

import warnings
from typing import Literal, TypeAlias

import pytest

from sslbench.errors import SettingsError

Value: TypeAlias = str | list[str] | bool | int | float | None

_NAME = "sslbench-ini"
_TYPES: tuple[Literal["string", "linelist", "bool", "float"], ...] = ("string", "linelist", "bool", "float")


class IniFile:
    """Reads a value of any of these types.

    In native TOML (pytest 9) pytest takes values of the declared type only, and an option can have but one at a time; so it
    is declared with one after the other until the value is of that type. In ini files and `ini_options` the first or the
    second always is.
    """

    def __init__(self, parser: pytest.Parser) -> None:
        self._parser = parser
        self._help: dict[str, str] = {}

    @staticmethod
    def add(parser: pytest.Parser, manager: pytest.PytestPluginManager) -> IniFile:
        """Make one for this session; `of` finds it again."""
        ini = IniFile(parser)
        manager.register(ini, _NAME)
        return ini

    @staticmethod
    def of(config: pytest.Config) -> IniFile:
        """The one of a session."""
        ini = config.pluginmanager.get_plugin(_NAME)
        assert isinstance(ini, IniFile)
        return ini

    def declare(self, name: str, help: str) -> None:
        """Make an option known."""
        self._help[name] = help
        self._parser.addini(name, help, default=None)

    def read(self, config: pytest.Config, name: str) -> Value:
        """The value, or None where there is none. pytest.UsageError for a table and the like."""
        for kind in _TYPES:
            try:
                with warnings.catch_warnings():
                    # Before pytest 10 a list passes for text, with this warning.
                    warnings.simplefilter("error", pytest.PytestDeprecationWarning)
                    value: Value = config.getini(name)
                    return value
            except (TypeError, ValueError, pytest.UsageError, pytest.PytestDeprecationWarning):
                following = _TYPES[_TYPES.index(kind) + 1 :]
                if following:
                    self._parser.addini(name, self._help[name], type=following[0], default=None)
        raise pytest.UsageError(f"{name} in the ini file: expected text, a number, true or false, or a list of texts")


def is_yes(label: str, text: str) -> bool:
    """Whether a switch in words is on. Raises SettingsError for any other word."""
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise SettingsError(f"{label}: expected true or false, got {text!r}")
