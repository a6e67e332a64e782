"""What can be fetched: datasets and backbones, their files and where these go; the plan, and the work."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sslbench.backbones.checkpoints import CHECKPOINTS
from sslbench.backbones.checkpoints.convert import convert
from sslbench.config import Settings
from sslbench.datasets import dataset_spec, list_datasets
from sslbench.datasets.status import Status, status_of
from sslbench.files import size_text
from sslbench.names import select
from sslbench.sources import Source
from sslbench.sources.obtain import is_obtained, obtain

# Sets of files, each enough by itself, in order of preference.
Choices = tuple[tuple[Source, ...], ...]


@dataclass(frozen=True)
class Subject:
    """Something to fetch. choices: its files. directory: where they go."""

    kind: Literal["dataset", "backbone"]
    name: str
    choices: Choices
    directory: Path

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def has_files(self) -> bool:
        """Whether there is anything to fetch; what comes with the installation has no files."""
        return any(self.choices)


def datasets(settings: Settings, patterns: Sequence[str] = ()) -> list[Subject]:
    """Datasets that match, or all. UnknownNameError for a pattern that matches none."""
    names = list_datasets()
    chosen = select("dataset", names, patterns) if patterns else names
    return [
        Subject("dataset", spec.name, (spec.sources,), settings.data_dir / spec.folder)
        for spec in map(dataset_spec, chosen)
    ]


def backbones(settings: Settings, patterns: Sequence[str] = ()) -> list[Subject]:
    """Backbones with published files that match, or all. UnknownNameError for a pattern that matches none."""
    choices = choices_of_backbones()
    chosen = select("backbone with files to fetch", list(choices), patterns) if patterns else choices
    return [Subject("backbone", name, choices[name], checkpoint_directory(settings) / "files") for name in chosen]


def is_ready(subject: Subject, settings: Settings) -> bool:
    """Whether nothing needs to be fetched."""
    if subject.kind == "dataset":
        return inspect_dataset(subject.name, settings).state == "ready"
    return any(all(is_obtained(source, subject.directory) for source in choice) for choice in subject.choices)


def inspect_dataset(name: str, settings: Settings) -> Status:
    """Whether a dataset is there, as a run would find it."""
    return status_of(dataset_spec(name), settings)


def checkpoint_directory(settings: Settings) -> Path:
    """Where converted checkpoints are kept; the files they were made from are below it, in `files`."""
    return settings.cache_dir / "checkpoints"


def choices_of_backbones() -> Mapping[str, Choices]:
    """Backbones whose published files are fetched here; timm and torch.hub fetch theirs when they first load them."""
    return {spec.name: spec.choices for spec in CHECKPOINTS.values()}


def convert_checkpoint(path: Path, name: str, settings: Settings) -> Path:
    """Convert the published file of a backbone; returns the converted file.

    Raises UnknownNameError for a name without a declared checkpoint, and BackboneError for a file that is not its.
    """
    return convert(path, name, out_dir=checkpoint_directory(settings)).path


def plan(chosen: Iterable[Subject], settings: Settings) -> list[str]:
    """The plan in lines; nothing is fetched, and nothing is read but names, sizes and markers."""
    lines: list[str] = []
    # By place, since two datasets may share an archive, which is fetched once.
    wanted: dict[Path, Source] = {}
    for subject in chosen:
        if not subject.has_files:
            lines.append(f"{subject}: comes with the installation")
        elif is_ready(subject, settings):
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
            wanted |= {subject.directory / source.filename: source for source in missing if source.urls}
    unknown = sum(source.size is None for source in wanted.values())
    total = size_text(sum(source.size or 0 for source in wanted.values()))
    return [*lines, f"to fetch: {len(wanted)} files, {total}{f' and {unknown} of unknown size' if unknown else ''}"]


def _describe(source: Source, *, told: bool = False) -> str:
    if source.inner:
        return f"{source.filename}: out of an archive before it"
    if source.by_hand:
        return f"{source.filename}, {size_text(source.size)}, by hand{', as above' if told else f': {source.manual}'}"
    mirrors = f" (or {len(source.urls) - 1} more)" if len(source.urls) > 1 else ""
    return f"{source.filename}, {size_text(source.size)}, from {source.urls[0]}{mirrors}"


def bring(subject: Subject, settings: Settings, *, again: bool = False) -> bool:
    """Fetch and unpack; whether everything is there afterwards. Progress goes to stderr, what came of it to stdout."""
    if not subject.has_files:
        print(f"{subject}: comes with the installation")
        return True
    if not again and is_ready(subject, settings):
        print(f"{subject}: ready")
        return True
    errors: dict[str, None] = {}
    for choice in subject.choices:
        outcomes = obtain(choice, subject.directory, offline=settings.offline, again=again, say=_say)
        failed = [outcome.error for outcome in outcomes if outcome.error]
        if not failed:
            errors.clear()
            break
        # Files that share their steps are told them once.
        errors.update(dict.fromkeys(line for error in failed for line in error.splitlines()))
    return _judge(subject, settings, list(errors))


def _judge(subject: Subject, settings: Settings, errors: list[str]) -> bool:
    size = None
    if subject.kind == "dataset":
        status = inspect_dataset(subject.name, settings)
        size = status.bytes
        if status.state == "ready":
            # However it came: what a person laid there need not be the files that would have been fetched.
            errors = []
        elif not errors:
            missing = ", ".join(status.missing) or "nothing of it is found"
            errors = [f"all files are there, but {missing}. To unpack them again: sslbench fetch --again"]
    if errors:
        print("\n  ".join([f"{subject}: not complete", *errors]), file=sys.stderr)
        return False
    print(f"{subject}: ready in {subject.directory}{f', {size_text(size)}' if size else ''}")
    return True


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
