"""What variants that are made of options have in common: `name=value`, from a list or a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sslbench.errors import UnknownNameError
from sslbench.names import did_you_mean


def named_option(
    part: str, choices: Mapping[str, Sequence[str]], numbers: Mapping[str, tuple[int, int]]
) -> tuple[str, Any] | None:
    """Name and value of an option, None for what is none. Raises UnknownNameError for a value that cannot be.

    choices: the values of an option by its name; numbers: its least and largest whole number.
    """
    name, equals, value = part.partition("=")
    if not equals:
        return None
    if name in choices:
        if value not in choices[name]:
            hint = did_you_mean(value, choices[name])
            raise UnknownNameError(f"{name}={value}: expected {' or '.join(choices[name])}, or nothing{hint}")
        return name, value
    if name in numbers:
        least, most = numbers[name]
        if not value.isdecimal() or not least <= int(value) <= most:
            raise UnknownNameError(f"{name}={value}: expected a whole number from {least} to {most}")
        return name, int(value)
    return None


def named_options(
    parts: Sequence[str], text: str, choices: Mapping[str, Sequence[str]], numbers: Mapping[str, tuple[int, int]],
    owner: str, told: str,
) -> dict[str, Any]:  # fmt: skip
    """The options that all parts of a variant are, by name.

    owner: whose options they are, told: what they can be, for messages. Raises UnknownNameError for a part that is no option, a
    value that cannot be, or a part that stands twice.
    """
    found: dict[str, Any] = {}
    for part in parts:
        option = named_option(part, choices, numbers)
        if option is None:
            raise UnknownNameError(f"{part!r} of the variant {text!r} is no option of {owner}; {told}")
        if option[0] in found:
            raise UnknownNameError(f"the variant {text!r} has {option[0]} twice")
        found.update([option])
    return found
