"""The metric of a folder is part of its name, and a `?` of a path stays one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.config import Settings
from sslbench.datasets import dataset_spec, load_dataset, tidy_folder
from sslbench.datasets.families._folder_names import parse_folder
from sslbench.errors import DataError, UnknownNameError
from tests.datasets.pictures import pictures


@pytest.mark.parametrize(
    ("name", "path", "metric"),
    [
        ("folder:images", "images", "top1"),
        ("folder:images?metric=auroc", "images", "auroc"),
        ("folder:/a b/x,y?metric=map", "/a b/x,y", "map"),
        ("folder:what?", "what?", "top1"),
        ("folder:what?/x", "what?/x", "top1"),
        ("folder:a=b?c=d", "a=b?c=d", "top1"),
        ("folder:what?metric=auroc&other=1", "what?metric=auroc&other=1", "top1"),
        ("folder:who?where?metric=mean_per_class", "who?where", "mean_per_class"),
    ],
)
def test_what_a_name_says(name: str, path: str, metric: str) -> None:
    assert parse_folder(name) == (path, metric)
    assert (dataset_spec(name).origin, dataset_spec(name).metric) == (path, metric)
    assert tidy_folder(name) == name


def test_a_slash_at_the_end_makes_no_other_dataset() -> None:
    assert tidy_folder("folder:images/?metric=auroc") == "folder:images?metric=auroc"
    assert tidy_folder("folder:images//") == "folder:images"
    assert tidy_folder("folder:/") == "folder:/"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "folder:x?metric=accuracy",
            r"unknown metric of a folder 'accuracy'; .*asked for by 'folder:x\?metric=accuracy'",
        ),
        ("folder:x?metric=auc", r"unknown metric of a folder 'auc'; nearest: auroc"),
        ("folder:x?metric=voc_map11", r"unknown metric of a folder 'voc_map11'"),
        ("folder:x?metric=", r"unknown metric of a folder ''; known: auroc, map, mean_per_class, top1"),
    ],
)
def test_metrics_that_no_folder_can_have_are_refused(name: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        dataset_spec(name)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match="the option metric is given more than once"):
        dataset_spec("folder:x?metric=map&metric=auroc")


def test_the_metric_is_that_of_the_dataset_and_shares_its_pictures(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images", "cat", "dog")
    settings = Settings(data_dir=tmp_path)
    plain, ranked = (load_dataset(f"folder:{name}", settings) for name in (root, "images?metric=auroc"))
    assert (plain.metric, ranked.metric) == ("top1", "auroc")
    assert ranked.fingerprint == plain.fingerprint
    assert ranked.name == "folder:images?metric=auroc"


@pytest.mark.parametrize("name", ["what?", "a?b=c", "x?metric=auroc", "x?metric=nonsense"])
def test_an_existing_folder_keeps_its_question_mark(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / name, "cat", "dog")
    monkeypatch.chdir(tmp_path)
    for given in (name, str(tmp_path / name)):
        assert load_dataset(f"folder:{given}", Settings()).metric == "top1"
    assert load_dataset(f"folder:{name}?metric=map", Settings()).metric == "map"
    # Below the data directory, which the declaration does not know.
    monkeypatch.chdir("/")
    if "nonsense" not in name:
        assert load_dataset(f"folder:{name}", Settings(data_dir=tmp_path)).metric == "top1"


def test_a_mistyped_option_is_told(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "cat", "dog")
    with pytest.raises(
        DataError, match=r"there is no folder .*images\?metrik=map.*the one option of a folder is \?metric=NAME"
    ):
        load_dataset(f"folder:{tmp_path}/images?metrik=map", Settings())
