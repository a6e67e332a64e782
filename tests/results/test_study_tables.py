from __future__ import annotations

from dataclasses import replace

import pytest

from sslbench.results.study_tables import study_tables
from sslbench.studies.ericsson2021 import STUDY

COLUMNS = list(STUDY.tables[0].columns)


@pytest.fixture
def measure(make_record):
    def made(backbone, dataset, value, protocol="linear", variant=""):
        task = "/".join(filter(None, (protocol, dataset, variant)))
        record = make_record(backbone, task, value=value)
        return replace(record, task={**record.task, "variant": variant, "dataset": dataset})

    return made


def cells(text: str, backbone: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {backbone} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_measured_beside_published_with_the_difference(measure):
    text = study_tables([measure("swav", "pets", 88.0), measure("byol", "pets", 90.0), measure("mine", "pets", 91.0)])
    assert text.startswith("## many-shot recognition, linear\n")
    place = COLUMNS.index("pets")
    assert cells(text, "byol")[place] == "<u>90.0</u> (89.1, +0.9)"
    assert cells(text, "swav")[place] == "88.0 (87.6, +0.4)"
    assert cells(text, "mine")[place] == "**91.0**"
    rows = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["backbone", "---", "byol", "swav", "mine"]


def test_a_score_on_other_pictures_has_nothing_published_beside_it(measure):
    record = measure("swav", "pets", 88.0)
    other = replace(record, task={**record.task, "details": {"complete": False}})
    assert cells(study_tables([other]), "swav")[COLUMNS.index("pets")] == "88.0"


def test_no_average_of_some_columns(measure):
    text = study_tables([measure("swav", "pets", 88.0)])
    assert cells(text, "swav")[-1] == "–"


def test_the_average_of_all_columns_is_the_papers(measure):
    names = COLUMNS
    text = study_tables([measure("swav", name, 80.0) for name in names])
    assert cells(text, "swav")[-1] == "80.0 (78.0, +2.0)"


def test_a_table_for_each_setting_that_ran(measure):
    records = [measure("swav", "eurosat", 92.0, "fewshot", "20shot"), measure("swav", "pets", 94.0, "fewshot", "5shot")]
    text = study_tables(records)
    assert [line for line in text.splitlines() if line.startswith("##")] == [
        "## few-shot recognition, cross-domain sets, 20 shots",
        "## few-shot recognition, many-shot sets, 5 shots",
    ]


def test_ties_share_their_place(measure):
    place = COLUMNS.index("pets")
    text = study_tables(
        [measure(name, "pets", value) for name, value in (("swav", 90.0), ("byol", 90.0), ("pirl", 80.0))]
    )
    assert cells(text, "swav")[place].startswith("**90.0**")
    assert cells(text, "byol")[place].startswith("**90.0**")
    assert cells(text, "pirl")[place].startswith("<u>80.0</u>")


def test_guessing_and_doubt_are_told(make_record):
    known = make_record("swav", "linear/pets", value=88.0, guess=2.7, hyperparameters={"unconverged": 4})
    text = study_tables([known, make_record("byol", "linear/pets", value=90.0, guess=2.7)])
    place = COLUMNS.index("pets")
    assert cells(text, "swav")[place] == "<u>88.0</u>† (87.6, +0.4)"
    assert cells(text, "*guessing*")[place] == "2.7"
    assert set(cells(text, "*guessing*")) == {"2.7", "–"}
    assert "; guessing: what a guess scores" in text and "; † a linear probe" in text
    assert "guessing" not in study_tables([make_record("byol", "linear/pets")])


def test_records_of_other_compat_choices_are_not_ranked(make_record):
    records = [make_record(n, "linear/pets", value=v, compat={"linear-solver": s}) for n, v, s in (
        ("swav", 88.0, "path"), ("byol", 90.0, "sklearn"))]  # fmt: skip
    text = study_tables(records)
    assert "**90.0**" not in text
    assert text.endswith("not ranked, as the records are of different versions, data or compat choices: pets.\n")


def test_nothing_of_the_study_gives_nothing(measure):
    assert study_tables([measure("swav", "digits", 90.0), measure("swav", "pets", 90.0, "knn")]) == ""
