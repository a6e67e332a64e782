"""A gallery as one HTML page that needs nothing beside itself, and no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from sslbench.names import printable
from sslbench.results.gallery_panel import (
    CHIP,
    COLOURS,
    DASHES,
    LEGEND,
    PADDING,
    SIDE,
    SIGN,
    SIGNS,
    Mark,
    Panel,
    sign_lines,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from sslbench.results.gallery import Gallery

# Above so many pixels a picture is a photograph that JPEG makes small; below, squares of pixels must stay what they are.
_PNG_UP_TO = 180 * 180


def gallery_html(gallery: Gallery) -> str:
    """The whole page; names in it are escaped."""
    template = files("sslbench.results").joinpath("gallery_template.html").read_text(encoding="utf-8")
    colours = [
        f".{kind} .box {{ stroke: {colour}; }} .{kind} .chip {{ fill: {colour}; }}" for kind, colour in COLOURS.items()
    ]
    colours.append(".missed .box { stroke-width: 3; } .missed .base { stroke-width: 5; }")
    colours += [
        f".{kind} .box {{ stroke-dasharray: {' '.join(map(str, dashes))}; }}" for kind, dashes in DASHES.items()
    ]
    page = Template(template).substitute(
        title=escape(gallery.title),
        facts=escape(gallery.facts.replace("+-", "±")),
        chosen="\n".join(f"<p>{escape(sentence)}</p>" for sentence in gallery.chosen),
        side=SIDE,
        colours="\n".join(colours),
        legend="\n".join(_legend(kind, told) for kind, told in LEGEND.items()),
        parts="\n".join(_part(heading, panels) for heading, panels in gallery.parts),
    )
    return printable(page)


def _part(heading: str, panels: Iterable[Panel]) -> str:
    figures = "\n".join(map(_figure, panels))
    return f'<section>\n<h2>{escape(heading)}</h2>\n<div class="grid">\n{figures}\n</div>\n</section>'


def _figure(panel: Panel) -> str:
    width, height = panel.size
    first, second = map(escape, panel.caption)
    kind = ' class="pixelated"' if panel.pixelated else ""
    # Dark bases would cover other boxes, and boxes would cross labels.
    drawn = [*map(_base, panel.marks), *map(_box, panel.marks)]
    marks = "\n".join([*drawn, *(_chip(mark) for mark in panel.marks if mark.chip is not None)])
    return (
        f'<figure><div class="frame" style="width:{width}px;aspect-ratio:{width}/{height}">'
        f'<img{kind} src="{_data(panel.picture)}" alt="{escape(_alternative(panel))}">\n'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">\n{marks}\n</svg></div>\n'
        f"<figcaption>{first}<span>{second}</span></figcaption></figure>"
    )


def _alternative(panel: Panel) -> str:
    """What is drawn, in words."""
    told = "; ".join(mark.told for mark in panel.marks) or "nothing is drawn"
    return f"Test picture in row {panel.row}. {told}."


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


def _legend(kind: str, told: str) -> str:
    mark = Mark(kind, (3.0, 2.0, 43.0, 22.0), "", told, (3.0, 2.0, 3.0 + 2 * PADDING + SIGN, 2.0 + CHIP))
    chip = _chip(mark) if kind in SIGNS else ""
    return (
        f'<li><svg width="46" height="25" aria-hidden="true">{_base(mark)}{_box(mark)}{chip}</svg>{escape(told)}</li>'
    )


def _data(picture: Image) -> str:
    """A picture as a data URI."""
    content = io.BytesIO()
    if picture.width * picture.height <= _PNG_UP_TO:
        picture.save(content, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(content, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
