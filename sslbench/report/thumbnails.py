"""Pictures as small images inside the page, as many as it has room for."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from sslbench.results.gallery_frame import Frame, Panel
from sslbench.results.gallery_html import drawing

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, FRAME_SIDE = 96, 160
"""Pixels of the longer side at most: of a picture alone, and of one with boxes or a map over it."""

_MARKED_SIDE = 300

BUDGET = 6_000_000
"""Characters of all pictures of a page."""

NO_ROOM = f"No more pictures: those before have filled the {BUDGET / 1e6:g} MB that a page has for them."

# Squares of pixels, which compression would blur, and which are small without it.
_PNG_UP_TO = 48 * 48


@dataclass
class Thumbnails:
    """Makes images until the budget is spent. left: characters."""

    left: int = BUDGET

    def image(self, picture: Image, told: str, *, side: int = SIDE, exact: bool = False) -> str:
        """An `img` element, nothing where the page has no room for it. exact: whether no compression may change its colours."""
        from PIL import Image

        longest = max(picture.size)
        if longest > side:
            size = (max(1, round(picture.width * side / longest)), max(1, round(picture.height * side / longest)))
            picture = picture.resize(size, Image.Resampling.NEAREST if exact else Image.Resampling.BICUBIC)
        data = _data(picture, exact or picture.width * picture.height <= _PNG_UP_TO)
        if len(data) > self.left:
            return ""
        self.left -= len(data)
        grown = side // max(picture.size)
        kind = ' class="pixelated"' if grown > 1 else ""
        wide, high = (edge * max(1, grown) for edge in picture.size)
        return f'<img{kind} src="{data}" alt="{escape(told)}" width="{wide}" height="{high}">'

    def panel(self, panel: Panel) -> str:
        """A `figure` of a gallery's panel, nothing where the page has no room for one of its pictures."""
        frames = [self._frame(frame) for frame in panel.frames]
        if not all(frames):
            return ""
        first, second = map(escape, panel.caption)
        return (
            f'<figure><div class="frames">{"".join(frames)}</div>'
            f"<figcaption>{first}<span>{second}</span></figcaption></figure>"
        )

    def _frame(self, frame: Frame) -> str:
        image = self.image(frame.picture, frame.told, side=FRAME_SIDE, exact=frame.exact)
        wide, high = frame.size
        # Labels of boxes have a size of their own and are not read where they are drawn smaller than this.
        shown = (_MARKED_SIDE if frame.marks else FRAME_SIDE) / max(wide, high)
        size = f"width:{wide * shown:.0f}px;aspect-ratio:{wide}/{high}"
        filled = image.replace("<img", '<img style="width:100%;height:100%"', 1)
        return f'<div class="picture" style="{size}">{filled}{drawing(frame)}</div>' if image else ""


def _data(picture: Image, exact: bool) -> str:
    content = io.BytesIO()
    if exact:
        picture.save(content, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(content, "JPEG", quality=75)
    return f"data:image/{'png' if exact else 'jpeg'};base64,{base64.b64encode(content.getvalue()).decode()}"
