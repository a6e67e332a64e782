"""Choices on which paper, official code and good practice differ; each has one default, which the record names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sslbench.errors import SslbenchError
from sslbench.names import unknown


@dataclass(frozen=True)
class Switch:
    """choices: the first is the default, what the published numbers most likely rest on.

    protocols, datasets: whom it concerns; empty stands for all. study: only the study's own datasets are concerned.
    """

    choices: tuple[str, ...]
    summary: str
    protocols: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    study: bool = True

    @property
    def default(self) -> str:
        """The choice when none is made."""
        return self.choices[0]

    def concerns(self, protocol: str, dataset: str, *, study: bool) -> bool:
        """Whether it can change a score of this protocol on this dataset."""
        return (
            (not self.protocols or protocol in self.protocols)
            and (not self.datasets or dataset in self.datasets)
            and (study or not self.study)
        )


SWITCHES: Mapping[str, Switch] = {
    "linear-solver": Switch(
        ("path", "sklearn"),
        "the linear probe solved to a certified optimum at every C, or by scikit-learn's L-BFGS with at most 100 "
        "iterations, warm-started along the path, as the study did it",
        protocols=("linear",),
        study=False,
    ),
    "caltech101-list": Switch(
        ("2021", "unique"),
        "train.txt of 2021 with 3,060 rows, some of them twice, or its 2,416 unique rows (official file since 2023)",
        datasets=("caltech101",),
    ),
    "caltech101-background": Switch(
        ("keep", "drop"),
        "BACKGROUND_Google as a class of its own, as in the official code, or left out",
        datasets=("caltech101",),
    ),
    "fewshot-geometry": Switch(
        ("official", "own"),
        "few-shot pictures stretched to 257x257 (bilinear) and cropped to 224, as in the official code, or prepared as "
        "for the linear probe",
        protocols=("fewshot",),
    ),
    "fewshot-pool": Switch(
        ("with-val", "without-val"),
        "few-shot episodes from train, val and test, or without val, as the official code did before May 2021",
        protocols=("fewshot",),
        datasets=("aircraft", "dtd", "flowers"),
    ),
    "voc2007-difficult": Switch(
        ("negative", "ignored"),
        "pictures that show only difficult objects of a class are negatives of it, or left out",
        datasets=("voc2007",),
    ),
    "voc2007-penalty": Switch(
        ("binary-softmax", "binary"),
        "C of a forced two-row softmax, as in the official code (equal to binary logistic regression at 2C), or of plain "
        "binary logistic regression",
        protocols=("linear",),
        datasets=("voc2007",),
    ),
}


def parse_compat(items: Mapping[str, str]) -> dict[str, str]:
    """Every switch with its value, given or default. Raises for an unknown switch or choice."""
    for name, value in items.items():
        if name not in SWITCHES:
            raise unknown("compat switch", name, SWITCHES)
        if value not in SWITCHES[name].choices:
            raise SslbenchError(f"compat switch {name}: expected {' or '.join(SWITCHES[name].choices)}, got {value!r}")
    return {name: items.get(name, switch.default) for name, switch in SWITCHES.items()}
