"""Whether a dataset is there: for `sslbench doctor` and `sslbench fetch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sslbench.config import Settings
from sslbench.datasets.dataset import DatasetSpec
from sslbench.datasets.family import family_of
from sslbench.datasets.published.layout import Found, bytes_below
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources.obtain import is_obtained

State = Literal["ready", "incomplete", "absent", "manual"]


@dataclass(frozen=True)
class Status:
    """state: `ready` to run, `incomplete`, `absent` but free to fetch, or absent and to be got by hand (`manual`).

    missing: what is missing or wrong, a few names at most. bytes: on disk. how: how to get what is missing.
    """

    name: str
    state: State
    missing: tuple[str, ...] = ()
    bytes: int = 0
    how: str = ""


def status_of(spec: DatasetSpec, settings: Settings) -> Status:
    """Look for a dataset as a run would, without decoding a picture."""
    if family_of(spec.name):
        return _of_folder(spec, settings)
    if not spec.layouts:
        return _by_sources(spec, settings)
    try:
        spec.load(settings)
    except IncompleteDataError as error:
        absent: State = "manual" if spec.by_hand else "absent"
        state: State = "incomplete" if error.found else absent
        missing = error.missing or (str(error),) if error.found else ()
        return Status(spec.name, state, missing, _bytes(spec, settings), spec.how_to_get())
    except DataError as error:
        return Status(spec.name, "incomplete", (str(error),), _bytes(spec, settings), spec.how_to_get())
    return Status(spec.name, "ready", bytes=_bytes(spec, settings))


def _of_folder(spec: DatasetSpec, settings: Settings) -> Status:
    try:
        dataset = spec.load(settings)
    except DataError as error:
        return Status(spec.name, "incomplete", (str(error),))
    paths = [Path(path) for split in dataset.splits.values() for path in getattr(split.images, "paths", ())]
    return Status(spec.name, "ready", bytes=sum(path.stat().st_size for path in paths))


def _by_sources(spec: DatasetSpec, settings: Settings) -> Status:
    """Without layouts, a dataset is ready when its files were fetched; one without files came with the installation."""
    directory = settings.data_dir / spec.folder
    missing = [source for source in spec.sources if not is_obtained(source, directory)]
    there = [path for source in spec.sources if (path := directory / source.filename).is_file()]
    size = sum(path.stat().st_size for path in there)
    if not missing:
        return Status(spec.name, "ready", bytes=size)
    if len(missing) < len(spec.sources):
        return Status(spec.name, "incomplete", tuple(source.filename for source in missing), size, spec.how_to_get())
    return Status(spec.name, "manual" if spec.by_hand else "absent", bytes=size, how=spec.how_to_get())


def _bytes(spec: DatasetSpec, settings: Settings) -> int:
    """Size of the layout that takes the most space: parts of several layouts may be the same files."""
    sizes = [0]
    for layout in spec.layouts:
        found = Found(layout, settings.data_dir)
        sizes.append(sum(bytes_below(path) for part in layout.parts for path in found.paths(part)))
    return max(sizes)
