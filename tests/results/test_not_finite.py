"""A number that is not finite costs no computed case, wherever it stands in a record."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.errors import CacheWarning, RecordError
from sslbench.metrics import METRICS, Score
from sslbench.protocols.knn import _Bank
from sslbench.report.page import html_report
from sslbench.report.write import write_report
from sslbench.results.compare import compare
from sslbench.results.gate import GateConfig, gate
from sslbench.results.ranks import ranking
from sslbench.results.record import Record, dump
from sslbench.results.references import explain, verdict
from sslbench.results.runs import Run, read_record, write_baseline
from sslbench.results.tables import long_table, pivot_markdown, terminal_table, to_csv
from sslbench.runner import Case, Runner
from sslbench.tasks import parse_task
from tests.results.test_references import find_reference

RIGHT = [True] * 30 + [False] * 10


@pytest.fixture
def unknown(make_record):
    """A score whose uncertainty is not known."""
    record = make_record("vague", correct=RIGHT, stderr=math.nan)
    assert math.isnan(record.main.stderr) and math.isnan(record.main.ci95[0])
    return record


def test_null_stands_for_it_anywhere_in_a_record(tmp_path, make_record):
    record = make_record(
        stderr=math.inf,
        hyperparameters={"gap": math.inf, "path": [1.0, math.nan], "scale": np.float32("nan"), "k": np.int64(3)},
        timings={"extract": math.nan},
        environment={"load": (-math.inf, 2.0)},
        details={"deep": {"mean": np.float64("nan")}},
    )
    path = Run(tmp_path).write(record)
    saved = json.loads(path.read_bytes(), parse_constant=pytest.fail)
    assert saved["hyperparameters"] == {"gap": None, "path": [1.0, None], "scale": None, "k": 3}
    assert saved["timings"] == {"extract": None}
    assert saved["environment"] == {"load": [None, 2.0]}
    assert saved["task"]["details"] == {"deep": {"mean": None}}
    assert saved["scores"]["top1"]["stderr"] is None
    back = read_record(path)
    assert back.main.value == 90.0
    assert math.isnan(back.main.stderr)
    # What travels between processes is what is on disk.
    assert Record.from_json(record.to_json()) == back
    write_baseline([back], tmp_path / "base.json")
    assert json.loads((tmp_path / "base.json").read_bytes())[0]["hyperparameters"]["gap"] is None


def test_finite_data_are_written_as_before():
    data = {"b": [1, 2.5, None, True, "x"], "a": {"c": -0.0}}
    assert dump(data) == (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def test_a_main_score_that_is_no_number_is_kept_and_told(tmp_path, make_record):
    run, sound = Run(tmp_path), make_record("sound")
    run.write(sound)
    with pytest.raises(
        RecordError, match=r"vague\|linear/digits: expected a finite main score, got top1 = nan; .*kept in"
    ):
        run.write(make_record("vague", value=math.nan))
    path = run.record_path("vague|linear/digits")
    assert json.loads(path.read_bytes())["key"] == "key of vague linear/digits"
    with pytest.warns(CacheWarning, match="main score 'top1' has no finite value.*left out"):
        assert run.records() == [sound]
    with pytest.warns(CacheWarning, match="running the case again"):
        assert run.read("vague|linear/digits") is None


def test_another_score_may_be_unknown(tmp_path, make_record):
    record = make_record()
    record.scores["mean_per_class"] = Score(math.nan, math.nan, (math.nan, math.nan), n=3).to_json()
    assert read_record(Run(tmp_path).write(record)) == record


def test_every_table_copes_with_an_unknown_uncertainty(tmp_path, make_record, unknown):
    records = [unknown, make_record("known", correct=RIGHT[::-1])]
    assert ("| vague | **75.0 ± ?** ≈ |") in pivot_markdown(records)
    assert "vague            75.0±?" in terminal_table(records, 80)
    rows = {row["backbone"]: row for row in csv.DictReader(io.StringIO(to_csv(records)))}
    assert (rows["vague"]["stderr"], rows["vague"]["ci_low"], rows["vague"]["value"]) == ("", "", "75.0")
    assert long_table(records)["stderr"].isna().tolist() == [False, True]
    page = html_report(records, title="t")
    assert "nan" not in page.replace("details", "")
    assert "75.0 <small>± ?</small>" in page and "interval not known" in page
    # Whatever the order, the other record's colour and interval do not suffer.
    assert page == html_report(records[::-1], title="t")
    assert '<circle cx="70.0"' in page
    assert len(write_report(records, tmp_path)) == 3


def test_ranks_the_gate_and_compare_take_the_paired_outcomes(make_record, unknown):
    better = make_record("better", correct=[True] * 39 + [False])
    assert [rank.backbone for rank in ranking([unknown, better])] == ["better", "vague"]
    (result,) = gate([unknown], [better], GateConfig())
    assert result.failed and "top1 75.00±? %" in result.message
    assert "new 75.00±? %, base 97.50±1.00 %" in compare([unknown], [better])


def test_a_reference_without_an_uncertainty_has_the_narrowest_tolerance_and_says_so(make_record, monkeypatch):
    saved = replace(make_record(value=90.0), environment={"cpu": "abacus"})
    monkeypatch.setattr("sslbench.results.references.embedded_references", lambda: {saved.case: saved})
    score = replace(saved.main, value=89.8, stderr=math.nan)
    own = find_reference("swav", saved.task, score, {})
    assert (own["tolerance"], verdict(score, own)) == (0.5, "within")
    assert own["how"].endswith("standard error 0.00, as the score's own is not known)")
    task = {"id": "linear/pets", "version": "2", "protocol": "linear", "dataset": "pets", "variant": "", "compat": {}}
    published = find_reference("swav", task, score, {"C": 1.0})
    assert published["tolerance"] == 1.0 and "is not known + 1 points" in published["how"]
    record = make_record(value=80.0, stderr=math.nan, reference=own, verdict="below")
    assert "top1 80.00 ± ? % is below the reference 90.00" in explain(record)


def test_a_case_is_stored_whatever_its_protocol_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _Bank.__init__

    def init(self, *arguments):
        real(self, *arguments)
        self.hyperparameters = {"gap": math.inf, "k": np.float32("nan")}

    monkeypatch.setattr(_Bank, "__init__", init)
    run = Run(tmp_path / "run")
    runner = Runner(Settings(cache_dir=tmp_path / "cache", device="cpu"), run)
    case = Case("pixels", parse_task("knn/digits"))
    record = runner.prepare(case).execute()
    (saved,) = run.records()
    assert {name: saved.hyperparameters[name] for name in ("gap", "k")} == {"gap": None, "k": None}
    assert saved.main == record.main
    assert runner.prepare(case).resume() == saved

    def no_number(decision, targets):
        return Score(math.nan, math.nan, (math.nan, math.nan), len(targets))

    monkeypatch.setitem(METRICS._items, "top1", replace(METRICS["top1"], compute=no_number))
    with pytest.raises(RecordError, match=r"pixels\|knn/digits: expected a finite main score, got top1 = nan"):
        runner.prepare(case).execute()
    samples = json.loads(run.record_path(case.name).read_bytes())["samples"]
    assert (run.directory / "records" / samples["path"]).exists()
