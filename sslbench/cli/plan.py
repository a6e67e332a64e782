"""`sslbench fetch --dry-run`: what would be fetched, from where, how large, and what is left to a person."""

from __future__ import annotations

from collections.abc import Iterable

from sslbench.cli import subjects
from sslbench.cli.command import size_text
from sslbench.cli.subjects import Subject
from sslbench.config import Settings
from sslbench.sources import Source
from sslbench.sources.obtain import is_obtained


def plan(chosen: Iterable[Subject], settings: Settings) -> list[str]:
    """The plan in lines; nothing is fetched, and nothing is read but names, sizes and markers."""
    lines: list[str] = []
    wanted: list[Source] = []
    for subject in chosen:
        if not subject.has_files:
            lines.append(f"{subject}: comes with the installation")
        elif subjects.is_ready(subject, settings):
            lines.append(f"{subject}: ready")
        else:
            first, *others = subject.choices
            missing = [source for source in first if not is_obtained(source, subject.directory)]
            lines.append(f"{subject}, into {subject.directory}:")
            steps: set[str] = set()
            for source in missing:
                lines.append(f"  {_describe(source, told=source.manual in steps)}")
                steps.add(source.manual)
            lines += [f"  or else {_describe(source)}" for other in others for source in other]
            wanted += [source for source in missing if source.urls]
    unknown = sum(source.size is None for source in wanted)
    total = size_text(sum(source.size or 0 for source in wanted))
    return [*lines, f"to fetch: {len(wanted)} files, {total}{f' and {unknown} of unknown size' if unknown else ''}"]


def _describe(source: Source, *, told: bool = False) -> str:
    if source.inner:
        return f"{source.filename}: out of an archive before it"
    if source.by_hand:
        return f"{source.filename}, {size_text(source.size)}, by hand{', as above' if told else f': {source.manual}'}"
    mirrors = f" (or {len(source.urls) - 1} more)" if len(source.urls) > 1 else ""
    return f"{source.filename}, {size_text(source.size)}, from {source.urls[0]}{mirrors}"
