"""What all pages are: one file with its style and script inside, and the pieces of HTML that they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from sslbench.results.gallery_html import mark_styles


def document(title: str, facts: str, sections: Iterable[tuple[str, str, str]]) -> str:
    """A whole page.

    title: text. facts: HTML below it. sections: (id, heading as text, HTML) in their order; those without HTML are left out.
    """
    sections = [section for section in sections if section[2]]
    return Template(_part("page.html")).substitute(
        title=escape(title),
        facts=facts,
        style="\n".join([_part("page.css").rstrip(), *mark_styles()]),
        script=_part("page.js").rstrip(),
        links="".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading, _ in sections),
        body="\n".join(
            f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(heading)}</h2>\n{content}\n</section>'
            for name, heading, content in sections
        ),
    )


@cache
def _part(name: str) -> str:
    return files("sslbench.report").joinpath(name).read_text(encoding="utf-8")


def scrolled(table: str, label: str) -> str:
    """A table in a box of its own that a keyboard can scroll. label: what it is, for who does not see it."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">\n{table}\n</div>'


def head(text: str, *, small: str = "", number: bool = False) -> str:
    """The head of a column; both texts are escaped."""
    kind = ' class="number"' if number else ""
    more = f"<small>{escape(small)}</small>" if small else ""
    return f'<th scope="col"{kind}>{escape(text)}{more}</th>'


def sort_head(text: str, *, number: bool = False, screen: bool = False) -> str:
    """The head of a column by which a table of class `sortable` can be sorted. screen: whether it is left out on paper."""
    kind = _kind(number=number, screen=screen)
    told = ' data-kind="number"' if number else ""
    return f'<th scope="col" aria-sort="none"{told}{kind}><button type="button">{escape(text)}</button></th>'


def cell(
    key: str | float | None, content: str, *, number: bool = False, name: bool = False, screen: bool = False
) -> str:
    """A cell of a table that can be sorted; `content` is HTML, `key` is what the column sorts by."""
    kind = _kind(number=number, name=name, screen=screen)
    unknown = key is None or (isinstance(key, float) and not math.isfinite(key))
    return f'<td{kind} data-sort="{"" if unknown else escape(str(key))}">{content}</td>'


def _kind(**chosen: bool) -> str:
    names = " ".join(name for name, is_so in chosen.items() if is_so)
    return f' class="{names}"' if names else ""


def number(content: str) -> str:
    """A cell with a number; `content` is HTML."""
    return f'<td class="number">{content}</td>'


def row_head(text: str, *, control: bool = False) -> str:
    """The head of a row."""
    return f'<th scope="row"{_kind(control=control)}>{escape(text)}</th>'


def table(heads: str, rows: Sequence[str], *, foot: str = "", kind: str = "", name: str = "") -> str:
    """A table of cells that are HTML. kind: its classes. name: its id."""
    attributes = (f' id="{name}"' if name else "") + (f' class="{kind}"' if kind else "")
    end = f"\n<tfoot><tr>{foot}</tr></tfoot>" if foot else ""
    body = "\n".join(rows)
    return f"<table{attributes}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>{end}\n</table>"


def notes(sentences: Iterable[str]) -> str:
    """Sentences as a list, nothing without any."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes">{items}</ul>' if items else ""
