"""A critical-difference diagram: mean ranks over tasks, and which backbones the tasks do not separate."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sslbench.analyses.block import Block, block
from sslbench.analyses.rank_tests import critical_difference, friedman, groups, mean_ranks, nemenyi
from sslbench.analyses.sheet import Sheet
from sslbench.errors import RecordError
from sslbench.report.document import scrolled
from sslbench.results.pairing import LEVEL
from sslbench.results.short_names import ShortNames

# Pixels: of the whole, of the room for names at each side, of a line of names, between bars; letters of a name.
_WIDTH, _SIDE, _LINE, _BAR, _LETTERS = 760, 230, 20, 10, 30
_TOP = 60


def rank_diagram(sheet: Sheet, names: ShortNames) -> str:
    """HTML of the diagram of trained backbones; nothing for fewer than three of them or two tasks that all have.

    Tasks whose records do not measure the same thing give no ranks.
    """
    items = [item for item in sheet.transfer_items if sheet.comparable(item)]
    if len(sheet.trained) < 3 or not items:
        return ""
    try:
        ranked = block(sheet, items)
        test = friedman(ranked)
    except RecordError:
        # There is nothing to draw, and the ranking above tells what a comparison needs.
        return ""
    if not any(ranked.ranks.std(axis=0)):
        return ""
    drawn = _drawn(ranked, names)
    left = len(sheet.transfer_items) - len(ranked.items)
    rest = f" Left out: {left} tasks that not all have, or whose records do not measure the same thing." if left else ""
    differ = "differ" if test.p <= LEVEL else "are not shown to differ"
    return (
        f"<h3>Mean ranks over tasks</h3>\n<p>Of trained backbones, over the {len(ranked.items)} tasks that all have; 1 is the "
        "best. Here the tasks are the sample: would other tasks give the same order? Bars join backbones that differ by less "
        f"than the critical difference (CD) of Nemenyi's test at {LEVEL:g}. By Friedman's test mean ranks {differ} "
        f"(p = {test.p:.2g}). Tasks that share pictures make such p too small.{rest}</p>\n"
        f"{scrolled(drawn, 'Mean ranks over tasks')}"
    )


def _drawn(ranked: Block, names: ShortNames) -> str:
    means = mean_ranks(ranked)
    order = list(means)
    count, difference = len(order), critical_difference(len(order), len(ranked.items))
    bars = groups(order, nemenyi(ranked))
    left = order[: -(-count // 2)]
    first = _TOP + 12 + _BAR * len(bars)
    height = first + _LINE * len(left) + 8

    def at(rank: float) -> float:
        return _SIDE + (_WIDTH - 2 * _SIDE) * (rank - 1) / (count - 1)

    parts = [f'<line class="axis" x1="{at(1):.1f}" x2="{at(count):.1f}" y1="{_TOP}" y2="{_TOP}"/>']
    for rank in range(1, count + 1):
        parts.append(f'<line class="axis" x1="{at(rank):.1f}" x2="{at(rank):.1f}" y1="{_TOP - 6}" y2="{_TOP}"/>')
        if count <= 15 or rank % 5 == 1:
            parts.append(f'<text x="{at(rank):.1f}" y="{_TOP - 10}" text-anchor="middle">{rank}</text>')
    # A difference wider than the axis separates nobody, and its bar would leave the picture.
    if difference <= count - 1:
        parts.append(f'<line class="group" x1="{at(1):.1f}" x2="{at(1 + difference):.1f}" y1="24" y2="24"/>')
    parts.append(f'<text x="{at(1):.1f}" y="16">CD = {difference:.2f}</text>')
    for place, bar in enumerate(bars):
        low, high = at(means[bar[0]]) - 4, at(means[bar[-1]]) + 4
        y = _TOP + 10 + _BAR * place
        parts.append(f'<line class="group" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
    for place, name in enumerate(order):
        on_left = place < len(left)
        y = first + _LINE * (place if on_left else count - 1 - place) + 10
        edge, anchor = (_SIDE - 12, "end") if on_left else (_WIDTH - _SIDE + 12, "start")
        parts.append(f'<path class="axis" d="M{at(means[name]):.1f},{_TOP}V{y}H{edge}"/>')
        x = edge - 4 if on_left else edge + 4
        parts.append(
            f'<text x="{x}" y="{y + 4}" text-anchor="{anchor}">{_label(name, means[name], names, on_left)}</text>'
        )
    ranks = ", ".join(f"{names.backbones[name]} {rank:.1f}" for name, rank in means.items())
    told = f"Mean ranks: {ranks}. {_apart(bars, names)}"
    return (
        f'<svg role="img" aria-label="{escape(told)}" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
        f"{''.join(parts)}</svg>"
    )


def _label(name: str, mean: float, names: ShortNames, on_left: bool) -> str:
    short = names.backbones[name]
    short = short if len(short) <= _LETTERS else f"{short[: _LETTERS // 2]}…{short[-_LETTERS // 2 + 1 :]}"
    return escape(f"{short}  {mean:.1f}" if on_left else f"{mean:.1f}  {short}")


def _apart(bars: Sequence[Sequence[str]], names: ShortNames) -> str:
    joined = "; ".join(", ".join(names.backbones[name] for name in bar) for bar in bars)
    return f"Not separated: {joined}." if joined else "All are separated."
