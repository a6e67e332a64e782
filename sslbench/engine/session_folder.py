"""Where a session's bundles have their files, and the note by which the next session finds what a killed one left."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sslbench.engine.claim import claim
from sslbench.errors import EngineError, tell
from sslbench.files import write_atomic

_NOTE = "slurm-jobs.json"
_NAME = re.compile(r"sslbench-[0-9a-f]{8}")


class SessionFolder:
    """A folder below `folder` for one session; name: of the folder, and of all jobs of the session.

    One session at a time holds `folder`: a second would take the first one's jobs for those of a dead one. Raises EngineError
    where another does.
    """

    def __init__(self, folder: Path, executor: str) -> None:
        self._held = ExitStack()
        self._held.enter_context(claim(folder))
        self.name = f"sslbench-{secrets.token_hex(4)}"
        self.path, self._note, self._executor = folder / self.name, folder / _NOTE, executor

    def begin(self, stop_earlier: Callable[[str], int]) -> None:
        """Make the folder, after `stop_earlier` has ended the jobs of a session that was killed.

        Raises EngineError where their note is damaged, or was written over another executor.
        """
        if self._note.exists():
            self._stop_earlier(stop_earlier)
        # Answers in it are pickles: whoever may write there may run code here.
        self.path.mkdir(mode=0o700)
        # Before the first job: who finds this after the session was killed finds all its jobs by their name.
        write_atomic(self._note, json.dumps({"executor": self._executor, "name": self.name}).encode())

    def _stop_earlier(self, stop_earlier: Callable[[str], int]) -> None:
        left = _read(self._note)
        if left["executor"] != self._executor:
            raise EngineError(
                f"an earlier session with executor={left['executor']} was killed; start one like it, which ends its "
                f"jobs, or end them ({left['name']}) by hand and remove {self._note}"
            )
        if count := stop_earlier(left["name"]):
            tell(f"ended {count} job(s) of an earlier session that was killed; trainings go on from their last states")
        _tidy(self._note.parent / left["name"])
        self._note.unlink()

    def end(self) -> None:
        """Leave the logs alone, after all jobs have ended."""
        self._note.unlink(missing_ok=True)
        _tidy(self.path)

    def release(self) -> None:
        """Let the next session begin. Where this one did not `end`, that one ends its jobs."""
        self._held.close()


def _read(note: Path) -> dict[str, str]:
    """What an earlier session wrote. By the name jobs are ended and a folder is emptied, so that it has to be one of ours."""
    try:
        left: dict[str, str] = json.loads(note.read_bytes())
        if _NAME.fullmatch(left["name"]) and isinstance(left["executor"], str):
            return left
    except (ValueError, KeyError, TypeError):
        pass
    raise EngineError(
        f"{note} is damaged: expected the name of an earlier session's jobs, sslbench- and eight digits. See that no such jobs "
        "are left (squeue), then remove the file"
    )


def _tidy(folder: Path) -> None:
    """Leave of a session's folder the logs alone, and nothing where there are none."""
    for file in folder.glob("*"):
        if file.suffix != ".out" or not file.stat().st_size:
            file.unlink(missing_ok=True)
    if folder.exists() and not any(folder.iterdir()):
        shutil.rmtree(folder)
