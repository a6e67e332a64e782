from __future__ import annotations

import csv
import io
import random

import pytest

from sslbench.errors import RecordError
from sslbench.results.tables import long_table, pivot_markdown, terminal_table, to_csv


@pytest.fixture
def grid(make_record):
    """Two protocols; moco lacks linear/pets."""
    return [
        make_record("swav", "linear/digits", value=97.0, stderr=0.5, verdict="above"),
        make_record("moco", "linear/digits", value=96.0, stderr=0.5),
        make_record("pixels", "linear/digits", value=80.0, stderr=1.0, verdict="below"),
        make_record("swav", "linear/pets", value=70.0, stderr=1.0),
        make_record("pixels", "linear/pets", value=30.0, stderr=1.0),
        make_record("swav", "knn/digits", value=91.0, stderr=0.5),
    ]


def cells(markdown, backbone):
    """The cells of every line of a backbone."""
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {backbone} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


def test_long_table_holds_the_fields_of_the_record(make_record):
    reference = {"value": 91.5, "tolerance": 2.0, "source": "paper"}
    record = make_record(value=90.0, stderr=1.0, reference=reference, verdict="within")
    row = long_table([record]).iloc[0].to_dict()
    assert row == {
        "backbone": "swav",
        "task": "linear/digits",
        "protocol": "linear",
        "dataset": "digits",
        "variant": "",
        "score": "top1",
        "value": 90.0,
        "stderr": 1.0,
        "ci_low": 88.0,
        "ci_high": 92.0,
        "n": 100,
        "unit": "%",
        "reference": 91.5,
        "tolerance": 2.0,
        "verdict": "within",
        "extract_s": 2.0,
        "fit_s": 1.0,
        "score_s": 0.5,
        "images_per_second": 64.0,
        "created": "2025-01-01T00:00:00+00:00",
    }


def test_long_table_has_the_same_types_without_a_record_or_a_reference(make_record):
    assert (long_table([]).columns == long_table([make_record()]).columns).all()
    assert long_table([])["reference"].dtype == long_table([make_record()])["reference"].dtype == float


def test_tables_do_not_depend_on_the_order_of_the_records(grid):
    expected = to_csv(grid), pivot_markdown(grid), terminal_table(grid, 80)
    for seed in range(5):
        shuffled = random.Random(seed).sample(grid, len(grid))
        assert (to_csv(shuffled), pivot_markdown(shuffled), terminal_table(shuffled, 80)) == expected


def test_csv_has_a_line_a_record_by_task_then_backbone(grid):
    rows = list(csv.DictReader(io.StringIO(to_csv(grid))))
    assert [(row["task"], row["backbone"]) for row in rows] == [
        ("knn/digits", "swav"),
        ("linear/digits", "moco"),
        ("linear/digits", "pixels"),
        ("linear/digits", "swav"),
        ("linear/pets", "pixels"),
        ("linear/pets", "swav"),
    ]
    assert rows[0]["reference"] == ""


def test_two_records_of_one_case_are_an_error(make_record):
    with pytest.raises(RecordError, match=r"got two of 'swav\|linear/digits'"):
        long_table([make_record(), make_record(value=1.0)])


def test_markdown_has_a_table_a_protocol(grid):
    text = pivot_markdown(grid)
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## knn", "## linear"]
    assert "| backbone | digits | pets | average |" in text
    assert "| backbone | digits |\n" in text, "a single column needs no average"


def test_markdown_marks_best_second_and_verdicts(grid):
    text = pivot_markdown(grid)
    # 96..98 and 95..97 overlap, so the two are not separable; 68..72 and 28..32 are.
    assert cells(text, "swav") == [["91.0 ± 0.5"], ["**97.0 ± 0.5** ≈ ▲", "**70.0 ± 1.0**", "97.0"]]
    assert cells(text, "moco") == [["<u>96.0 ± 0.5</u>", "–", "96.0"]]
    assert cells(text, "pixels") == [["80.0 ± 1.0 ▼", "<u>30.0 ± 1.0</u>", "80.0"]]
    assert "The average is over the 1 of 2 tasks that every backbone has: linear/digits." in text
    assert "▼ below" in text.splitlines()[-1]


def test_markdown_average_over_all_tasks(make_record):
    text = pivot_markdown([make_record(task="linear/a", value=90.0), make_record(task="linear/b", value=81.0)])
    assert cells(text, "swav") == [["90.0 ± 1.0", "81.0 ± 1.0", "85.5"]]
    assert "average is over" not in text


def test_markdown_has_no_average_without_a_shared_task_or_unit(make_record):
    apart = [make_record("a", "linear/x"), make_record("b", "linear/y")]
    assert "No average: no task" in pivot_markdown(apart)
    mixed = [make_record("a", "dense/x"), make_record("a", "dense/y", unit="°", higher_is_better=False)]
    text = pivot_markdown(mixed)
    assert "No average: the scores have different units" in text
    assert "| x | y (°, lower is better) |" in text
    assert cells(text, "a")[0][-1] == "–"


def test_markdown_best_is_the_lowest_where_lower_is_better(make_record):
    text = pivot_markdown([make_record(name, value=v, higher_is_better=False) for name, v in (("a", 10), ("b", 30))])
    assert cells(text, "a") == [["**10.0 ± 1.0**"]]
    assert cells(text, "b") == [["<u>30.0 ± 1.0</u>"]]


def test_markdown_ties_are_all_best(make_record):
    text = pivot_markdown([make_record(name, value=v) for name, v in (("a", 90), ("b", 90), ("c", 10))])
    assert cells(text, "a") == cells(text, "b") == [["**90.0 ± 1.0** ≈"]]
    assert cells(text, "c") == [["10.0 ± 1.0"]]


def test_markdown_does_not_rank_what_is_not_comparable(make_record):
    text = pivot_markdown([make_record("a", version=1), make_record("b", version=2, value=10.0)])
    assert "The records of linear/digits are of different task versions" in text
    assert cells(text, "a") == [["90.0 ± 1.0"]]


def test_markdown_escapes_names(make_record):
    assert "| a\\|b\\<script> |" in pivot_markdown([make_record("a|b<script>")])


def test_terminal_table(grid):
    assert terminal_table(grid, 80) == [
        "backbone  knn/digits  linear/digits  linear/pets",
        "moco               –       96.0±0.5            –",
        "pixels             –       80.0±1.0▼    30.0±1.0",
        "swav        91.0±0.5       97.0±0.5▲    70.0±1.0",
        "▼ below, ▲ above the reference by more than its tolerance",
    ]


def test_terminal_table_splits_into_blocks(grid):
    lines = terminal_table(grid, 40)
    assert [line for line in lines if line.startswith("backbone")] == [
        "backbone  knn/digits  linear/digits",
        "backbone  linear/pets",
    ]
    assert lines.count("") == 1
    assert max(len(line) for line in lines[:-1]) <= 40


def test_no_records():
    assert terminal_table([], 80) == []
    assert pivot_markdown([]) == "No records.\n"
    assert to_csv([]).count("\n") == 1
