"""A report of the whole study, 14 networks on 40 tasks, takes seconds: it has 3,640 pairs of records."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslbench.report.write import write_report
from sslbench.results import pairing
from sslbench.results.record import pack_paired

NETWORKS = 14
# (protocol, number of tasks, test items, classes where the score is mean per class)
KINDS = (("linear", 11, 8_000, 0), ("linear", 4, 6_000, 102), ("fewshot", 25, 600, 0))


def study(make_record):
    for protocol, tasks, n, classes in KINDS:
        for task in range(tasks):
            rng = np.random.default_rng(task)
            ease = rng.random(n)
            for network in range(NETWORKS):
                name, task_id = f"net{network:02}", f"{protocol}/{classes}-{task}"
                skill = ease + rng.normal(0, 0.3, n) + 0.01 * network
                if protocol == "fewshot":
                    record = make_record(name, task_id, episodes=[0], version=1)
                    right = np.clip(60 * skill, 0, 75)
                    yield replace(record, paired=pack_paired("episodes", right, "items", per_episode=75))
                elif classes:
                    targets = (np.arange(n) % classes).tolist()
                    correct = (skill > 0.4).tolist()
                    yield make_record(name, task_id, correct=correct, targets=targets, main_score="mean_per_class")
                else:
                    yield make_record(name, task_id, correct=(skill > 0.4).tolist())


def test_a_report_of_the_whole_study_takes_seconds(tmp_path: Path, make_record, monkeypatch) -> None:
    records = list(study(make_record))
    assert len(records) == 560
    bootstraps: list[int] = []
    real = pairing.paired_bootstrap
    monkeypatch.setattr(pairing, "paired_bootstrap", lambda *arrays: bootstraps.append(1) or real(*arrays))
    start = time.process_time()
    write_report(records, tmp_path)
    # About 1.5 s; over 200 when each pair of the ranking was bootstrapped and each test built its distribution.
    assert time.process_time() - start < 15
    assert len(bootstraps) == 4, "one a column, for the two best"
    write_report(records, tmp_path)
    assert len(bootstraps) == 4
