"""A claim: a sentence of a study and the test that says whether a set of scores carries it.

Studies stand below everything that computes, so that a claim's test is a function of an `Evidence`, of which only the form is
declared here; `sslbench.analyses.evidence` makes one of a sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Verdict = Literal["holds", "does not hold", "cannot be told"]
HOLDS: Final = "holds"
FAILS: Final = "does not hold"
UNKNOWN: Final = "cannot be told"
UNJUDGED: Final = "none"
"""The test of a comparison of two records that know no errors, such as of a single picture: it is open."""


class Measured(Protocol):
    """A column of scores: `sslbench.analyses.Item`."""

    @property
    def task(self) -> str:
        """Its task's id."""

    @property
    def score(self) -> str:
        """The score's name."""

    @property
    def dataset(self) -> str:
        """The data set in the task's id."""

    @property
    def higher_is_better(self) -> bool:
        """The score's direction."""


@dataclass(frozen=True)
class Judged:
    """One backbone against another on one item, judged at 5 % with Holm's adjustment over those it was judged together with.

    gain: in the item's unit, positive where the first is better. outcome: `open` where the data do not separate them.
    test: `paired`, `independent`, `sign` (figures are printed without errors, so that the sign alone decides) or `UNJUDGED`.
    """

    gain: float
    outcome: Literal["win", "open", "loss"]
    test: str


@dataclass(frozen=True)
class Association:
    """Pearson's r of the upstream score with something over n backbones; nan where it is undefined.

    ci95: None for fewer than 4 backbones. rho: Spearman's.
    """

    r: float
    ci95: tuple[float, float] | None
    p: float | None
    rho: float
    n: int


class Evidence(Protocol):
    """What a claim may ask of a set of scores.

    supervised: the supervised backbone, None where there is none. self_supervised: the other trained backbones of its family
    (the study's networks or the zoo's), no controls. upstream: their scores on the pictures they were pretrained on, in %.
    published: whether these are the tables of a study, and not records.
    """

    @property
    def title(self) -> str:
        """Where the scores come from."""

    @property
    def published(self) -> bool:
        """Whether these are a study's tables."""

    @property
    def supervised(self) -> str | None:
        """The family's supervised backbone."""

    @property
    def self_supervised(self) -> tuple[str, ...]:
        """The rest of the family."""

    @property
    def upstream(self) -> Mapping[str, float]:
        """Upstream scores in %, of those that have one."""

    def items(self, task: str, score: str = "") -> tuple[Measured, ...]:
        """Columns of tasks that match a glob, that at least two of the family's backbones have: main scores, or those named."""

    def values(self, item: Measured) -> Mapping[str, float]:
        """The family's scores by backbone, in the item's unit."""

    def against(
        self, item: Measured, base: str, others: Sequence[str] | None = None, *, questions: int = 1
    ) -> Mapping[str, Judged]:
        """Backbones that have the item, by default the self-supervised, against one of them.

        questions: how many such calls a claim makes of which a single one decides, so that each is judged the more strictly.
        """

    def association(self, items: Sequence[Measured]) -> Association:
        """The upstream score with the mean over items, on the scales of the study's appendix A.7."""

    def weaker(
        self, items: Sequence[Measured], than: Sequence[Measured]
    ) -> tuple[Association, Association, float | None]:
        """Both associations with the upstream score, over backbones that have all, and the two-sided p that they differ."""


@dataclass(frozen=True)
class Finding:
    """What a set of scores says of a claim.

    told: one or two plain sentences with the numbers, or what is missing and what to run. numbers: for other programs.
    test: what it rests on.
    """

    verdict: Verdict
    told: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    test: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence of a study.

    name: short, unique in its study. section: where it stands. sentence: in our own words. kind: what sort of evidence decides,
    such as `wins` or `correlation`. test: judges an `Evidence`; it must not raise where scores are missing.
    """

    name: str
    section: str
    sentence: str
    kind: str
    test: Callable[[Evidence], Finding]
