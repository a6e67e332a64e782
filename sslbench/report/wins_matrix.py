"""Who beats whom, on how many tasks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sslbench.analyses.sheet import Sheet, is_control
from sslbench.analyses.wins import PAIRED, Duel, duels
from sslbench.report.document import head, row_head, scrolled, table
from sslbench.results.pairing import LEVEL
from sslbench.results.short_names import ShortNames


def wins_part(sheet: Sheet, names: ShortNames) -> str:
    """HTML of the matrix over all main scores that can be compared; nothing for fewer than two backbones with one in common."""
    items = [item for item in sheet.transfer_items if len(sheet.column(item)) > 1 and sheet.comparable(item)]
    found = duels(sheet, items, sheet.backbones) if items else {}
    if not any(duel.outcomes for duel in found.values()):
        return ""
    backbones = sorted(sheet.backbones, key=lambda name: (-_balance(name, found), name))
    heads = head("Better than") + "".join(
        f'<th scope="col"><span class="turned">{escape(names.backbones[name])}</span></th>' for name in backbones
    )
    rows = [
        f"<tr>{row_head(names.backbones[name], control=is_control(name))}"
        f"{''.join(_cell(name, other, found) for other in backbones)}</tr>"
        for name in backbones
    ]
    left = len(sheet.transfer_items) - len(items)
    rest = f" Not in it: {left} tasks whose records do not measure the same thing, or of one backbone." if left else ""
    if {kind for duel in found.values() for kind in duel.tests} - {PAIRED}:
        rest += " Where nothing of single pictures is known, standard errors or the sign decide."
    return (
        "<h3>Who beats whom</h3>\n<p>On how many tasks the backbone on the left is better, and on how many worse, than the one "
        "above, of the tasks that both have. Counted are differences that a paired test on the same test pictures shows, with "
        f"Holm's adjustment within a task at {LEVEL:g}; on the rest the two are not told apart. Most wins first.{rest}</p>\n"
        + scrolled(table(heads, rows, kind="pinned matrix"), "Who beats whom")
    )


def _sides(first: str, second: str, found: dict[tuple[str, str], Duel]) -> tuple[int, int, Duel]:
    if (first, second) in found:
        duel = found[first, second]
        return duel.count("win"), duel.count("loss"), duel
    duel = found[second, first]
    return duel.count("loss"), duel.count("win"), duel


def _balance(name: str, found: dict[tuple[str, str], Duel]) -> int:
    """Wins less losses over all others."""
    sides: Sequence[tuple[int, int, Duel]] = [
        _sides(name, other, found) for pair in found if name in pair for other in pair if other != name
    ]
    return sum(won - lost for won, lost, _ in sides)


def _cell(first: str, second: str, found: dict[tuple[str, str], Duel]) -> str:
    if first == second:
        return '<td class="self"></td>'
    won, lost, duel = _sides(first, second, found)
    if not duel.outcomes:
        return "<td>–</td>"
    kind = "won" if won > lost else "lost" if lost > won else ""
    told = f"{first}: better than {second} on {won} of {len(duel.outcomes)} tasks, worse on {lost}"
    return f'<td{f" class={kind}" if kind else ""} title="{escape(told)}">{won}:{lost}</td>'
