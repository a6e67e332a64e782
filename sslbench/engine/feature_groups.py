"""Of cases that share features one runs first and makes them; the others are held back until they find them."""

from __future__ import annotations

from collections import deque


class FeatureGroups:
    """Which cases wait for which. Cases go by their names, groups by that of the features, empty for none.

    places: where a case of each group has run, so that the others can be sent there.
    """

    def __init__(self) -> None:
        self._held: dict[str, deque[str]] = {}
        self._first: dict[str, str] = {}
        self.places: dict[str, str] = {}

    def admit(self, case: str, features: str) -> bool:
        """Whether a case can be sent now; it is held otherwise."""
        if features in self._held:
            self._held[features].appendleft(case)
            return False
        if features:
            self._held[features], self._first[features] = deque(), case
        return True

    def released(self, case: str, features: str, *, failed: bool) -> list[str]:
        """The cases that can be sent now that this one has ended."""
        if self._first.get(features) != case:
            return []
        del self._first[features]
        held = self._held.pop(features)
        if failed and held:
            # It may have failed before there were any features.
            following = held.popleft()
            self._held[features], self._first[features] = held, following
            return [following]
        return list(held)
