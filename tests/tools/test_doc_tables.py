"""Every table of the documentation is that of the committed baseline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import doc_tables
import numpy as np
import pytest
from doc_blocks.pages import PageError, by_hand, filled, names
from doc_tables import BASELINE, made, pages, problems, rendered

from sslbench.errors import RecordError
from sslbench.results.ranks import rank_ranges, span
from sslbench.results.references import read_records

ROOT = Path(__file__).parents[2]
MADE: dict[bytes, dict[str, str]] = {}


@pytest.fixture(autouse=True)
def _once_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks follow from the baseline's content alone, and making them takes most of the time."""

    def once(root: Path) -> dict[str, str]:
        content = (root / BASELINE).read_bytes()
        if content not in MADE:
            MADE[content] = made(root)
        return MADE[content]

    monkeypatch.setattr(doc_tables, "made", once)


def test_the_pages_are_those_of_the_committed_baseline() -> None:
    assert problems(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pages and what they are made from."""
    for path in (*pages(ROOT), BASELINE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def change(root: Path, case: str, points: float, **task: object) -> None:
    """Another baseline: a case's score moved, or fields of its task changed."""
    records = json.loads((root / BASELINE).read_bytes())
    (found,) = (record for record in records if record["case"] == case)
    score = found["scores"][found["main_score"]]
    score["value"] += points
    score["ci95"] = [end + points for end in score["ci95"]]
    found["task"].update(task)
    (root / BASELINE).write_text(json.dumps(records))


def test_another_baseline_is_noticed_and_one_command_mends_every_page(copy: Path) -> None:
    for backbone in ("pixels", "colour-histogram"):
        change(copy, f"{backbone}|knn/world-count", 40.0)
    told = problems(copy)
    for page in ("README.md", "docs/howto-gate-in-ci.md", "docs/zoo.md"):
        shown = any(line.startswith(f"{page} differs from") for line in told)
        # The README has the quick run, without the slow cases of this task.
        assert shown == (page != "README.md")
    for page, text in rendered(copy, doc_tables.made(copy)).items():
        (copy / page).write_text(text, encoding="utf-8")
    assert problems(copy) == []
    (record,) = (r for r in read_records(copy / BASELINE) if r.case == "pixels|knn/world-count")
    (row,) = (line for line in doc_tables.made(copy)["zoo-knn"].splitlines() if line.startswith("| `pixels` "))
    assert f"| {record.main.value:.1f} [" in row
    assert row in (copy / "docs/zoo.md").read_text(encoding="utf-8")


def test_the_level_of_guessing_is_in_the_tables_once_the_baseline_has_it(copy: Path) -> None:
    records = json.loads((copy / BASELINE).read_bytes())
    for record in records:
        record["task"]["guess"] = 10.3 if record["task"]["id"] == "knn/digits" else None
    (copy / BASELINE).write_text(json.dumps(records))
    blocks = doc_tables.made(copy)
    assert "| *guessing* | 10.3 | – | – | – | – |" in blocks["zoo-knn"]
    assert "guessing" not in blocks["zoo-linear"]
    (row,) = (line for line in blocks["terminal"].splitlines() if line.startswith("guessing "))
    assert row.split() == ["guessing", "–", "10.3"]


def test_a_table_that_was_copied_from_another_is_noticed(copy: Path) -> None:
    page = copy / "docs/zoo.md"
    text = page.read_text(encoding="utf-8")
    knn, linear = (
        text.partition(f"<!-- table: zoo-{name} -->")[2].partition("<!-- /table -->")[0] for name in ("knn", "linear")
    )
    assert knn != linear
    page.write_text(text.replace(linear, knn), encoding="utf-8")
    assert problems(copy) == [f"docs/zoo.md differs from {BASELINE}; run `python tools/doc_tables.py`"]


def test_a_table_of_scores_by_hand_is_noticed(copy: Path) -> None:
    row = "| `zoo:simclr` | 98.3 | 39.5 |"
    page = copy / "docs/performance.md"
    page.write_text(
        page.read_text(encoding="utf-8") + f"\n| backbone | a | b |\n|---|---|---|\n{row}\n", encoding="utf-8"
    )
    assert problems(copy) == [f"docs/performance.md has scores that are not made from the baseline: {row}"]
    assert list(by_hand(f"<!-- table: x -->\n{row}\n<!-- /table -->\n", ["zoo:simclr"])) == []
    assert list(by_hand("| `zoo:simclr` | SimCLR, 0.37 M parameters |", ["zoo:simclr"])) == []


def test_calibration_is_that_of_the_records_with_the_ranks_that_pairs_allow(copy: Path) -> None:
    protocols = ("linear", "knn", "finetune")
    records = [record for record in read_records(copy / BASELINE) if record.task["protocol"] in protocols]
    parts = doc_tables.made(copy)["zoo-calibration"].split("\n\n")
    assert parts[0::2] == [f"`{protocol}`:" for protocol in protocols]
    for protocol, text in zip(protocols, parts[1::2], strict=True):
        heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
        means = [float(row[-2]) for row in rows]
        assert means == sorted(means)
        for number, head in enumerate(heads[1:-2], 1):
            column = [record for record in records if record.task["id"] == f"{protocol}/{head}"]
            ranges = rank_ranges(column, score="ece")
            for record in column:
                name, error = record.backbone["name"], record.scores["ece"]
                (row,) = (row for row in rows if row[0] == f"`{name}`")
                low, high = error["ci95"]
                assert row[number] == f"{error['value']:.1f} [{low:.1f}, {high:.1f}] ({span(*ranges[name])})"
        for row in rows:
            own = [r for r in records if r.task["protocol"] == protocol and f"`{r.backbone['name']}`" == row[0]]
            for place, score in ((-2, "ece"), (-1, "ece_scaled")):
                assert float(row[place]) == pytest.approx(np.mean([r.scores[score]["value"] for r in own]), abs=0.051)


def test_a_baseline_without_calibration_scores_is_refused(copy: Path) -> None:
    records = json.loads((copy / BASELINE).read_bytes())
    for record in records:
        record["scores"].pop("ece", None)
    (copy / BASELINE).write_text(json.dumps(records))
    with pytest.raises(RecordError, match="no record has the score 'ece'; make the baseline again"):
        doc_tables.made(copy)


def test_markers_that_do_not_match_are_named() -> None:
    blocks = {"a": "one"}
    assert filled("x\n<!-- table: a -->\nold\n<!-- /table -->\ny\n", blocks, "p") == (
        "x\n<!-- table: a -->\none\n<!-- /table -->\ny\n"
    )
    for text, told in (
        ("<!-- table: b -->\n<!-- /table -->\n", "block 'b', which nothing makes; known are a"),
        ("<!-- table: a -->\nold\n", "is not closed"),
        ("<!-- table: a -->\n<!-- table: a -->\n<!-- /table -->\n", "in turn"),
        ("<!-- /table -->\n", "in turn"),
        ("<!-- table: A B -->\n<!-- /table -->\n", "in turn"),
    ):
        with pytest.raises(PageError, match=told):
            filled(text, blocks, "p")


def test_no_block_is_made_for_nothing(copy: Path) -> None:
    page = copy / "docs/zoo.md"
    text = page.read_text(encoding="utf-8")
    assert "zoo-gains" in names(text)
    start, _, rest = text.partition("<!-- table: zoo-gains -->")
    page.write_text(start + rest.partition("<!-- /table -->")[2], encoding="utf-8")
    assert problems(copy) == ["no page shows the table 'zoo-gains'"]
