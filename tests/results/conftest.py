"""Hand-made records for the tests of tables, reports, comparisons and the gate."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sslbench.protocols import list_protocols, protocol_spec
from sslbench.results.record import Record, case_name, pack_paired

MakeRecord = Callable[..., Record]


def build(
    backbone: str = "swav",
    task: str = "linear/digits",
    *,
    value: float = 90.0,
    stderr: float = 1.0,
    unit: str = "%",
    higher_is_better: bool = True,
    main_score: str = "top1",
    correct: list[bool] | None = None,
    targets: list[int] | None = None,
    episodes: list[int] | None = None,
    items: str = "test-items",
    version: int | None = None,
    fingerprint: str = "data-1",
    verdict: str = "no-reference",
    reference: dict[str, Any] | None = None,
    timings: dict[str, float | None] | None = None,
    hyperparameters: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    **task_fields: Any,
) -> Record:
    """A record; with `correct`, the value is theirs. task_fields: more fields of the task, such as compat and guess."""
    paired: dict[str, Any] = {}
    if correct is not None:
        value = 100 * float(np.mean(correct))
        paired = pack_paired("correct", np.array(correct), items)
    if targets is not None:
        paired["targets"] = base64.b64encode(np.array(targets, dtype="<u2").tobytes()).decode()
    if episodes is not None:
        paired = pack_paired("episodes", np.array(episodes), items, per_episode=10)
    protocol, dataset = task.split("/", maxsplit=1)
    if version is None:
        version = protocol_spec(protocol).version if protocol in list_protocols() else 1
    score = {
        "value": value,
        "stderr": stderr,
        "ci95": [value - 2 * stderr, value + 2 * stderr],
        "n": 100,
        "unit": unit,
        "higher_is_better": higher_is_better,
    }
    return Record(
        case=case_name(backbone, task),
        key=f"key of {backbone} {task}",
        backbone={"name": backbone, "digest": f"weights of {backbone}", "pooling": "mean", "details": {"depth": 50}},
        task={
            "id": task,
            "version": version,
            "protocol": protocol,
            "dataset": dataset,
            "variant": "",
            "fingerprint": fingerprint,
            **task_fields,
        },
        scores={main_score: score},
        main_score=main_score,
        hyperparameters={"l2": 0.1} if hyperparameters is None else hyperparameters,
        references={}
        if reference is None
        else {main_score: {"unit": unit, "higher_is_better": higher_is_better, **reference}},
        verdict=verdict,
        timings={"extract": 2.0, "fit": 1.0, "score": 0.5, "images_per_second": 64.0} if timings is None else timings,
        peak_memory={"rss": 1000, "device": None},
        environment={"torch": "2.9"} if environment is None else environment,
        created="2025-01-01T00:00:00+00:00",
        paired=paired,
        samples=None,
    )


@pytest.fixture
def make_record() -> MakeRecord:
    return build
