"""The study's claims on its own tables and on the committed baseline, for docs/zoo.md."""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.analyses import sheet_of_records, sheet_of_study
from sslbench.analyses.claim_tables import claims_markdown
from sslbench.analyses.evidence import judge
from sslbench.results.record import Record
from sslbench.studies import STUDIES

STUDY = "ericsson2021"


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """By name."""
    columns = {"on the study's own tables": sheet_of_study(STUDIES[STUDY]), "on the zoo": sheet_of_records(records)}
    return {"zoo-claims": claims_markdown({head: judge(sheet, [STUDY]) for head, sheet in columns.items()})}
