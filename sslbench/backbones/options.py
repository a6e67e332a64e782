"""Options behind a backbone's name: `NAME?key=value&key=value&flag`."""

from __future__ import annotations

from dataclasses import dataclass, field

from sslbench.backbones.pooling import check_pooling
from sslbench.errors import BackboneError

# Options that need no value.
FLAGS = ("bgr",)


@dataclass
class Options:
    """Parsed options; each is taken once, and one that nobody took is an error."""

    name: str
    values: dict[str, str]
    _taken: set[str] = field(default_factory=set)

    def text(self, key: str, default: str = "") -> str:
        """The value of an option, or the default."""
        self._taken.add(key)
        return self.values.get(key, default)

    def integer(self, key: str, default: int, *, least: int = 0) -> int:
        """A whole number of `least` or more, or the default; BackboneError otherwise."""
        value = self.text(key)
        if not value and key not in self.values:
            return default
        if not value.isdecimal() or int(value) < least:
            what = f"of {least} or more" if least else ""
            raise BackboneError(f"{self.name}: option {key} takes a whole number {what}".rstrip() + f", got {value!r}")
        return int(value)

    def flag(self, key: str) -> bool:
        """Whether an option is set: bare, or `true`; BackboneError for anything but that and `false`."""
        value = self.text(key, "false")
        if value not in ("true", "false"):
            raise BackboneError(f"{self.name}: option {key} takes true or false, got {value!r}")
        return value == "true"

    def pooling(self) -> str:
        """The `pooling` option, checked; default `model`."""
        return check_pooling(self.text("pooling", "model"))

    def finish(self) -> None:
        """Raise BackboneError for options that nothing used."""
        if extra := sorted(self.values.keys() - self._taken):
            raise BackboneError(
                f"{self.name}: unknown option {', '.join(extra)}; known: {', '.join(sorted(self._taken))}"
            )


def parse_name(name: str) -> tuple[str, Options]:
    """Split `NAME?key=value&...` into the bare name and its options. Raises BackboneError for what is no list of options."""
    bare, _, query = name.partition("?")
    values = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals and key in FLAGS:
            value = "true"
        elif not equals:
            raise BackboneError(f"{name}: expected NAME?key=value&key=value, got {part!r}")
        if key in values:
            raise BackboneError(f"{name}: the option {key} is given more than once")
        values[key] = value
    return bare, Options(name, values)
