"""What a frozen dense probe can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sslbench.protocols._variant_options import named_options

_NUMBERS = {"grid": (1, 1024), "cells": (1, 1_000_000)}
_CHOICES = {"levels": ("1", "4"), "norm": ("batch",)}


@dataclass(frozen=True)
class ProbeOptions:
    """The options of a variant.

    kind: `linear` or `knn`. levels: 4 for all maps that the network gives, 1 for the last. norm: `level` divides each map by one
    number, `batch` each channel by its own, as a BatchNorm before the layer would. grid: cells a side at most. cells: of each
    picture that are learned from, drawn by chance; None for as many as the task takes by default.
    """

    kind: str
    levels: int = 4
    norm: str = "level"
    grid: int = 32
    cells: int | None = None

    def __str__(self) -> str:
        """The one spelling."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)[1:]}
        named = (f"{name}={value}" for name, (value, default) in values.items() if value != default)
        return "+".join([self.kind, *named])


def parse(text: str, kinds: Sequence[str]) -> ProbeOptions | None:
    """The options of a variant such as `linear+levels=1`, None where its first part is no probe.

    Raises UnknownNameError for a part that is no option, a value that cannot be, or a part that stands twice.
    """
    kind, *rest = text.split("+")
    if kind not in kinds:
        return None
    found = named_options(rest, text, _CHOICES, _NUMBERS, "a probe", help_of(kinds))
    if "levels" in found:
        found["levels"] = int(found["levels"])
    return ProbeOptions(kind, **found)


def help_of(kinds: Sequence[str]) -> str:
    """What a variant of a probe can be."""
    return (
        f"{' or '.join(kinds)} is a probe of frozen maps; after it may come, joined by +: levels=1 (the last map alone), "
        "norm=batch (each channel divided by its own deviation), grid=N (cells a side at most, 32), cells=N (learned from, of "
        "each picture)"
    )
