"""Studies of one's own: what is registered is checked, and what two have under one name is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.backbones.preprocessing import presets
from sslbench.compat import switches
from sslbench.errors import RecordError, SslbenchError
from sslbench.studies import Allowance, Column, Geometry, Study, Suite, Switch, Table, register_study, studies
from sslbench.tasks import list_suites, suite
from tests.conftest import Registries

GOOD = "model,digits\nnet,98.5\nother,90±2\n"


def study(folder: Path, text: str = GOOD, **changes: object) -> Study:
    (folder / "figures.csv").write_text(text)
    table = Table(folder / "figures.csv", "Table 1", {"digits": Column("knn/digits")}, Allowance(1.0, "because"))
    made = Study(
        "mine",
        "Me 2026",
        ("net",),
        ("digits",),
        suites=(Suite("my-suite", ("knn/digits",), ("pixels",), "one task"),),
        switches={"my-switch": Switch(("a", "b"), "a or b")},
        presets={"small": Geometry((32, 32), 32, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))},
        tables=(table,),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_all_parts_are_known_once_it_is_registered(tmp_path: Path, registries: Registries) -> None:
    made = register_study(study(tmp_path))
    assert suite("my-suite").backbones == ("pixels",) and "my-suite" in list_suites()
    assert switches()["my-switch"].default == "a"
    assert presets()["small"].input_size == (32, 32)
    assert made.source(made.tables[0]) == "Me 2026, Table 1 (figures.csv)"
    assert made.tables[0].figure("other", "digits").stderr == pytest.approx(2 / 1.96, rel=1e-3)
    assert register_study(made) is made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model,digits\nnet,98.6x\n", "net, digits: expected a number, got '98.6x'"),
        ("model,digits\nnet,\n", "net, digits: expected a number"),
        ("model,digits\nnet,nan\n", "net, digits: expected a finite number"),
        ("model;digits\nnet;98\n", "a first column `model` and columns digits, separated by commas, got model;digits"),
        ("model,other\nnet,98\n", "columns digits, .* got model, other"),
        ("model,digits\nnet,98\nnet,97\n", "one row a network, got net twice"),
        ("model,digits\n", "one row a network, got none"),
        ("model,digits\nnet,98,97\n", "net: expected 2 cells, got 3"),
    ],
)
def test_a_table_that_is_not_as_declared_is_refused_at_once(
    text: str, told: str, tmp_path: Path, registries: Registries
) -> None:
    with pytest.raises(RecordError, match=told):
        register_study(study(tmp_path, text))
    assert "mine" not in [known.name for known in studies()]


def test_a_missing_table_is_named(tmp_path: Path, registries: Registries) -> None:
    made = study(tmp_path)
    (tmp_path / "figures.csv").unlink()
    with pytest.raises(RecordError, match=r"the table .*figures\.csv cannot be read"):
        register_study(made)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suites": (Suite("paper", (), (), ""),)}, "the study ericsson2021 has suites paper too"),
        ({"switches": {"linear-solver": Switch(("a",), "")}}, "has switches linear-solver too"),
        ({"presets": {"paper": Geometry((1, 1), 1, "bicubic", (0, 0, 0), (1, 1, 1))}}, "has presets paper too"),
    ],
)
def test_names_of_another_study_are_refused(
    changes: dict[str, object], told: str, tmp_path: Path, registries: Registries
) -> None:
    with pytest.raises(SslbenchError, match=told):
        register_study(study(tmp_path, **changes))


def test_a_switch_without_choices_is_refused() -> None:
    with pytest.raises(SslbenchError, match="needs choices"):
        Switch((), "nothing")


def test_the_packages_own_tables_are_as_declared() -> None:
    tables = [table for known in studies() for table in known.tables]
    assert len(tables) > 5
    for table in tables:
        table.check()
