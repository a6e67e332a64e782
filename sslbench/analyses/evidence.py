"""What a study's claims ask of a sheet, and their verdicts on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from sslbench.analyses.correlation import FEWEST, Correlation, compare_correlations, correlate, correlation, mean_scaled
from sslbench.analyses.sheet import Item, Sheet, sheet_of_records, sheet_of_study
from sslbench.analyses.wins import SIGN, contrast, outcomes
from sslbench.backbones.zoo import zoo_names
from sslbench.errors import RecordError
from sslbench.names import matches
from sslbench.results.pairing import LEVEL
from sslbench.results.runs import open_records
from sslbench.studies import STUDIES, studies
from sslbench.studies.claim import UNJUDGED, Association, Claim, Finding, Judged, Measured

SUPERVISED = ("supervised", "zoo:supervised")


class SheetEvidence:
    """An `Evidence` of a sheet (see `sslbench.studies.claim`).

    Its family are the networks of one study or the zoo's, whichever the sheet has more of; what else ran, and controls, do not
    count in any claim.
    """

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet

    @property
    def title(self) -> str:
        """Where the scores come from."""
        return self.sheet.title

    @property
    def published(self) -> bool:
        """Whether the scores are a study's tables."""
        return any(self.sheet.title == study.citation for study in studies())

    @cached_property
    def family(self) -> tuple[str, ...]:
        """The backbones that claims are about."""
        present = self.sheet.trained
        families = [*(study.networks for study in studies()), zoo_names()]
        return max((tuple(name for name in present if name in family) for family in families), key=len)

    @property
    def supervised(self) -> str | None:
        """The family's supervised backbone, or None."""
        return next((name for name in self.family if name in SUPERVISED), None)

    @property
    def self_supervised(self) -> tuple[str, ...]:
        """The rest of the family."""
        return tuple(name for name in self.family if name not in SUPERVISED)

    @property
    def upstream(self) -> Mapping[str, float]:
        """Upstream scores in %."""
        return {name: value for name, value in self.sheet.upstream.items() if name in self.family}

    def items(self, task: str, score: str = "") -> tuple[Item, ...]:
        """Columns of tasks that match a glob and that two backbones of the family have."""
        return tuple(
            item
            for item in self.sheet.items
            if matches(item.task, task) and (item.score == score if score else item.main) and len(self.values(item)) > 1
        )

    def values(self, item: Measured) -> Mapping[str, float]:
        """The family's scores by backbone."""
        column = self.sheet.column(cast(Item, item))
        return {name: column[name].value for name in self.family if name in column}

    def against(
        self, item: Measured, base: str, others: Sequence[str] | None = None, *, questions: int = 1
    ) -> Mapping[str, Judged]:
        """Backbones against one of them, with Holm's adjustment over these and Bonferroni's over the questions."""
        column = self.sheet.column(cast(Item, item))
        asked = self.self_supervised if others is None else others
        names = [name for name in asked if name in column and name != base and base in column]
        found = [contrast(cast(Item, item), column[name], column[base]) for name in names]
        judged = zip(names, found, outcomes(found, LEVEL / questions), strict=True)
        return {
            # Of printed figures the sign is all there is; a record that knows no error can be made again with one.
            name: Judged(one.gain, "open", UNJUDGED)
            if one.test == SIGN and column[name].record is not None
            else Judged(one.gain, outcome, one.test)
            for name, one, outcome in judged
        }

    def association(self, items: Sequence[Measured]) -> Association:
        """The upstream score with the mean over items."""
        return _association(correlate(self.sheet, _items(items), among=self.family))

    def weaker(
        self, items: Sequence[Measured], than: Sequence[Measured]
    ) -> tuple[Association, Association, float | None]:
        """Both associations over the backbones that have all, and Meng, Rosenthal and Rubin's p that they differ."""
        known = [name for name in self.family if name in self.sheet.upstream]
        first, second = (mean_scaled(self.sheet, _items(several), known) for several in (items, than))
        names = [name for name in known if name in first and name in second]
        weak, strong = (correlate(self.sheet, _items(several), among=names) for several in (items, than))
        between = correlation([first[n] for n in names], [second[n] for n in names]).pearson.value
        p = None
        # A perfect correlation, up to rounding, or an undefined one has no Fisher's z.
        if len(names) >= FEWEST and all(
            abs(r) < 1 - 1e-12 for r in (weak.pearson.value, strong.pearson.value, between)
        ):
            p = compare_correlations(weak.pearson.value, strong.pearson.value, between, len(names))[1]
        return _association(weak), _association(strong), p


def _items(items: Sequence[Measured]) -> list[Item]:
    return [cast(Item, item) for item in items]


def _association(found: Correlation) -> Association:
    r = found.pearson
    return Association(r.value, r.ci95, r.p, found.spearman.value, found.n)


@dataclass(frozen=True)
class Judgement:
    """A claim, the study that made it, and what a sheet says of it."""

    study: str
    claim: Claim
    finding: Finding


def judge(sheet: Sheet, names: Iterable[str] = ()) -> list[Judgement]:
    """Every claim of every study, or of those named, on a sheet."""
    evidence = SheetEvidence(sheet)
    chosen = [STUDIES[name] for name in names] or list(studies())
    return [Judgement(study.name, claim, judged(claim, evidence)) for study in chosen for claim in study.claims]


def judged(claim: Claim, evidence: SheetEvidence) -> Finding:
    """One claim; `cannot be told` with the reason where records do not measure the same thing."""
    try:
        return claim.test(evidence)
    except RecordError as error:
        return Finding("cannot be told", str(error))


def sheet_of(name: str, results: Path) -> Sheet:
    """A study's tables by its name, else records: a run's name below `results`, a run directory, a record or a baseline file.

    Raises RecordError for what is none of them, and where it holds no record.
    """
    if name in STUDIES and STUDIES[name].tables:
        return sheet_of_study(STUDIES[name])
    records = open_records(name, results)
    if not records:
        raise RecordError(f"{name} holds no usable record; run its cases first")
    return sheet_of_records(records, name)
