"""Two runs compared, as a page: which scores move and by how much, and what differs in the recipes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sslbench.protocols import measures_transfer
from sslbench.report.document import cell, document, head, notes, number, row_head, scrolled, sort_head, table
from sslbench.results.compare import ComparedCase, ComparedRuns, differences, score_text
from sslbench.results.marks import difference_unit, number_text
from sslbench.results.pairing import LEVEL
from sslbench.results.record import Record
from sslbench.results.statistics import PairedComparison

_WIDTH, _MARGIN = 140, 4
_NAMED = 5


def compare_html(runs: ComparedRuns, new: str, base: str) -> str:
    """One self-contained page. new, base: how the two runs are called."""
    cases = sorted(runs.cases, key=_evidence)
    sections = [
        ("moved", "What moves", _found(cases) + _moved(cases)),
        ("recipes", "What differs in the recipes", _recipes(cases)),
        ("others", "What is not compared", _others(runs)),
    ]
    backbones = {(case.new.backbone["name"], case.base.backbone["name"]) for case in cases}
    of = [f" ({name})" for name in next(iter(backbones))] if len(backbones) == 1 else ["", ""]
    facts = f"<p>New: {escape(new + of[0])}. Base: {escape(base + of[1])}. Differences are new less base.</p>"
    return document(f"{new} against {base}", facts, sections)


def _evidence(case: ComparedCase) -> tuple[float, float, float]:
    """What speaks most for a difference first; what was not tested last."""
    if isinstance(case.result, str):
        return 2.0, 0.0, 0.0
    # Of the same adjusted p, 1 for many, the smaller raw one.
    return case.p or 0.0, case.result.p_two_sided, -abs(case.result.difference)


def gained(case: ComparedCase) -> bool | None:
    """Whether the new score is better, where the data tell the two apart; otherwise None."""
    if isinstance(case.result, str) or case.p is None or case.p > LEVEL or not case.result.difference:
        return None
    return (case.result.difference > 0) == case.scale.higher_is_better


def _judges(case: ComparedCase) -> bool:
    return measures_transfer(case.new.task["protocol"])


def _found(cases: Sequence[ComparedCase]) -> str:
    tested = [case for case in cases if case.p is not None]
    judged = [case for case in tested if _judges(case)]
    better, worse = (sum(gained(case) is side for case in judged) for side in (True, False))
    other = sum(gained(case) is not None for case in tested if not _judges(case))
    described = f", and differs on {other} that describe networks, in which neither end is better" if other else ""
    told = (
        f"Of {len(tested)} cases that could be tested, the new run is better on {better} and worse on {worse}{described}; on "
        f"{len(tested) - better - worse - other} the data do not tell the two apart."
    )
    if not tested:
        told = "No case could be tested."
    return (
        f'<p class="finding">{told}</p>\n<p>Paired tests on the same test pictures, the strongest evidence first. p is two-sided '
        f"and Holm-adjusted over all tested cases; at most {LEVEL:g} counts as a difference. Interval: 95 %, not adjusted; one "
        "scale a unit, the dashed line is no difference.</p>\n"
    )


def _moved(cases: Sequence[ComparedCase]) -> str:
    backbones = len({(case.new.backbone["name"], case.base.backbone["name"]) for case in cases}) > 1
    heads = [sort_head("Task"), *([sort_head("Backbone")] if backbones else [])]
    heads += [sort_head(text, number=True) for text in ("New", "Base", "Difference", "95 % interval", "p")]
    heads.append(sort_head("Finding"))
    reaches = {case.scale.unit: 0.0 for case in cases}
    for case in cases:
        if not isinstance(case.result, str):
            reaches[case.scale.unit] = max(reaches[case.scale.unit], *map(abs, case.result.ci95))
    rows = [_row(case, reaches[case.scale.unit], backbones) for case in cases]
    return scrolled(table("".join(heads), rows, kind="sortable pinned"), "Compared cases")


def _row(case: ComparedCase, reach: float, backbones: bool) -> str:
    unit, result = case.scale.unit, case.result
    known = case.name if case.name in case.base.scores else None
    scores = (score_text(case.new, case.name), score_text(case.base, known))
    task = f"{escape(case.new.task['id'])}<br><small>{escape(case.name)}</small>"
    cells = [cell(case.new.task["id"], task, name=True)]
    if backbones:
        # Of several backbones each is compared with that of its name.
        cells.append(cell(case.new.backbone["name"], escape(case.new.backbone["name"]), name=True))
    values = (case.scale.value, case.base.scores[known or case.base.main_score]["value"])
    cells += [cell(value, escape(text), number=True) for value, text in zip(values, scores, strict=True)]
    if isinstance(result, str):
        rest = '<td data-sort=""></td>' * 3 + f'<td class="name" data-sort="">{escape(result)}</td>'
        return f"<tr>{''.join(cells)}{rest}</tr>"
    difference = f"{'+' if result.difference >= 0 else ''}{_number(result.difference, unit)} {difference_unit(unit)}"
    side = gained(case)
    told, kind = {True: ("▲ better", "above"), False: ("▼ worse", "below"), None: ("not told apart", "")}[side]
    if side is not None and not _judges(case):
        told, kind = "▲ higher" if result.difference > 0 else "▼ lower", ""
    cells += [
        cell(result.difference, escape(difference), number=True),
        cell(result.ci95[0], _bar(result, reach, unit)),
        cell(case.p, f"{case.p:.2g}<br><small>unadjusted {result.p_two_sided:.2g}</small>", number=True),
        f'<td data-sort="{told}" data-verdict="{kind}">{told}<br><small>{escape(result.test)}, n = {result.n:,}</small></td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float, unit: str) -> str:
    # Differences of small numbers are smaller still.
    return number_text(value, unit) if unit not in ("", "nats", "m") else f"{value:.4f}"


def _bar(result: PairedComparison, reach: float, unit: str) -> str:
    """The interval with no difference in the middle, up to `reach` on both sides."""

    def at(value: float) -> str:
        return f"{_WIDTH / 2 + (_WIDTH / 2 - _MARGIN) * value / (reach or 1.0):.1f}"

    low, high = result.ci95
    label = f"{_number(low, unit)} to {_number(high, unit)}"
    return (
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="16" viewBox="0 0 {_WIDTH} 16"><title>{label}</title>'
        f'<line class="reference" x1="{at(0)}" x2="{at(0)}" y1="1" y2="15"/>'
        f'<line class="interval" x1="{at(low)}" x2="{at(high)}" y1="8" y2="8"/>'
        f'<circle cx="{at(result.difference)}" cy="8" r="3"/></svg>'
    )


def _recipes(cases: Sequence[ComparedCase]) -> str:
    """Each difference once, with the cases that have it, those of the most cases first."""
    found: dict[tuple[str, str, str], list[Record]] = {}
    for case in cases:
        for difference in differences(case.new, case.base):
            found.setdefault(difference, []).append(case.new)
    if not found:
        return "<p>The recipes are equal.</p>"
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [
        f'<tr>{row_head(path)}<td class="name">{escape(ours)}</td><td class="name">{escape(theirs)}</td>'
        f'{number(str(len(records)))}<td class="name">{escape(_some(records, len(cases)))}</td></tr>'
        for (path, ours, theirs), records in ranked
    ]
    heads = head("Ingredient") + head("New") + head("Base") + head("Cases", number=True) + head("Which")
    return scrolled(table(heads, rows, kind="pinned"), "Differences of the recipes")


def _some(records: Sequence[Record], count: int) -> str:
    if len(records) == count:
        return "all"
    names = [record.case for record in records[:_NAMED]]
    return ", ".join(names) + (f" and {len(records) - _NAMED} more" if len(records) > _NAMED else "")


def _others(runs: ComparedRuns) -> str:
    sentences = [f"Without the score on one side: {ours.case}." for ours, _ in runs.lacking]
    sentences += [f"Only in new: {record.case}." for record in runs.only_new]
    return notes([*sentences, *(f"Only in base: {record.case}." for record in runs.only_base)])
