"""The sentences and drawings on top of the page, against the numbers that they tell."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sslbench.analyses.block import block
from sslbench.analyses.rank_tests import critical_difference, mean_ranks
from sslbench.analyses.sheet import sheet_of_records
from sslbench.report.page import html_report
from sslbench.report.rank_diagram import rank_diagram
from sslbench.report.standing import above_controls, leading, listed, separations, standing
from sslbench.report.upstream import upstream_part
from sslbench.report.wins_matrix import wins_part
from sslbench.results.pairing import compare_quickly, compare_records
from sslbench.results.ranks import Rank, ranking
from sslbench.results.record import Record
from sslbench.results.short_names import ShortNames, short_names
from sslbench.results.statistics import holm
from tests.report.pages import Page

SKILL = {"strong": 0.5, "good": 0.2, "fair": 0.18, "pixels": -0.3}


@pytest.fixture
def records(make_record) -> list[Record]:
    made = []
    for task in range(5):
        rng = np.random.default_rng(task)
        ease = rng.random(500)
        for name, skill in SKILL.items():
            correct = ease + rng.normal(0, 0.2, 500) + skill > 0.5
            made.append(make_record(name, f"knn/set{task}", correct=correct.tolist(), guess=10.0))
    return made


def names_of(*names: str) -> ShortNames:
    return ShortNames({name: name for name in names}, {}, ())


def test_what_a_rank_beats_is_what_its_range_counts(records):
    ranks = {rank.backbone: rank for rank in ranking(records)}
    for rank in ranks.values():
        assert rank.worst == len(ranks) - len(rank.beats)
        assert rank.best == 1 + sum(rank.backbone in other.beats for other in ranks.values())
        assert all(ranks[other].mean < rank.mean for other in rank.beats)
    assert ranks["strong"].beats == ("fair", "good", "pixels") and ranks["good"].beats == ("pixels",)


def test_the_sentences(records):
    names, ranks = short_names(records), ranking(records)
    assert leading(ranks, names).startswith("strong leads: its mean of ")
    assert above_controls(ranks, names) == "All 3 trained backbones are better than every control."
    assert separations(ranks) == "Of 6 pairs of backbones the data separate 5."
    assert standing(records[:1], short_names(records[:1]), []).startswith("<p>No ranking: it needs two")


def test_the_sentences_where_the_data_do_not_separate():
    names = names_of("a", "b", "c", "pixels")
    ranks = [Rank("a", 70.04, 1, 3, 2), Rank("b", 69.0, 1, 3, 2, None, ("pixels",)), Rank("c", 60.0, 2, 4, 2)]
    assert leading(ranks, names).startswith(
        "a has the highest mean, 70.0 %, but the data do not separate the first place"
    )
    assert leading(ranks, names).endswith("that of b.")
    alone = [ranks[0], Rank("c", 60.0, 2, 4, 2)]
    assert leading(alone, names) == "a has the highest mean, 70.0 %, but may be as low as rank 3."
    told = above_controls([*ranks, Rank("pixels", 10.0, 3, 4, 2)], names)
    assert told == (
        "1 of 3 trained backbones are better than every control. The data do not show it of a (pixels) and c (pixels)."
    )
    assert above_controls(ranks, names) == ""
    assert (
        listed(list("abc")) == "a, b or c"
        and listed(["a"]) == "a"
        and listed(list("abcdefghij")).endswith("or 4 others")
    )


def test_wins_are_counted_by_paired_tests(records):
    page = Page(wins_part(sheet_of_records(records), short_names(records)))
    told = {one["title"] for one in page.all("td") if "title" in one}
    assert len(told) == 12
    by = {(r.backbone["name"], r.task["id"]): r for r in records}
    names = list(SKILL)
    for first in names:
        for second in names:
            if first == second:
                continue
            won = lost = 0
            for task in range(5):
                column = [by[name, f"knn/set{task}"] for name in names]
                pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
                ps = holm([compare_records(column[i], column[j]).p_two_sided for i, j in pairs])
                p = dict(zip(pairs, ps, strict=True))
                i, j = sorted((names.index(first), names.index(second)))
                difference = by[first, f"knn/set{task}"].main.value - by[second, f"knn/set{task}"].main.value
                won += p[i, j] <= 0.05 and difference > 0
                lost += p[i, j] <= 0.05 and difference < 0
            assert f"{first}: better than {second} on {won} of 5 tasks, worse on {lost}" in told


def test_the_matrix_leaves_out_what_does_not_measure_the_same(make_record):
    records = [make_record(name, correct=[True] * 9 + [False], fingerprint=name) for name in ("a", "b")]
    assert wins_part(sheet_of_records(records), short_names(records)) == ""
    records += [make_record(name, "knn/pets", correct=[True] * 9 + [False]) for name in ("a", "b")]
    assert "Not in it: 1 tasks" in wins_part(sheet_of_records(records), short_names(records))


def test_the_diagram_has_every_mean_rank_and_the_critical_difference(records):
    sheet = sheet_of_records(records)
    text = rank_diagram(sheet, short_names(records))
    page = Page(text)
    ranked = block(sheet)
    drawn = {told for tag, told in page.text if tag == "text"}
    for name, mean in mean_ranks(ranked).items():
        assert {f"{name}  {mean:.1f}", f"{mean:.1f}  {name}"} & drawn
    assert f"CD = {critical_difference(3, 5):.2f}" in drawn
    # Ranks 1 to 3 lie over 300 pixels from 230 on.
    ends = [float(x) for x in re.findall(r'<path class="axis" d="M([\d.]+),', text)]
    assert sorted(ends) == pytest.approx(
        sorted(230 + 150 * (mean - 1) for mean in mean_ranks(ranked).values()), abs=0.06
    )
    assert "pixels" not in text
    assert rank_diagram(sheet_of_records(records[:4]), short_names(records)) == ""


def test_what_does_not_measure_the_same_has_no_ranks_and_no_correlation(records, make_record):
    changed = [
        replace(one, task={**one.task, "fingerprint": "other"}) if one.case == "good|knn/set0" else one
        for one in records
    ]
    text = rank_diagram(sheet_of_records(changed), short_names(changed))
    assert "over the 4 tasks" in text and "Left out: 1 tasks" in text
    assert "over the 5 tasks" in rank_diagram(sheet_of_records(records), short_names(records))
    values = {"zoo:simclr": 50.0, "zoo:swav": 40.0, "zoo:vicreg": 45.0, "zoo:mae": 20.0}
    mixed = [make_record(name, "knn/pets", value=value, fingerprint=name) for name, value in values.items()]
    mixed += [make_record(name, "linear/pets", value=value) for name, value in values.items()]
    told = upstream_part(sheet_of_records(mixed))
    assert "knn has no correlation: the records of a task do not measure the same thing." in told
    assert ">linear</th>" in told and ">knn</th>" not in told


def test_backbones_that_are_all_equal_have_no_diagram(make_record):
    records = [make_record(name, f"knn/{task}") for name in "abc" for task in ("pets", "cars")]
    assert rank_diagram(sheet_of_records(records), short_names(records)) == ""


def test_what_goes_with_the_upstream_score(make_record):
    values = {"zoo:simclr": 50.0, "zoo:swav": 40.0, "zoo:vicreg": 45.0, "zoo:mae": 20.0, "pixels": 99.0}
    records = [make_record(name, "knn/pets", value=value) for name, value in values.items()]
    records += [make_record(name, "odd/pets", value=value + 90) for name, value in values.items()]
    page = Page(upstream_part(sheet_of_records(records)))
    rows = [text for tag, text in page.text if tag in ("th", "td")]
    assert rows[rows.index("knn") + 1] == "4"
    # In % and beyond a whole: as it is, without log-odds.
    assert rows[rows.index("odd") + 1] == "4"
    assert upstream_part(sheet_of_records(records[:2])) == ""


def test_mean_per_class_accuracies_are_compared_without_a_bootstrap(make_record):
    rng = np.random.default_rng(1)
    targets = (np.arange(900) % 30).tolist()
    new, base = (
        make_record(name, correct=(rng.random(900) < p).tolist(), targets=targets, main_score="mean_per_class")
        for name, p in (("a", 0.55), ("b", 0.50))
    )
    quick, slow = compare_quickly(new, base), compare_records(new, base)
    assert quick.ci95 == pytest.approx(slow.ci95, abs=0.6)
    assert quick.p_two_sided == pytest.approx(slow.p_two_sided, abs=0.02)
    assert quick.p_worse == pytest.approx(slow.p_worse, abs=0.02)
    plain = [make_record(name, correct=[True] * 30 + [False] * 9) for name in ("a", "b")]
    assert compare_quickly(*plain) == compare_records(*plain)


def test_everything_stands_on_one_page(records):
    headings = [text for tag, text in Page(html_report(records, title="t")).text if tag == "h3"]
    assert headings[:3] == ["Ranking", "Who beats whom", "Mean ranks over tasks"]
