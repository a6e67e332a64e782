"""The record: the one JSON of one case, and the only thing tables are made from."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.names import encoded

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Record:
    """One (backbone, task) result with everything needed to trust, compare and repeat it.

    case: `BACKBONE|TASK`, unique within a run. key: digest of every ingredient that may change a score; a record is
    resumed only when its key is the one the case would have now.
    backbone: name, digest, preprocessing, pooling, params, details. task: id, version, protocol, dataset, fingerprint,
    variant, compat, guess (the level of guessing in the main score's unit; None, or absent in older records, where it is
    not known), details. scores: name -> Score as JSON. references: by score (see `sslbench.results.references`); the verdict
    is of the main one. paired: what a paired test takes (see `pack_paired`), and by name under `others` what that of a further
    score takes; older records have none.
    samples: path (relative to the record) and digest of the per-sample predictions, or None in a baseline.
    timings in seconds (extract, fit, score) and images per second; peak_memory in bytes, the most of any
    process that trained or scored (rss: of the process so far; device: of this case).
    """

    case: str
    key: str
    backbone: dict[str, Any]
    task: dict[str, Any]
    scores: dict[str, dict[str, Any]]
    main_score: str
    hyperparameters: dict[str, Any]
    references: dict[str, dict[str, Any]]
    verdict: str
    timings: dict[str, float | None]
    peak_memory: dict[str, int | None]
    environment: dict[str, Any]
    created: str
    paired: dict[str, Any]
    samples: dict[str, Any] | None
    schema_version: int = SCHEMA_VERSION

    @cached_property
    def main(self) -> Score:
        """The main score."""
        return Score.from_json(self.scores[self.main_score])

    @property
    def took_steps(self) -> bool:
        """Whether something was trained step by step, unlike a probe that is solved."""
        return "steps" in self.hyperparameters

    @property
    def reference(self) -> dict[str, Any] | None:
        """What the main score is held against, or None."""
        return self.references.get(self.main_score)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON data (see `plain`)."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Any, *, where: str = "record") -> Record:
        """Rebuild a record; RecordError names what is missing or of another schema."""
        if not isinstance(data, dict):
            raise RecordError(f"{where}: expected a JSON object, got {type(data).__name__}")
        data = _of_today(data)
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            newer = isinstance(version, int) and version > SCHEMA_VERSION
            advice = "it is of a newer sslbench, which this one cannot read" if newer else "run the case again"
            raise RecordError(f"{where}: expected schema_version {SCHEMA_VERSION}, got {version!r}; {advice}")
        names = {f.name for f in fields(cls)}
        missing, extra = sorted(names - data.keys()), sorted(data.keys() - names)
        if missing or extra:
            raise RecordError(f"{where}: missing fields {missing}, unknown fields {extra}; run the case again")
        if not all(isinstance(data[field], dict) for field in ("scores", "task", "backbone", "paired", "references")):
            raise RecordError(
                f"{where}: scores, task, backbone, paired and references must be JSON objects; run the case again"
            )
        others = data["paired"].get("others", {})
        if not isinstance(others, dict) or not all(isinstance(packed, dict) for packed in others.values()):
            raise RecordError(f"{where}: paired.others must hold JSON objects by score; run the case again")
        needed = {"id", "version", "protocol", "dataset", "variant", "fingerprint"}
        if needed - data["task"].keys() or "name" not in data["backbone"]:
            raise RecordError(f"{where}: task must hold {sorted(needed)} and backbone a name; run the case again")
        if data["main_score"] not in data["scores"]:
            raise RecordError(f"{where}: main_score {data['main_score']!r} is not among {sorted(data['scores'])}")
        try:
            scores = {name: Score.from_json(score) for name, score in data["scores"].items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise RecordError(f"{where}: {error}; run the case again") from error
        if not math.isfinite(scores[data["main_score"]].value):
            raise RecordError(f"{where}: the main score {data['main_score']!r} has no finite value; run the case again")
        return cls(**data)


def _of_today(data: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 1, which had one reference, as one of schema 2."""
    if data.get("schema_version") != 1 or "reference" not in data:
        return data
    rest = {name: value for name, value in data.items() if name != "reference"}
    reference, score = data["reference"], data.get("scores", {}).get(data.get("main_score"), {})
    if reference is not None:
        scale = {field: score.get(field) for field in ("unit", "higher_is_better")}
        reference = {str(data.get("main_score")): {**reference, **scale}}
    return {**rest, "references": reference or {}, "schema_version": SCHEMA_VERSION}


def case_name(backbone: str, task: str) -> str:
    """The unique name of a case within a run."""
    return f"{backbone}|{task}"


def by_task(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each task, in the order in which they come."""
    columns: dict[str, list[Record]] = {}
    for record in records:
        columns.setdefault(record.task["id"], []).append(record)
    return columns


def slug(case: str) -> str:
    """A file name for a case: readable, and unique through a short digest of the whole name."""
    readable = re.sub(r"[^A-Za-z0-9.=+-]+", "_", case).strip("_")[:120]
    return f"{readable}-{hashlib.sha256(encoded(case)).hexdigest()[:8]}"


def plain(data: Any) -> Any:
    """The same data without what JSON has no word for: a number that is not finite is None, a NumPy scalar Python's."""
    if isinstance(data, Mapping):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, np.generic):
        return plain(data.item())
    return None if isinstance(data, float) and not math.isfinite(data) else data


def dump(data: Any) -> bytes:
    """JSON bytes in the one layout used for every file: sorted keys, and null for a number that is not finite."""
    return (json.dumps(plain(data), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


_STORED = {"correct": "u1", "episodes": "u1", "resamples": "<f4"}


def pack_paired(kind: str, outcomes: npt.NDArray[Any], items: str, **extra: Any) -> dict[str, Any]:
    """Store compactly what a paired test takes.

    kind: `correct` (bool (N,), one bit each), `episodes` (uint8 (E,), right answers of `per_episode` queries) or
    `resamples` (float32 (R,), the score on bootstrap resamples that depend on the test items alone).
    items: digest of the test items or episode draws; two records are paired only when it is equal.
    """
    if kind == "episodes" and outcomes.size and not 0 <= outcomes.min() <= outcomes.max() <= 255:
        raise ValueError(
            f"right answers of an episode are stored as 0 to 255, got {outcomes.min()} to {outcomes.max()}"
        )
    raw = np.packbits(outcomes.astype(bool)) if kind == "correct" else outcomes.astype(_STORED[kind])
    data = base64.b64encode(raw.tobytes()).decode()
    return {"kind": kind, "n": int(outcomes.size), "items": items, "data": data, **extra}


def unpack_paired(paired: dict[str, Any]) -> npt.NDArray[Any]:
    """The inverse of `pack_paired`: bool (N,), uint8 (E,) or float32 (R,). Raises ValueError for damaged outcomes."""
    kind, n, data = paired["kind"], paired["n"], paired["data"]
    if not isinstance(data, str) or not isinstance(n, int):
        raise ValueError(f"damaged outcomes: expected a count and base64 text, got {n!r} and {type(data).__name__}")
    size = -(-n // 8) if kind == "correct" else n * np.dtype(_STORED[kind]).itemsize
    raw = base64.b64decode(data, validate=True)
    if len(raw) != size:
        raise ValueError(f"damaged outcomes: {n} of them ({kind}) take {size} bytes, got {len(raw)}")
    values = np.frombuffer(raw, dtype=_STORED[kind])
    return np.unpackbits(values, count=n).astype(bool) if kind == "correct" else values
