"""Which items stand for a setting in a figure that has one panel or axis for each, as the study chose them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sslbench.analyses import Item, Sheet
from sslbench.analyses.correlation import settings
from sslbench.studies.ericsson2021.names import CROSS_DOMAIN

SHOTS = "20shot"
"""Of few-shot recognition: the study's main table; where a sheet lacks it, the largest count there is."""
APART: Mapping[str, Collection[str]] = {"cross-domain": CROSS_DOMAIN}


def judged_items(sheet: Sheet) -> list[Item]:
    """The main scores of single tasks by which one backbone is better than another.

    What features keep and where they look is described, not judged; published means over data sets are of no single task.
    """
    return [item for item in sheet.transfer_items if item.dataset != "*"]


def figure_settings(sheet: Sheet, instead: Mapping[str, str] | None = None) -> dict[str, tuple[Item, ...]]:
    """The judged items by setting, few-shot of one count of shots.

    instead: a score by the protocol whose main one it stands for, where the sheet has it.
    """
    shots, judged = chosen_shots(sheet), judged_items(sheet)
    chosen = {}
    for name, items in settings(sheet, APART).items():
        kept = [item for item in items if item in judged and (item.protocol != "fewshot" or item.variant == shots)]
        if kept:
            chosen[name] = tuple(_instead(sheet, item, instead or {}) for item in kept)
    return chosen


def chosen_shots(sheet: Sheet) -> str:
    """The variant of few-shot recognition that is shown; empty without any."""
    variants = {item.variant for item in sheet.of("fewshot")}
    return SHOTS if SHOTS in variants else max(variants, key=lambda name: (len(name), name), default="")


def _instead(sheet: Sheet, item: Item, instead: Mapping[str, str]) -> Item:
    return (sheet.item(item.task, instead[item.protocol]) if item.protocol in instead else None) or item
