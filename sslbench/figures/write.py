"""Figures as files: the same bytes for the same scores and the same matplotlib, and a page that tells which there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.errors import RecordError, SettingsError
from sslbench.figures import FIGURES
from sslbench.figures.declaration import LeftOut, Source
from sslbench.figures.style import style
from sslbench.files import write_atomic
from sslbench.names import did_you_mean, select

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# Without these entries no file holds a date or a version.
_METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
INDEX = "figures.md"


@dataclass(frozen=True)
class Written:
    """paths: the figures' files, then the index. left_out: why, by the name of each kind that could not be drawn."""

    paths: tuple[Path, ...]
    left_out: dict[str, str]


def chosen_figures(only: Sequence[str] = ()) -> list[str]:
    """The names of the kinds that the globs match, all without globs. Raises UnknownNameError for one that matches none."""
    return select("figure", sorted(FIGURES), only or ["*"])


def check_formats(formats: Sequence[str]) -> None:
    """Raise SettingsError where none is given, or for one that is not among `FORMATS`."""
    odd = [name for name in formats if name not in FORMATS]
    if odd or not formats:
        got = repr(odd[0]) + did_you_mean(odd[0], FORMATS) if odd else "none"
        raise SettingsError(f"formats of figures: expected some of {', '.join(FORMATS)}, got {got}")


def check_matplotlib() -> None:
    """Raise SettingsError where it is not installed."""
    if find_spec("matplotlib") is None:
        raise SettingsError(
            "figures are drawn with matplotlib, which is not installed: pip install 'sslbench[figures]'"
        )


def write_figures(
    source: Source, directory: Path, only: Sequence[str] = (), formats: Sequence[str] = ("svg", "png")
) -> Written:
    """Draw figures and write them below `directory`, with an index `figures.md`.

    only: globs of the names in `FIGURES`; all without. formats: some of `png`, `svg`, `pdf`.

    Raises:
        SettingsError: matplotlib is not installed, or a format is unknown.
        UnknownNameError: a glob that matches no figure.
        RecordError: none of those asked for can be drawn. One alone is left out, as where samples are lost or damaged.
    """
    check_matplotlib()
    check_formats(formats)
    names = chosen_figures(only)
    paths: list[Path] = []
    lines: list[str] = []
    left_out: dict[str, str] = {}
    for name in names:
        # Drawn, written and dropped one kind after the other: a page of pictures takes hundreds of megabytes.
        with style():
            try:
                drawn = FIGURES[name].draw(source)
            except RecordError as error:
                # Lost samples of one case are no reason to go without the figures that do not need them.
                drawn = LeftOut(str(error))
            if isinstance(drawn, LeftOut):
                left_out[name] = drawn.reason
                continue
            stems = [_stem(name, part) for part in drawn]
            for stem, figure in zip(stems, drawn.values(), strict=True):
                for kind in dict.fromkeys(formats):
                    paths.append(directory / f"{stem}.{kind}")
                    write_atomic(paths[-1], content(figure, kind))
        lines += _entry(name, stems, formats)
    if not paths:
        told = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise RecordError(f"{source.sheet.title}: no figure can be drawn. {told}")
    index = directory / INDEX
    write_atomic(index, _index(source, lines, left_out).encode())
    return Written((*paths, index), left_out)


def content(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file; within `style`."""
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def _stem(name: str, part: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9.=+-]+", "-", part).strip("-.")[:80]
    return f"{name}-{readable}" if readable else name


def _entry(name: str, stems: Sequence[str], formats: Sequence[str]) -> list[str]:
    spec = FIGURES[name]
    study = f" (figure {spec.study} of the study)" if spec.study else ""
    shown = next((kind for kind in ("svg", "png") if kind in formats), None)
    files = [f"![{stem}]({stem}.{shown})" if shown else f"[{stem}]({stem}.pdf)" for stem in stems]
    return [f"## {name}{study}", "", spec.shows, "", *(line for file in files for line in (file, ""))]


def _index(source: Source, lines: Sequence[str], left_out: dict[str, str]) -> str:
    head = ["# Figures", "", f"Scores: {source.sheet.title}.", ""]
    rest = ["## Left out", "", *(f"- {name}: {reason}." for name, reason in left_out.items()), ""] if left_out else []
    return "\n".join([*head, *lines, *rest])
