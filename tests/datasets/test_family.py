"""Families of users' folders: names, options, and that a new one needs no entry anywhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslbench.cli import main
from sslbench.config import Settings
from sslbench.datasets import (
    Dataset,
    DatasetSpec,
    Family,
    ImageArray,
    Labels,
    Normals,
    Split,
    Targets,
    dataset_spec,
    family_of,
    inspect,
    load_dataset,
    register_family,
    tidy_folder,
)
from sslbench.datasets.family import parse_name
from sslbench.errors import DataError, UnknownNameError
from sslbench.tasks import Task, expand_tasks, within_suite
from tests.conftest import Registries


def load(settings: Settings) -> Dataset:
    pixels = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    split = Split("train", ImageArray("two", pixels), Labels(np.array([0, 1])))
    return Dataset("two", ("a", "b"), {"train": split})


@pytest.fixture
def twins(registries: Registries) -> Family:
    def declare(name: str) -> DatasetSpec:
        path, options = parse_name(name, ("side", "depth"))
        if options.get("side", "left") not in ("left", "right"):
            raise DataError(f"{name}: no such side")
        return DatasetSpec(name, load, 2, "two pictures", "mine", path)

    return register_family(Family("twins", Labels, "two pictures", declare, ("side", "depth")))


@pytest.mark.usefixtures("twins")
def test_a_registered_family_is_known_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_dataset("twins:x").classes == ("a", "b")
    assert dataset_spec("twins:x/y?side=left").origin == "x/y"
    assert inspect("twins:x").state == "ready"
    assert tidy_folder("twins:x//?depth=2&side=left") == "twins:x?depth=2&side=left"
    assert expand_tasks(["knn/twins:x/?side=left*"], "embedded") == [Task("knn", "twins:x?side=left")]
    assert not within_suite(["knn/twins:x*"], "embedded")
    with pytest.raises(UnknownNameError, match=r"PROTOCOL/twins:PATH, such as knn/twins:x, or \*/twins:x\*"):
        expand_tasks(["*twins:x"], "embedded")
    with pytest.raises(DataError, match="no such side"):
        expand_tasks(["fewshot/twins:x?side=up/5shot"], "embedded")
    assert main(["list", "datasets", "twins:*"]) == 0
    assert "twins:PATH" in capsys.readouterr().out


@pytest.mark.usefixtures("registries")
def test_what_no_protocol_takes_has_no_task() -> None:
    class Smells(Targets):
        kind = "smells"

    family = Family("facing", Smells, "", lambda name: DatasetSpec(name, load, 0, "", "", "", None, Smells))
    register_family(family)
    assert family_of("facing:x") is family
    # Those that take whatever there is aside.
    for pattern, told in {
        "knn/facing:x": "has smells, for which there is features, inversion, occlusion$",
        "*/facing:x*": r"\* does not stand for features, inversion, occlusion, which run when named",
    }.items():
        with pytest.raises(UnknownNameError, match=f"names no task: .*{told}"):
            expand_tasks([pattern], "embedded")


@pytest.mark.usefixtures("twins")
def test_a_scheme_is_taken_once() -> None:
    with pytest.raises(DataError, match="the kind of folder 'twins' is already registered"):
        register_family(Family("twins", Normals, "", lambda name: dataset_spec(name)))


@pytest.mark.parametrize("name", ["digits", "folder", "folders:x", "", ":x"])
def test_other_names_belong_to_no_family(name: str) -> None:
    assert family_of(name) is None


@pytest.mark.parametrize(
    ("name", "path", "options"),
    [
        ("s:a?x=1&y=2", "a", {"x": "1", "y": "2"}),
        ("s:a?y=", "a", {"y": ""}),
        ("s:a?x=1&z=2", "a?x=1&z=2", {}),
        ("s:a:b", "a:b", {}),
    ],
)
def test_options_follow_the_path(name: str, path: str, options: dict[str, str]) -> None:
    assert parse_name(name, ("x", "y")) == (path, options)


def test_an_option_twice_and_a_folder_that_looks_like_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the option y is given more than once"):
        parse_name("s:a?y=1&x=1&y=1", ("x", "y"))
    (tmp_path / "a?x=1").mkdir()
    assert parse_name("s:a?x=1", ("x",), (tmp_path,)) == ("a?x=1", {})
