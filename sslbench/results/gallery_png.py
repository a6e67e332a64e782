"""A gallery as one PNG, for where there is no browser: slides, papers, pull requests."""

from __future__ import annotations

import io
import textwrap
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from typing import TYPE_CHECKING

from sslbench.errors import SettingsError
from sslbench.results.gallery_frame import GAP, Entry, Frame, Mark, Panel, Place, panel_width
from sslbench.results.gallery_panel import CHIP, COLOURS, DASHES, PADDING, SIDE, SIGN, SIGNS, sign_lines

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from sslbench.results.gallery import Gallery

_GAP, _MARGIN, _CAPTION = 20, 28, 44
_LINE, _HEADING, _TITLE = 22, 48, 20
_LEAST, _WIDEST = 2 * (SIDE + _GAP), 6 * (SIDE + _GAP)  # pixels of a row: below the text has no room
_PIXELS = 100_000_000  # more need a gigabyte to draw
_TEXT, _SOFT, _RAISED, _BLACK = "#1b1d21", "#5a606b", "#f3f4f6", "#000000"


def gallery_png(gallery: Gallery) -> bytes:
    """The picture of all panels, at most six of detections in a row.

    Pillow's own font has few letters beyond ASCII: accents are dropped, and other letters are `?`. Raises SettingsError for more
    panels than a picture of 100 million pixels takes.
    """
    from PIL import Image, ImageDraw

    across = max(SIDE, *(panel_width(panel) for _, panels in gallery.parts for panel in panels)) + _GAP
    longest = max(len(panels) for _, panels in gallery.parts)
    columns = max(1, _LEAST // across, min(_WIDEST // across, longest))
    width = 2 * _MARGIN + columns * across - _GAP
    told = [
        line
        for sentence in gallery.shown.told
        for line in textwrap.wrap(plain(sentence), int((width - 2 * _MARGIN) / 7.2))
    ]
    legend = _legend_places(gallery.shown.legend, width)
    rows = {
        heading: [panels[at : at + columns] for at in range(0, len(panels), columns)]
        for heading, panels in gallery.parts
    }
    top = _MARGIN + 38 + _LINE * (1 + len(told)) + 12
    bottom_of_legend = top + legend[-1][1] + 32
    height = bottom_of_legend + _MARGIN
    for lines in rows.values():
        height += _HEADING + sum(_height(line) + _CAPTION + _GAP for line in lines)
    if width * height > _PIXELS:
        raise SettingsError(
            f"a PNG of so many pictures would be {width} x {height} pixels; expected {_PIXELS:,} at most: take a smaller count, "
            "or write .html"
        )
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    _write(draw, (_MARGIN, _MARGIN), gallery.title, 24)
    _write(draw, (_MARGIN, _MARGIN + 34), gallery.facts, 16)
    for number, line in enumerate(told):
        _write(draw, (_MARGIN, _MARGIN + 40 + _LINE * (1 + number)), line, 15, _SOFT)
    draw.rectangle((_MARGIN, top, width - _MARGIN, bottom_of_legend), fill=_RAISED)
    for (x, y), entry in zip(legend, gallery.shown.legend, strict=True):
        _draw_legend(draw, (x, top + y), entry)
    y = bottom_of_legend + 16
    for heading, lines in rows.items():
        _write(draw, (_MARGIN, y + 8), heading, 19)
        y += _HEADING
        for panels in lines:
            y += _height(panels)
            for column, panel in enumerate(panels):
                _draw_panel(canvas, draw, (_MARGIN + column * across, y), panel)
            y += _CAPTION + _GAP
    content = io.BytesIO()
    canvas.save(content, "PNG")
    return content.getvalue()


def plain(text: str) -> str:
    """The text in ASCII: without accents, and `?` for other letters."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return bare.encode("ascii", "replace").decode()


def _height(panels: Sequence[Panel]) -> int:
    frames = [frame for panel in panels for frame in panel.frames]
    return max(frame.size[1] for frame in frames) + _TITLE * any(frame.title for frame in frames)


def _write(draw: ImageDraw, place: tuple[float, float], text: str, size: int, colour: str = _TEXT) -> None:
    from PIL import ImageFont

    draw.text(place, plain(text), fill=colour, font=ImageFont.load_default(size=size))


def _draw_panel(canvas: Image, draw: ImageDraw, place: tuple[int, int], panel: Panel) -> None:
    """place: of the left end of the pictures' lower edge, so that a row stands on its captions."""
    left = place[0]
    for frame in panel.frames:
        top = place[1] - frame.size[1]
        canvas.paste(_drawn(frame), (left, top))
        _write(draw, (left, top - _TITLE), frame.title, 14, _SOFT)
        left += frame.size[0] + GAP
    first, second = panel.caption
    _write(draw, (place[0], place[1] + 4), first, 15)
    _write(draw, (place[0], place[1] + 23), second, 14, _SOFT)


def _drawn(frame: Frame) -> Image:
    from PIL import Image, ImageDraw

    resampling = Image.Resampling.NEAREST if frame.pixelated else Image.Resampling.LANCZOS
    picture = frame.picture.resize(frame.size, resampling)
    own = ImageDraw.Draw(picture)
    # Dark bases would cover other boxes, and boxes would cross labels.
    for draw_part in (_draw_base, _draw_box, _draw_chip):
        for mark in frame.marks:
            draw_part(own, mark)
    return picture


def _draw_base(draw: ImageDraw, mark: Mark) -> None:
    _rectangle(draw, mark.box, _BLACK, _width(mark) + 2)


def _draw_box(draw: ImageDraw, mark: Mark) -> None:
    _rectangle(draw, mark.box, COLOURS[mark.kind], _width(mark), DASHES.get(mark.kind))


def _width(mark: Mark) -> int:
    return 3 if mark.kind == "missed" else 2


def _draw_chip(draw: ImageDraw, mark: Mark) -> None:
    if mark.chip is None:
        return
    draw.rectangle(mark.chip, fill=COLOURS[mark.kind])
    for line in sign_lines(mark):
        draw.line(line, fill=_BLACK, width=2)
    left = mark.chip[0] + PADDING + (SIGN + 2 if mark.kind in SIGNS else 0)
    _write(draw, (left, mark.chip[1] + 1), mark.label, 12, _BLACK)


def _rectangle(draw: ImageDraw, box: Place, colour: str, width: int, dashes: tuple[float, float] | None = None) -> None:
    x1, y1, x2, y2 = box
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    if dashes is None:
        draw.line(corners, fill=colour, width=width, joint="curve")
        return
    on, off = dashes
    for (ax, ay), (bx, by) in pairwise(corners):
        length, at = hypot(bx - ax, by - ay), 0.0
        while at < length:
            one, other = at / length, min(at + on, length) / length
            draw.line(
                [(ax + (bx - ax) * one, ay + (by - ay) * one), (ax + (bx - ax) * other, ay + (by - ay) * other)],
                fill=colour,
                width=width,
            )
            at += on + off


def _legend_places(entries: Sequence[Entry], width: int) -> list[tuple[float, int]]:
    """Where each entry of the legend stands, from its left upper corner; in as many lines as the width takes."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=15)
    places, x, y = [], float(_MARGIN + 12), 8
    for entry in entries:
        wide = 52 + font.getlength(plain(entry.text)) + 28
        if x + wide > width - _MARGIN and x > _MARGIN + 12:
            x, y = float(_MARGIN + 12), y + 30
        places.append((x, y))
        x += wide
    return places


def _draw_legend(draw: ImageDraw, place: tuple[float, float], entry: Entry) -> None:
    x, y = place
    if entry.colours:
        _draw_swatch(draw, place, entry)
    else:
        chip = (x, y, x + 2 * PADDING + SIGN, y + CHIP) if entry.kind in SIGNS else None
        mark = Mark(entry.kind, (x, y, x + 42, y + 22), "", entry.text, chip)
        for draw_part in (_draw_base, _draw_box, _draw_chip):
            draw_part(draw, mark)
    _write(draw, (x + 52, y + 2), entry.text, 15)


def _draw_swatch(draw: ImageDraw, place: tuple[float, float], entry: Entry) -> None:
    """42 x 22 pixels of colours from left to right."""
    bands = 4 * entry.colours if entry.striped else entry.colours
    for number, colour in enumerate(bands):
        left, right = (place[0] + 42 * edge / len(bands) for edge in (number, number + 1))
        draw.rectangle((left, place[1], right, place[1] + 22), fill=colour)
