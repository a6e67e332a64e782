"""The machines that a session goes on without, as long as it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sslbench.engine.base import Engine, Excluding, Needs
from sslbench.errors import EngineError

# So many machines in a row that will not do, of an engine that does not know them: the fault is likely in what they share.
_MAX_UNFIT_IN_A_ROW = 3


class ExcludedMachines:
    """Machines that are left out, by place, and why. warn: told once of each."""

    def __init__(self, engine: Engine, warn: Callable[[str, str], None]) -> None:
        self._engine, self._warn = engine, warn
        self._reasons: dict[str, str] = {}

    def add(self, unfit: Mapping[str, str], needs: Sequence[Needs], *, cases_run: bool) -> str:
        """Go on without these places; gives why the session has to end instead, empty where it has not.

        It has to where there are no others, or, as long as none has run a case, where they cannot meet the needs or what is
        wrong looks like the fault of all.
        """
        new = {place: why for place, why in unfit.items() if place not in self._reasons}
        if not new:
            # Of a job that waited already when its machine was left out.
            return ""
        self._reasons |= new
        engine = self._engine
        places = engine.places()
        if not isinstance(engine, Excluding) or "" in new or (places and set(places) <= set(self._reasons)):
            return self._all_reasons()
        if not places and not cases_run and len(self._reasons) >= _MAX_UNFIT_IN_A_ROW:
            return self._all_reasons(
                f"the first {len(self._reasons)} machines that were tried will not do, so that no more are"
            )
        for place in new:
            engine.exclude(place)
        try:
            engine.check(needs)
        except EngineError as error:
            # Later it may be a moment's silence, which the engine itself has patience with.
            if not cases_run:
                return self._all_reasons(f"without {', '.join(self._reasons)}: {error}")
        for place, why in new.items():
            self._warn(place, why)
        return ""

    def _all_reasons(self, *further: str) -> str:
        return "\n".join(dict.fromkeys([*self._reasons.values(), *further]))
