"""What can be fetched: datasets and backbones, their files, and where these go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from sslbench.config import Settings
from sslbench.datasets import dataset_spec, list_datasets
from sslbench.names import select, unknown
from sslbench.sources import Source
from sslbench.sources.obtain import is_obtained

# Sets of files, each enough by itself, in order of preference.
Choices = tuple[tuple[Source, ...], ...]
State = Literal["ready", "incomplete", "absent", "manual"]


@runtime_checkable
class _Fetched(Protocol):
    """The declaration of a dataset that is files below the data directory."""

    @property
    def sources(self) -> tuple[Source, ...]: ...

    @property
    def folder(self) -> str: ...


@dataclass(frozen=True)
class Status:
    """state: `ready` to run, `incomplete`, `absent` but free to fetch, or absent and to be got by hand (`manual`).

    missing: what is missing, a few names at most. bytes: on disk. how: how to get what is missing.
    """

    name: str
    state: State
    missing: tuple[str, ...] = ()
    bytes: int = 0
    how: str = ""


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
        Subject("dataset", name, (sources_of_dataset(name),), settings.data_dir / folder_of_dataset(name))
        for name in chosen
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


def sources_of_dataset(name: str) -> tuple[Source, ...]:
    """Its files; none for a dataset that comes with the installation."""
    spec = dataset_spec(name)
    return spec.sources if isinstance(spec, _Fetched) else ()


def folder_of_dataset(name: str) -> str:
    """Where its files are, below the data directory."""
    spec = dataset_spec(name)
    return spec.folder if isinstance(spec, _Fetched) else ""


def inspect_dataset(name: str, settings: Settings) -> Status:
    """Whether its files are there, from their names and sizes."""
    sources = sources_of_dataset(name)
    directory = settings.data_dir / folder_of_dataset(name)
    missing = [source for source in sources if not is_obtained(source, directory)]
    there = [directory / source.filename for source in sources if (directory / source.filename).is_file()]
    size = sum(path.stat().st_size for path in there)
    if not missing:
        return Status(name, "ready", bytes=size)
    state: State = "manual" if any(source.by_hand for source in missing) else "absent"
    steps = dict.fromkeys(source.manual for source in missing if source.by_hand)
    how = " ".join([f"`sslbench fetch --dataset {name}` fetches what is free to fetch.", *steps])
    if len(missing) < len(sources):
        return Status(name, "incomplete", tuple(source.filename for source in missing), size, how)
    return Status(name, state, bytes=size, how=how)


def checkpoint_directory(settings: Settings) -> Path:
    """Where converted checkpoints are kept; the files they were made from are below it, in `files`."""
    return settings.cache_dir / "checkpoints"


def choices_of_backbones() -> Mapping[str, Choices]:
    """Backbones whose published files are fetched here; timm and torch.hub fetch theirs when they first load them."""
    return {}


def convert_checkpoint(path: Path, name: str, settings: Settings) -> Path:
    """Convert the published file of a backbone; returns the converted file.

    Raises UnknownNameError for a name without a declared checkpoint, and BackboneError for a file that is not its.
    """
    raise unknown("checkpoint", name, choices_of_backbones())
