"""A gallery as one HTML page that needs nothing beside itself, and no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from sslbench.names import printable
from sslbench.results.gallery_frame import GAP, Entry, Frame, Mark, Panel, panel_width
from sslbench.results.gallery_panel import CHIP, COLOURS, DASHES, PADDING, SIDE, SIGN, SIGNS, sign_lines

if TYPE_CHECKING:
    from sslbench.results.gallery import Gallery

# Above so many pixels a picture is a photograph that JPEG makes small; below, squares of pixels must stay what they are.
_PNG_UP_TO = 180 * 180
_STRIPES = 4  # of each colour, where the legend has them


def gallery_html(gallery: Gallery) -> str:
    """The whole page; names in it are escaped."""
    template = files("sslbench.results").joinpath("gallery_template.html").read_text(encoding="utf-8")
    page = Template(template).substitute(
        title=escape(gallery.title),
        facts=escape(gallery.facts.replace("+-", "±")),
        chosen="\n".join(f"<p>{escape(sentence)}</p>" for sentence in gallery.shown.told),
        side=max(SIDE, *(panel_width(panel) for _, panels in gallery.parts for panel in panels)),
        gap=GAP,
        colours="\n".join(mark_styles()),
        legend="\n".join(map(legend_item, gallery.shown.legend)),
        parts="\n".join(_part(heading, panels) for heading, panels in gallery.parts),
    )
    return printable(page)


def _part(heading: str, panels: Iterable[Panel]) -> str:
    figures = "\n".join(map(_figure, panels))
    return f'<section>\n<h2>{escape(heading)}</h2>\n<div class="grid">\n{figures}\n</div>\n</section>'


def _figure(panel: Panel) -> str:
    first, second = map(escape, panel.caption)
    frames = "\n".join(map(_frame, panel.frames))
    return (
        f'<figure><div class="frames">\n{frames}\n</div>\n'
        f"<figcaption>{first}<span>{second}</span></figcaption></figure>"
    )


def _frame(frame: Frame) -> str:
    width, height = frame.size
    kind = ' class="pixelated"' if frame.pixelated else ""
    title = f'<div class="title">{escape(frame.title)}</div>' if frame.title else ""
    return (
        f'<div class="part" style="width:{width}px">{title}<div class="frame" style="aspect-ratio:{width}/{height}">'
        f'<img{kind} src="{_data(frame)}" alt="{escape(frame.told)}">{drawing(frame)}</div></div>'
    )


def drawing(frame: Frame) -> str:
    """The marks of a frame as an SVG that lies over its picture, after a line feed; nothing without any."""
    # Dark bases would cover other boxes, and boxes would cross labels.
    drawn = [*map(_base, frame.marks), *map(_box, frame.marks)]
    marks = "\n".join([*drawn, *(_chip(mark) for mark in frame.marks if mark.chip is not None)])
    width, height = frame.size
    return f'\n<svg viewBox="0 0 {width} {height}" aria-hidden="true">\n{marks}\n</svg>' if marks else ""


def mark_styles() -> list[str]:
    """Rules for the colours and lines of marks, by their kind."""
    rules = [
        f".{kind} .box {{ stroke: {colour}; }} .{kind} .chip {{ fill: {colour}; }}" for kind, colour in COLOURS.items()
    ]
    rules.append(".missed .box { stroke-width: 3; } .missed .base { stroke-width: 5; }")
    return rules + [
        f".{kind} .box {{ stroke-dasharray: {' '.join(map(str, dashes))}; }}" for kind, dashes in DASHES.items()
    ]


def _base(mark: Mark) -> str:
    return f'<g class="{mark.kind}">{_rectangle("base", mark)}</g>'


def _box(mark: Mark) -> str:
    return _group(mark, _rectangle("box", mark))


def _rectangle(kind: str, mark: Mark) -> str:
    x1, y1, x2, y2 = mark.box
    return f'<rect class="{kind}" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"/>'


def _chip(mark: Mark) -> str:
    assert mark.chip is not None
    x1, y1, x2, _ = mark.chip
    lines = "".join(
        f'<polyline class="sign" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in line)}"/>'
        for line in sign_lines(mark)
    )
    left = x1 + PADDING + (SIGN + 2 if mark.kind in SIGNS else 0)
    rectangle = f'<rect class="chip" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{CHIP}"/>'
    return _group(mark, f'{rectangle}{lines}<text x="{left:.1f}" y="{y1 + CHIP - 4.5:.1f}">{escape(mark.label)}</text>')


def _group(mark: Mark, content: str) -> str:
    return f'<g class="{mark.kind}"><title>{escape(mark.told)}</title>{content}</g>'


def legend_item(entry: Entry) -> str:
    """An item of a list: what an entry stands for, drawn and in words."""
    drawn = "".join(_swatch(entry)) if entry.colours else _example(entry)
    return f'<li><svg width="46" height="25" aria-hidden="true">{drawn}</svg>{escape(entry.text)}</li>'


def _example(entry: Entry) -> str:
    chip = (3.0, 2.0, 3.0 + 2 * PADDING + SIGN, 2.0 + CHIP)
    mark = Mark(entry.kind, (3.0, 2.0, 43.0, 22.0), "", entry.text, chip)
    return f"{_base(mark)}{_box(mark)}{_chip(mark) if entry.kind in SIGNS else ''}"


def _swatch(entry: Entry) -> Iterator[str]:
    """40 x 20 pixels of colours from left to right."""
    bands = _STRIPES * entry.colours if entry.striped else entry.colours
    for number, colour in enumerate(bands):
        left, right = (3 + 40 * edge / len(bands) for edge in (number, number + 1))
        yield f'<rect x="{left:.2f}" y="2" width="{right - left:.2f}" height="20" fill="{escape(colour)}"/>'


def _data(frame: Frame) -> str:
    """A picture as a data URI."""
    content, picture = io.BytesIO(), frame.picture
    if frame.exact or picture.width * picture.height <= _PNG_UP_TO:
        picture.save(content, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(content, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
