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


CALIBRATION = "## expected calibration error, mean of ten many-shot sets"
MEAN_OF = next(table for table in STUDY.tables if table.stem == "feature_analysis").columns["ece_linear"].tasks


def errors(measure, backbone, values, protocol="linear", **scores):
    """Records of all ten sets with these values of `ece` and others of `ece_scaled`."""
    records = []
    for task, value in zip(MEAN_OF, values, strict=True):
        record = measure(backbone, task.partition("/")[2], 80.0, protocol)
        falling = {**record.scores["top1"], "higher_is_better": False}
        own = {name: {**falling, "value": value * factor} for name, factor in {"ece": 1, **scores}.items()}
        records.append(replace(record, scores={**record.scores, **own}))
    return records


def calibration(records):
    return study_tables(records).partition(CALIBRATION)[2]


def test_mean_calibration_errors_stand_beside_the_published_means(measure):
    # Means 9.5 and 4.5, against 8.25 and 10.23; scaled ones are a tenth, against 2.16 and 1.93.
    records = [
        *errors(measure, "swav", range(5, 15), ece_scaled=0.1),
        *errors(measure, "byol", range(10), ece_scaled=0.1),
        *errors(measure, "byol", [3.0] * 10, "finetune"),
    ]
    text = calibration(records)
    assert cells(text, "swav") == ["<u>9.5</u> (8.2, +1.2)", "<u>0.9</u> (2.2, -1.2)", "–", "–"]
    assert cells(text, "byol") == ["**4.5** (10.2, -5.7)", "**0.5** (1.9, -1.5)", "3.0 (5.8, -2.8)", "–"]
    assert "in %, where lower is better: ece_linear, ece_linear_scaled, ece_finetune, ece_finetune_scaled;" in text
    assert "nothing is judged by these figures: a mean over data sets belongs to no case" in text
    assert "guessing" not in text


def test_a_mean_is_shown_only_where_all_ten_are_there(measure):
    records = errors(measure, "swav", range(10))
    assert CALIBRATION not in study_tables(records[1:])
    # A record of before has no such score.
    assert CALIBRATION not in study_tables([*records[1:], measure("swav", MEAN_OF[0].partition("/")[2], 80.0)])
    text = calibration([*records, *errors(measure, "byol", range(10))[:9]])
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:] == ["| swav"]


def test_means_over_other_data_are_not_ranked_and_have_nothing_published_beside(measure):
    records = [*errors(measure, "swav", range(10)), *errors(measure, "byol", range(10))]
    records[3] = replace(records[3], task={**records[3].task, "fingerprint": "other", "details": {"complete": False}})
    text = calibration(records)
    assert cells(text, "swav")[0] == "4.5" and cells(text, "byol")[0] == "4.5 (10.2, -5.7)"
    assert "versions, data or compat choices: ece_linear;" in text


def test_nothing_of_the_study_gives_nothing(measure):
    assert study_tables([measure("swav", "digits", 90.0), measure("swav", "pets", 90.0, "knn")]) == ""
