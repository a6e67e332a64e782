"""Whether the upstream score tells how well a backbone transfers."""

from __future__ import annotations

from html import escape

from sslbench.analyses.correlation import Coefficient, correlate, settings
from sslbench.analyses.sheet import Sheet
from sslbench.report.document import head, notes, number, row_head, scrolled, table


def upstream_part(sheet: Sheet) -> str:
    """HTML of the correlation of each setting with the upstream score; nothing where fewer than three backbones have one.

    A setting with a task whose records do not measure the same thing has none.
    """
    found, odd = [], []
    for name, items in settings(sheet).items():
        if all(sheet.comparable(item) for item in items):
            found.append(correlate(sheet, items, name))
        else:
            odd.append(f"{name} has no correlation: the records of a task do not measure the same thing.")
    found = [one for one in found if one.n >= 3]
    if not found:
        return ""
    rows = [
        f"<tr>{row_head(one.name)}{number(str(one.n))}{_coefficient(one.pearson)}{_coefficient(one.spearman)}</tr>"
        for one in found
    ]
    heads = head("Setting") + head("Backbones", number=True)
    for text in ("Pearson's r", "Spearman's rho"):
        heads += head(text, number=True) + head("95 % interval", number=True)
    return (
        f"<h3>What goes with the upstream score</h3>\n<p>Correlation of {escape(sheet.upstream_name)} with the mean score of "
        "each setting, over trained backbones that have both; shares of right answers as log-odds, and a positive coefficient "
        "means that what is better upstream is better here. An interval that holds 0 tells nothing.</p>\n"
        + scrolled(table(heads, rows, kind="pinned"), "Correlation with the upstream score")
        + notes(odd)
    )


def _coefficient(one: Coefficient) -> str:
    value = "–" if one.value != one.value else f"{one.value:+.2f}"
    interval = "not known" if one.ci95 is None else f"{one.ci95[0]:+.2f} to {one.ci95[1]:+.2f}"
    return number(value) + number(interval)
