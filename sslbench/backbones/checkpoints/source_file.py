"""The file a checkpoint is converted from: which files belong to it, what they plainly are not, and their digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sslbench.backbones.checkpoints.bundle_files import bundle_paths, bundle_prefix
from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.backbones.checkpoints.file_kind import check_download
from sslbench.config import expand
from sslbench.errors import BackboneError
from sslbench.sources import Source
from sslbench.sources.check import digests


@dataclass(frozen=True)
class SourceFile:
    """A checkpoint as it was published: one file, or the files of a tensor bundle.

    path: what a reader is given.
    """

    path: Path
    paths: tuple[Path, ...]

    @classmethod
    def at(cls, path: Path) -> SourceFile:
        """The checkpoint at a path (a file, or folder, index or prefix of a bundle). Raises BackboneError if none is there."""
        path = expand(path).absolute()
        prefix = bundle_prefix(path)
        if prefix is not None:
            return cls(path, tuple(bundle_paths(prefix)))
        if not path.is_file():
            raise BackboneError(f"there is no checkpoint file {path}")
        return cls(path, (path,))

    @property
    def stamp(self) -> list[list[int]]:
        """Changes whenever one of the files is written again, as far as the file system tells."""
        stats = [path.stat() for path in self.paths]
        return [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for stat in stats]

    @property
    def sha256(self) -> str:
        """Of the file; for a bundle, of the digests of its parts, so that its name does not matter."""
        if len(self.paths) == 1:
            return self._digests[0]["sha256"]
        return hashlib.sha256("\n".join(found["sha256"] for found in self._digests).encode()).hexdigest()

    @cached_property
    def _digests(self) -> list[dict[str, str]]:
        return [digests(path) for path in self.paths]

    def check_kind(self) -> None:
        """Raise BackboneError for what is no checkpoint at first sight: nothing, a web page, torch's former tar files."""
        for path in self.paths:
            check_download(path)

    def check_published(self, spec: CheckpointSpec) -> bool:
        """Whether a published digest vouches for the files; False where nobody publishes one.

        Raises BackboneError for a digest that is not the published one.
        """
        vouched = [self._vouched(spec, path, found) for path, found in zip(self.paths, self._digests, strict=True)]
        return all(vouched)

    def _vouched(self, spec: CheckpointSpec, path: Path, found: dict[str, str]) -> bool:
        declared = (*spec.sources, *spec.alternatives)
        # A person may have given the file another name; then it may be any of them.
        declared = tuple(source for source in declared if source.filename == path.name) or declared
        if not all(source.sha256 or source.md5 for source in declared):
            return False
        if any(_matches(source, found) for source in declared):
            return True
        expected = " or ".join(f"{source.filename} with {' and '.join(_published(source))}" for source in declared)
        raise BackboneError(
            f"{spec.name}: {path} has the wrong checksum: expected {expected}, got SHA-256 {found['sha256']}, "
            f"MD5 {found['md5']}. Fetch it again: sslbench fetch --backbone {spec.name}"
        )


def _published(source: Source) -> list[str]:
    known = (("SHA-256", source.sha256), ("MD5", source.md5))
    return [f"{algorithm} {digest}{'' if len(digest) > 31 else '...'}" for algorithm, digest in known if digest]


def _matches(source: Source, found: dict[str, str]) -> bool:
    return found["sha256"].startswith(source.sha256.lower()) and found["md5"].startswith(source.md5.lower())
