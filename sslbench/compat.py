"""Choices on which paper, official code and good practice differ; each has one default, which the record names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from sslbench.errors import SslbenchError
from sslbench.names import unknown


@dataclass(frozen=True)
class Switch:
    """choices: the first is the default. published: those that the published figures may be held against, by default the
    default alone, which is then what these figures most likely rest on.

    protocols: the ones it concerns; empty stands for all. scope: the datasets it concerns, `all`, the `study`'s own, or
    those that have it in their declaration (`declared`).
    """

    choices: tuple[str, ...]
    summary: str
    protocols: tuple[str, ...] = ()
    scope: Literal["all", "study", "declared"] = "declared"
    published: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """The choice when none is made."""
        return self.choices[0]

    def comparable(self, choice: str) -> bool:
        """Whether published figures may be held against a score with this choice."""
        return choice in (self.published or self.choices[:1])


SWITCHES: Mapping[str, Switch] = {
    "linear-solver": Switch(
        ("path", "sklearn"),
        "the linear probe solved to a certified optimum at every C, or by scikit-learn's L-BFGS with at most 100 "
        "iterations, warm-started along the path, as the study did it",
        protocols=("linear",),
        scope="all",
        published=("path", "sklearn"),
    ),
    "linear-selection": Switch(
        ("best", "one-stderr"),
        "the linear probe's C that is best on validation, as the study chose it, or the smallest within one standard error of it",
        protocols=("linear",),
        scope="all",
    ),
    "caltech101-list": Switch(
        ("2021", "unique"),
        "train.txt of 2021 with 3,060 rows, some of them twice, or its 2,416 unique rows (official file since 2023)",
    ),
    "caltech101-background": Switch(
        ("keep", "drop"),
        "BACKGROUND_Google as a class of its own, as in the official code, or left out",
    ),
    "fewshot-geometry": Switch(
        ("official", "own"),
        "few-shot pictures stretched to 257x257 (bilinear) and cropped to 224, as in the official code, or prepared as "
        "for the linear probe",
        protocols=("fewshot",),
        scope="study",
    ),
    "fewshot-pool": Switch(
        ("with-val", "without-val"),
        "few-shot episodes from train, val and test, or without val, as the official code did before May 2021",
        protocols=("fewshot",),
    ),
    "voc2007-difficult": Switch(
        ("negative", "ignored"),
        "pictures that show only difficult objects of a class are negatives of it, or left out",
    ),
    "voc2007-penalty": Switch(
        ("binary-softmax", "binary"),
        "C of a forced two-row softmax, as in the official code (equal to binary logistic regression at 2C), or of plain "
        "binary logistic regression",
        protocols=("linear",),
    ),
}


def concerning(protocol: str, *, study: bool, declared: Collection[str]) -> list[str]:
    """The switches that can change a score of a protocol on a dataset, by the dataset's declaration."""
    return [
        name
        for name, switch in SWITCHES.items()
        if (not switch.protocols or protocol in switch.protocols)
        and (switch.scope == "all" or (study if switch.scope == "study" else name in declared))
    ]


def parse_compat(items: Mapping[str, str]) -> dict[str, str]:
    """Every switch with its value, given or default. Raises for an unknown switch or choice."""
    for name, value in items.items():
        if name not in SWITCHES:
            raise unknown("compat switch", name, SWITCHES)
        if value not in SWITCHES[name].choices:
            raise SslbenchError(f"compat switch {name}: expected {' or '.join(SWITCHES[name].choices)}, got {value!r}")
    return {name: items.get(name, switch.default) for name, switch in SWITCHES.items()}
