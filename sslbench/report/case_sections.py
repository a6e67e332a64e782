"""The section of each case: its scores beside their references, what its samples show, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from sslbench.metrics import Score
from sslbench.protocols import measures_transfer
from sslbench.report.document import head, notes, number, row_head, scrolled, table
from sslbench.results.compare import RECIPE, flatten
from sslbench.results.marks import decimals_of, number_text, score_text
from sslbench.results.record import Record, plain, slug
from sslbench.results.references import verdict


def case_sections(records: Sequence[Record], samples: Mapping[str, str]) -> str:
    """HTML of all sections, folded. samples: by case, HTML of what its samples show."""
    return "\n".join(_section(record, samples.get(record.case, "")) for record in records)


def _section(record: Record, samples: str) -> str:
    title = f"{escape(record.backbone['name'])} · {escape(record.task['id'])}"
    parts = [_scores(record), samples, *_recipe(record)]
    body = "\n".join(filter(None, parts))
    return f'<details id="{escape(slug(record.case))}"><summary>{title}</summary>\n{body}\n</details>'


def _scores(record: Record) -> str:
    # The main one is what tables and verdict are of.
    names = sorted(record.scores, key=lambda name: (name != record.main_score, name))
    heads = [head("Score"), *(head(text, number=True) for text in ("Value ± standard error", "95 % interval", "n"))]
    heads.append(head("Better when"))
    if record.references:
        heads += [head("Reference ± tolerance", number=True), head("Verdict")]
    rows = [f"<tr>{row_head(name)}{''.join(_score_cells(record, name))}</tr>" for name in names]
    body = scrolled(table("".join(heads), rows, kind="pinned"), "Scores of the case")
    sources = (
        f"Reference of {name}: {': '.join(str(known[key]) for key in ('source', 'how') if known.get(key))}."
        for name in names
        if (known := record.references.get(name)) is not None
    )
    return f"<h3>Scores</h3>\n{body}\n{notes(sources)}"


def _score_cells(record: Record, name: str) -> Iterable[str]:
    score = Score.from_json(record.scores[name])
    value = "not defined" if not math.isfinite(score.value) else score_text(score, decimals=_decimals(score.unit))
    ends = [
        f"{end:.{max(_decimals(score.unit), decimals_of(score.unit))}f}" for end in score.ci95 if math.isfinite(end)
    ]
    yield number(escape(f"{value} {score.unit}"))
    yield number(" to ".join(ends) if len(ends) == 2 else "not known")
    yield number(f"{score.n:,}")
    better = "higher" if score.higher_is_better else "lower"
    yield f"<td>{better if measures_transfer(record.task['protocol']) else '–'}</td>"
    if record.references:
        yield _reference_cells(score, record.references.get(name))


def _reference_cells(score: Score, reference: Mapping[str, Any] | None) -> str:
    if reference is None or "value" not in reference:
        return f"{number('–')}<td>–</td>"
    held = [reference["value"], reference.get("tolerance")]
    text = " ± ".join(number_text(one, score.unit) for one in held if one is not None)
    told = verdict(score, {"tolerance": None, **reference})
    return f'{number(text)}<td data-verdict="{told}">{told}</td>'


def _decimals(unit: str) -> int:
    # Nats and squared probabilities are small numbers.
    return 4 if unit in ("", "nats") else 1


def _recipe(record: Record) -> Iterable[str]:
    fields = [*RECIPE, "timings", "peak_memory", "samples"]
    parts = {field: flatten(plain(known), field) for field in fields if (known := getattr(record, field))}
    parts["record"] = {name: str(getattr(record, name)) for name in ("case", "key", "created", "schema_version")}
    for field, items in parts.items():
        # One element a field: a page of hundreds of cases is slow for its elements, not for its text.
        lines = "\n".join(f"{path.removeprefix(f'{field}.')}: {text}" for path, text in items.items())
        yield f"<h3>{escape(field)}</h3>\n<pre>{escape(lines)}</pre>"
