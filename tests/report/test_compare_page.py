from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sslbench.report.compare_page import compare_html, gained
from sslbench.results.compare import compare, compare_runs, compared_text
from tests.report.pages import Page

RIGHT = [True] * 60 + [False] * 40


def pair(make_record, **given):
    """Two runs: much better on digits, the same on pets, and cars that cannot be tested."""
    better = [True] * 90 + [False] * 10
    new = [
        make_record("net", "knn/pets", correct=RIGHT, **given),
        make_record("net", "linear/digits", correct=better, environment={"torch": "3"}),
        make_record("net", "linear/cars"),
        make_record("net", "linear/new"),
    ]
    base = [
        make_record("net", "knn/pets", correct=RIGHT),
        make_record("net", "linear/digits", correct=RIGHT),
        make_record("net", "linear/cars", value=12.0),
        make_record("net", "linear/old"),
    ]
    return new, base


def test_the_strongest_evidence_comes_first_and_what_was_not_tested_last(make_record):
    page = Page(compare_html(compare_runs(*pair(make_record)), "a", "b"))
    tasks = [text for tag, text in page.text if tag == "td" and "/" in text and "unadjusted" not in text]
    assert tasks[:3] == ["linear/digits", "knn/pets", "linear/cars"]
    assert ("td", "▲ better") in page.text and ("td", "not told apart") in page.text
    assert any("has no outcomes of single items" in text for _, text in page.text)
    assert "Of 2 cases that could be tested, the new run is better on 1 and worse on 0; on 1" in " ".join(
        text for _, text in page.text
    )
    assert {text for tag, text in page.text if tag == "li"} >= {
        "Only in new: net|linear/new.",
        "Only in base: net|linear/old.",
    }


def test_the_numbers_are_those_of_the_paired_test(make_record):
    runs = compare_runs(*pair(make_record))
    (case,) = [case for case in runs.cases if case.new.task["id"] == "linear/digits"]
    text = compare_html(runs, "a", "b")
    assert f">+{case.result.difference:.1f} points<" in text and f">{case.p:.2g}<br>" in text
    low, high = case.result.ci95
    assert f'aria-label="{low:.1f} to {high:.1f}"' in text
    assert case.p == pytest.approx(2 * case.result.p_two_sided)


def test_a_difference_is_better_by_the_direction_of_the_score(make_record):
    (case,) = compare_runs(
        [make_record(correct=[True] * 99 + [False], higher_is_better=False)],
        [make_record(correct=RIGHT, higher_is_better=False)],
    ).cases
    assert gained(case) is False
    assert gained(replace(case, p=0.2)) is None and gained(replace(case, p=None)) is None


def test_what_describes_networks_is_higher_or_lower_and_not_better(make_record):
    def compared(task: str) -> Page:
        records = [make_record("net", task, correct=right) for right in ([True] * 99 + [False], RIGHT)]
        return Page(compare_html(compare_runs(records[:1], records[1:]), "a", "b"))

    assert ("td", "▲ better") in compared("knn/pets").text
    page = compared("occlusion/pets")
    assert ("td", "▲ higher") in page.text and not any("▲ better" in text for _, text in page.text)
    assert any("better on 0 and worse on 0, and differs on 1 that describe networks" in text for _, text in page.text)


def test_a_difference_of_the_recipes_is_told_once_with_its_cases(make_record):
    page = Page(compare_html(compare_runs(*pair(make_record, hyperparameters={"l2": 0.3})), "a", "b"))
    heads = [text for tag, text in page.text if tag == "th"]
    assert heads[-2:] == ["environment.torch", "hyperparameters.l2"]
    assert ("td", "net|linear/digits") in page.text and ("td", "0.3") in page.text
    same = Page(compare_html(compare_runs([make_record()], [make_record()]), "a", "b"))
    assert ("p", "The recipes are equal.") in same.text
    assert not any(text == "What is not compared" for _, text in same.text)


def test_names_are_text_and_ids_are_unique(make_record):
    attack = "<script>alert(1)</script>\"'"
    runs = compare_runs([make_record(attack, correct=RIGHT)], [make_record("net", correct=RIGHT[::-1])])
    page = Page(compare_html(runs, attack, "$rows"))
    assert len(page.all("script")) == 1 and ("title", f"{attack} against $rows") in page.text
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    assert all(one.get("href", "#").startswith("#") and "src" not in one for _, one in page.elements)


def test_backbones_have_a_column_where_there_are_several(make_record):
    def heads(names):
        records = [make_record(name, correct=RIGHT) for name in names]
        return re.findall(r'<button type="button">([^<]+)', compare_html(compare_runs(records, records), "a", "b"))

    assert heads(["a", "b"])[:2] == ["Task", "Backbone"] and heads(["a"])[:2] == ["Task", "New"]


def test_the_text_of_the_terminal_is_of_the_same_comparison(make_record):
    new, base = pair(make_record)
    assert compare(new, base) == compared_text(compare_runs(new, base))
