"""The number a metric reports, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Score:
    """One metric on one test set.

    ``value``, ``stderr`` and ``ci95`` (lower, upper) are in ``unit``; ``n`` counts what was averaged over (samples
    or episodes, as the metric says). What is not known of them is nan.
    """

    value: float
    stderr: float
    ci95: tuple[float, float]
    n: int
    unit: str = "%"
    higher_is_better: bool = True

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values: ``ci95`` becomes a list, and a number that is not finite None, as JSON has none."""
        low, high = self.ci95
        numbers = {"value": _finite(self.value), "stderr": _finite(self.stderr), "ci95": [_finite(low), _finite(high)]}
        return asdict(self) | numbers

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """The inverse of :meth:`to_json`; None for a number is nan.

        Raises:
            ValueError: a field is missing, unknown or of the wrong type.
        """
        expected = {field.name for field in fields(cls)}
        if set(data) != expected:
            missing, unknown = sorted(expected - set(data)), sorted(set(data) - expected)
            raise ValueError(f"a score has the fields {sorted(expected)}: missing {missing}, unknown {unknown}")
        ci95, n, unit, higher = data["ci95"], data["n"], data["unit"], data["higher_is_better"]
        if not isinstance(ci95, list | tuple) or len(ci95) != 2:
            raise ValueError(f"score field 'ci95': expected two numbers, got {ci95!r}")
        if not isinstance(n, int) or isinstance(n, bool):
            raise ValueError(f"score field 'n': expected an integer, got {n!r}")
        if not isinstance(unit, str):
            raise ValueError(f"score field 'unit': expected a string, got {unit!r}")
        if not isinstance(higher, bool):
            raise ValueError(f"score field 'higher_is_better': expected true or false, got {higher!r}")
        return cls(
            value=_number("value", data["value"]),
            stderr=_number("stderr", data["stderr"]),
            ci95=(_number("ci95", ci95[0]), _number("ci95", ci95[1])),
            n=n,
            unit=unit,
            higher_is_better=higher,
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(name: str, value: object) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"score field {name!r}: expected a number, got {value!r}")
    return float(value)
