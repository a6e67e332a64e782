"""Verdicts on claims as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from sslbench.analyses.evidence import Judgement
from sslbench.results.markdown import escape, table
from sslbench.studies.claim import FAILS, HOLDS, UNKNOWN


def claims_lines(judgements: Sequence[Judgement]) -> list[str]:
    """Plain text: for each study its claims with verdict and numbers, and how many there are of each verdict."""
    lines = []
    for study, several in groupby(judgements, key=lambda judgement: judgement.study):
        lines.append(f"{study}:")
        for one in several:
            lines += ["", f"{one.finding.verdict.upper()}  {one.claim.name} ({one.claim.section})"]
            lines += [f"    {one.claim.sentence}", f"    {one.finding.told}"]
        lines.append("")
    verdicts = [one.finding.verdict for one in judgements]
    told = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, UNKNOWN))
    return [*lines, f"{len(judgements)} claims: {told}"]


def claims_markdown(columns: Mapping[str, Sequence[Judgement]]) -> str:
    """A table with a row a claim, and the verdict and numbers of each set of scores in a column of its own.

    columns: by heading; the same claims in the same order.
    """
    rows = []
    for several in zip(*columns.values(), strict=True):
        claim = several[0].claim
        verdicts = [f"**{one.finding.verdict}**: {escape(one.finding.told)}" for one in several]
        rows.append([f"{escape(claim.sentence)} ({claim.section})", *verdicts])
    return table(["the study says", *columns], rows, left=1 + len(columns))
