"""Where one file comes from, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One file.

    urls: in order of preference; empty when it can only be fetched by hand. sha256, md5: hex digests, of which a prefix
    is enough; both empty when nobody publishes one: the digest is then pinned when the file is first used. size: in
    bytes, None if unknown. unpack: the directory, below the one the file is fetched to, into which an archive is
    extracted; None keeps the file as it is. manual: precise steps for a person when no URL works. A file with neither
    URL nor steps comes out of an archive that stands before it in its list.
    """

    filename: str
    urls: tuple[str, ...] = ()
    sha256: str = ""
    md5: str = ""
    size: int | None = None
    unpack: str | None = None
    manual: str = ""

    @property
    def inner(self) -> bool:
        """Whether it comes out of an archive that stands before it."""
        return not (self.urls or self.manual)

    @property
    def by_hand(self) -> bool:
        """Whether only a person can get it."""
        return bool(self.manual) and not self.urls
