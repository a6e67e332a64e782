"""The work of `sslbench fetch`: one subject after the other, each reported."""

from __future__ import annotations

import sys

from sslbench.cli import subjects
from sslbench.cli.command import size_text
from sslbench.cli.subjects import Subject
from sslbench.config import Settings
from sslbench.sources.obtain import obtain


def bring(subject: Subject, settings: Settings, *, again: bool = False) -> bool:
    """Fetch and unpack; whether everything is there afterwards. Progress goes to stderr, what came of it to stdout."""
    if not subject.has_files:
        print(f"{subject}: comes with the installation")
        return True
    if not again and subjects.is_ready(subject, settings):
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
        status = subjects.inspect_dataset(subject.name, settings)
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
