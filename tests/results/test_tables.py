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
    record = make_record(value=90.0, stderr=1.0, reference=reference, verdict="within", guess=12.5)
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
        "guess": 12.5,
        "reference": 91.5,
        "tolerance": 2.0,
        "verdict": "within",
        "unsolved": False,
        "extract_s": 2.0,
        "fit_s": 1.0,
        "score_s": 0.5,
        "images_per_second": 64.0,
        "created": "2025-01-01T00:00:00+00:00",
    }


def test_long_table_has_the_same_types_without_a_record_or_a_reference(make_record):
    assert (long_table([]).columns == long_table([make_record()]).columns).all()
    for name, kind in (("reference", float), ("guess", float), ("unsolved", bool)):
        assert long_table([])[name].dtype == long_table([make_record()])[name].dtype == kind


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
    # Without single outcomes: 96..98 and 95..97 overlap, so the two are not separable; 68..72 and 28..32 are.
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


def test_markdown_does_not_rank_records_of_other_compat_choices(make_record):
    choices = ({"linear-solver": "path"}, {"linear-solver": "sklearn"})
    records = [make_record(n, compat=c, value=v) for n, c, v in zip("ab", choices, (90.0, 10.0), strict=True)]
    text = pivot_markdown(records)
    assert cells(text, "a") == [["90.0 ± 1.0"]] and cells(text, "b") == [["10.0 ± 1.0"]]
    assert "data, compat choices or scores and are not ranked" in text
    assert "linear-solver (new sklearn, base path)" in text


def test_markdown_separates_the_two_best_by_the_paired_test(make_record):
    # Twelve of 400 items differ, all for b: p = 2^-11, although the intervals overlap almost wholly.
    close = {name: [True] * right + [False] * (400 - right) for name, right in (("a", 200), ("b", 212), ("c", 100))}
    text = pivot_markdown([make_record(name, correct=correct, stderr=2.5) for name, correct in close.items()])
    assert cells(text, "b") == [["**53.0 ± 2.5**"]]
    assert cells(text, "a") == [["<u>50.0 ± 2.5</u>"]]
    # Forty gained and forty-two lost: p is near 1, although the standard errors are told to be tiny.
    mixed = [False] * 40 + [True] * 160 + [True] * 42 + [False] * 158
    text = pivot_markdown(
        [make_record("a", correct=close["a"], stderr=0.1), make_record("b", correct=mixed, stderr=0.1)]
    )
    assert cells(text, "b") == [["**50.5 ± 0.1** ≈"]]
    assert "paired test on the same items, two-sided p of this one pair at least 0.05" in text


def test_the_level_of_guessing_stands_below_the_scores(make_record):
    records = [
        make_record(name, task, value=value, guess=level)
        for name in ("a", "b")
        for task, value, level in (("linear/x", 90.5, 90.5), ("linear/y", 40.0, 12.5), ("knn/x", 91.0, 90.5))
    ]
    assert terminal_table(records, 80)[:4] == [
        "backbone     knn/x  linear/x  linear/y",
        "a         91.0±1.0  90.5±1.0  40.0±1.0",
        "b         91.0±1.0  90.5±1.0  40.0±1.0",
        "guessing      90.5      90.5      12.5",
    ]
    text = pivot_markdown(records)
    assert cells(text, "*guessing*") == [["90.5"], ["90.5", "12.5", "51.5"]]
    assert (
        "guessing: what a guess scores" in text and "guessing: what a guess scores" in terminal_table(records, 200)[-1]
    )
    rows = list(csv.DictReader(io.StringIO(to_csv(records))))
    assert [row["guess"] for row in rows] == ["90.5", "90.5", "90.5", "90.5", "12.5", "12.5"]


def test_guessing_is_told_where_it_is_known(make_record):
    known, unknown = make_record("a", "linear/x", guess=12.5), make_record("a", "linear/y", guess=None)
    older = make_record("b", "linear/x")
    assert terminal_table([known, unknown, older], 80)[3] == "guessing      12.5         –"
    # Blocks without a known level have no such row, and neither has a table without one.
    lines = terminal_table([known, unknown, older], 20)
    assert [line.split()[0] for line in lines if line][:7] == ["backbone", "a", "b", "guessing", "backbone", "a", "b"]
    assert not any("guessing" in line for line in terminal_table([unknown, make_record("a", "linear/z")], 80))
    assert "guessing" not in pivot_markdown([unknown])
    # An average of levels of which one is unknown would not be that of the scores.
    assert cells(pivot_markdown([known, unknown]), "*guessing*") == [["12.5", "–", "–"]]
    assert "guessing" not in pivot_markdown([make_record("a", guess=10.0), make_record("b", guess=20.0)])


def test_an_unsolved_probe_is_marked_in_every_table(make_record):
    records = [
        make_record("early", hyperparameters={"unconverged": 3, "gap": 0.2}, verdict="below"),
        make_record("solved", hyperparameters={"unconverged": 0, "gap": 9.9e-5}, verdict="above"),
    ]
    assert terminal_table(records, 200) == [
        "backbone  linear/digits",
        "early          90.0±1.0▼†",
        "solved         90.0±1.0▲",
        "▼ below, ▲ above the reference by more than its tolerance",
        "† a linear probe that did not reach its tolerance at every penalty (unconverged, gap in the record); with "
        "linear-solver=sklearn that is expected: it stops early, as the study's did",
    ]
    text = pivot_markdown(records)
    assert cells(text, "early") == [["**90.0 ± 1.0** ≈ ▼†"]]
    assert "† a linear probe" in text.splitlines()[-1]
    assert "†" not in pivot_markdown(records[1:])
    assert long_table(records)["unsolved"].tolist() == [True, False]


def test_long_names_share_one_explanation(make_record):
    models = ["python:laboratory.models:small", "python:laboratory.models:large"]
    tasks = [
        f"{protocol}/folder:/data/collections/2024/{name}" for protocol in ("knn", "linear") for name in ("im", "ok")
    ]
    records = [make_record(backbone, "knn/x") for backbone in models]
    for task in tasks:
        protocol, _, dataset = task.partition("/")
        records += [make_record(backbone, task, protocol=protocol, dataset=dataset) for backbone in models]
    lines = terminal_table(records, 80)
    assert lines[:3] == [
        "backbone  knn/¹…im  knn/¹…ok     knn/x  linear/¹…im  linear/¹…ok",
        "²…large   90.0±1.0  90.0±1.0  90.0±1.0     90.0±1.0     90.0±1.0",
        "²…small   90.0±1.0  90.0±1.0  90.0±1.0     90.0±1.0     90.0±1.0",
    ]
    assert lines[3:] == [
        "¹… stands for folder:/data/collections/2024/",
        "²… stands for python:laboratory.models:",
    ]
    text = pivot_markdown(records)
    assert "| backbone | ¹…im | ¹…ok | x | average |" in text
    assert "²… stands for python:laboratory.models:." in text
    assert set(long_table(records)["backbone"]) == set(models)
    assert set(long_table(records)["task"]) == {"knn/x", *tasks}


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
