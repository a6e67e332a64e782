"""Pictures of several splits as one set, to be drawn from in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sslbench.features.originals import Originals


@dataclass(frozen=True)
class JoinedOriginals:
    """Some pictures of some splits.

    originals: one for each split. places: of the pictures that are used, in the order of the splits: which one, and where in it.
    """

    originals: Sequence[Originals]
    places: Sequence[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.places)

    def __add__(self, other: JoinedOriginals) -> JoinedOriginals:
        shift = len(self.originals)
        moved = [(split + shift, place) for split, place in other.places]
        return JoinedOriginals([*self.originals, *other.originals], [*self.places, *moved])

    def take(self, items: Sequence[int]) -> list[Tensor]:
        """uint8 (3, h, w) each, on the device."""
        found: dict[int, Tensor] = {}
        for split, places in self._by_split(items).items():
            pictures = self.originals[split].take([place for _, place in places])
            found.update(zip((item for item, _ in places), pictures, strict=True))
        return [found[item] for item in items]

    def prefetch(self, items: Sequence[int]) -> None:
        """The next ones, where they have to be decoded."""
        for split, places in self._by_split(items).items():
            self.originals[split].prefetch([place for _, place in places])

    def _by_split(self, items: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        places: dict[int, list[tuple[int, int]]] = {}
        for item in items:
            split, place = self.places[item]
            places.setdefault(split, []).append((item, place))
        return places
