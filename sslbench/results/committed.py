"""Files of this repository that the package brings along: its own baselines."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def committed(name: str) -> Path | None:
    """A file of results/baselines, from the installed package or a source checkout; None where neither has it."""
    packaged = Path(str(files("sslbench"))) / "studies" / name
    checkout = Path(__file__).parents[2] / "results" / "baselines" / name
    return next((path for path in (packaged, checkout) if path.is_file()), None)
