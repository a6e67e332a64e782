"""What a reader wants to know first: who leads, and what the data can and cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sslbench.analyses.sheet import is_control, sheet_of_records
from sslbench.report.document import head, number, row_head, scrolled, table
from sslbench.report.rank_diagram import rank_diagram
from sslbench.report.upstream import upstream_part
from sslbench.report.wins_matrix import wins_part
from sslbench.results.marks import GUESSING
from sslbench.results.pairing import LEVEL
from sslbench.results.ranks import Rank, span
from sslbench.results.record import Record
from sslbench.results.short_names import ShortNames

_WIDTH, _MARGIN = 160, 6
_NAMED = 6


def standing(records: Sequence[Record], names: ShortNames, ranks: Sequence[Rank]) -> str:
    """HTML of the ranking, of who beats whom, and of what goes with the upstream score. ranks: the best first."""
    sheet = sheet_of_records(records)
    parts = [ranking_part(ranks, names), wins_part(sheet, names), rank_diagram(sheet, names), upstream_part(sheet)]
    return "\n".join(filter(None, parts))


def ranking_part(ranks: Sequence[Rank], names: ShortNames) -> str:
    """HTML of the ranking and of what follows from it; without ranks, why there are none."""
    if not ranks:
        return (
            "<p>No ranking: it needs two backbones or more, and a task that all of them have, whose score is in % and the better "
            "the higher, with outcomes of single pictures.</p>"
        )
    sentences = [leading(ranks, names), above_controls(ranks, names), separations(ranks)]
    told = "\n".join(f'<p class="finding">{escape(sentence)}</p>' for sentence in sentences if sentence)
    return f"{told}\n<h3>Ranking</h3>\n{_basis(ranks)}\n{_ranking(ranks, names)}"


def leading(ranks: Sequence[Rank], names: ShortNames) -> str:
    """Who has the highest mean, and which others may be as good."""
    first = ranks[0]
    name = names.backbones[first.backbone]
    if first.worst == 1:
        return f"{name} leads: its mean of {first.mean:.1f} % is separated from that of every other backbone."
    sharing = [names.backbones[rank.backbone] for rank in ranks[1:] if rank.best == 1]
    told = f"{name} has the highest mean, {first.mean:.1f} %, "
    if not sharing:
        return f"{told}but may be as low as rank {first.worst}."
    return f"{told}but the data do not separate the first place: it may as well be that of {listed(sharing)}."


def above_controls(ranks: Sequence[Rank], names: ShortNames) -> str:
    """Which trained backbones are better than every control; empty without controls or trained ones."""
    controls = {rank.backbone for rank in ranks if is_control(rank.backbone)}
    trained = [rank for rank in ranks if not is_control(rank.backbone)]
    if not controls or not trained:
        return ""
    doubtful = [rank for rank in trained if not controls <= set(rank.beats)]
    if not doubtful:
        return f"All {len(trained)} trained backbones are better than every control."
    told = [
        f"{names.backbones[rank.backbone]} ({listed([names.backbones[one] for one in sorted(controls - set(rank.beats))])})"
        for rank in doubtful
    ]
    return (
        f"{len(trained) - len(doubtful)} of {len(trained)} trained backbones are better than every control. The data do not "
        f"show it of {', '.join(told[:-1])}{' and ' if told[:-1] else ''}{told[-1]}."
    )


def separations(ranks: Sequence[Rank]) -> str:
    """How many pairs the data separate."""
    pairs, separated = len(ranks) * (len(ranks) - 1) // 2, sum(len(rank.beats) for rank in ranks)
    return f"Of {pairs} pairs of backbones the data separate {separated}." if pairs > 1 else ""


def listed(texts: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`, and of many the first ones."""
    if len(texts) > _NAMED + 1:
        return f"{', '.join(texts[:_NAMED])} or {len(texts) - _NAMED} others"
    return " or ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _basis(ranks: Sequence[Rank]) -> str:
    tasks = "one task" if ranks[0].tasks == 1 else f"{ranks[0].tasks} tasks"
    return (
        f"<p>By the mean over the {tasks} that all have. A rank has a range where the data do not separate backbones: all pairs "
        f"are compared on the same test pictures, with Holm's adjustment at {LEVEL:g}.</p>"
    )


def _ranking(ranks: Sequence[Rank], names: ShortNames) -> str:
    heads = head("Backbone") + head("Rank", number=True) + head("Mean", small="%", number=True) + head("Range of ranks")
    rows = []
    for rank in ranks:
        cells = (
            number(span(rank.best, rank.worst)) + number(f"{rank.mean:.1f}") + f"<td>{_range(rank, len(ranks))}</td>"
        )
        rows.append(f"<tr>{row_head(names.backbones[rank.backbone], control=is_control(rank.backbone))}{cells}</tr>")
    guess = ranks[0].guess
    foot = "" if guess is None else f"{row_head(GUESSING)}<td></td>{number(f'{guess:.1f}')}<td></td>"
    return scrolled(table(heads, rows, foot=foot, kind="pinned"), "Ranking")


def _range(rank: Rank, count: int) -> str:
    """From the best to the worst rank, of 1 on the left to `count`."""

    def at(place: float) -> str:
        return f"{_MARGIN + (_WIDTH - 2 * _MARGIN) * (place - 1) / max(count - 1, 1):.1f}"

    label = f"rank {span(rank.best, rank.worst)} of {count}"
    low, high = at(rank.best), at(rank.worst)
    drawn = (
        f'<circle cx="{low}" cy="8" r="4"/>'
        if rank.best == rank.worst
        else f'<line class="interval" x1="{low}" x2="{high}" y1="8" y2="8"/>'
    )
    return (
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="16"><title>{label}</title>'
        f'<line class="axis" x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="8" y2="8"/>{drawn}</svg>'
    )
