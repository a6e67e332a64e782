"""Tasks and suites: ids, globs, folders, and answers to unknown names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from sslbench import tasks as tasks_module
from sslbench.datasets import DatasetSpec, dataset_spec, register_dataset
from sslbench.errors import SslbenchError, UnknownNameError
from sslbench.protocols import protocol_spec
from sslbench.tasks import (
    Suite,
    Task,
    dataset_tasks,
    expand_tasks,
    list_suites,
    list_tasks,
    parse_task,
    register_suite,
    suite,
)
from tests.conftest import Registries

SHOTS = ("5shot", "20shot", "50shot")
SUITE = "embedded"


def ids(*patterns: str) -> list[str]:
    return [task.id for task in expand_tasks(patterns, SUITE)]


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("linear/digits", Task("linear", "digits")),
        ("fewshot/world-objects/20shot", Task("fewshot", "world-objects", "20shot")),
        ("knn/folder:/a/b/c", Task("knn", "folder:/a/b/c")),
        ("knn/folder:rel", Task("knn", "folder:rel")),
        ("fewshot/folder:/a/b/5shot", Task("fewshot", "folder:/a/b", "5shot")),
        # A folder that is called like a variant of another protocol.
        ("linear/folder:/a/5shot", Task("linear", "folder:/a/5shot")),
    ],
)
def test_parse_task(text: str, task: Task) -> None:
    assert parse_task(text) == task
    assert task.id == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("liner/digits", "unknown protocol 'liner'; nearest: linear"),
        ("linear/digit", "unknown dataset 'digit'; nearest: digits"),
        ("digits", "unknown protocol 'digits'"),
        ("linear", "unknown dataset ''"),
        ("fewshot/world-objects", "unknown task 'fewshot/world-objects'; nearest: fewshot/world-objects/5shot"),
        ("fewshot/world-objects/7shot", "unknown variant of fewshot '7shot'; nearest: 5shot, 50shot, 20shot"),
        ("linear/digits/5shot", "unknown variant of linear '5shot'; it has none"),
    ],
)
def test_an_unknown_part_lists_the_nearest(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        parse_task(text)


def test_every_listed_task_parses_back() -> None:
    listed = list_tasks()
    assert listed == sorted(set(listed))
    assert "linear/digits" in listed
    assert "fewshot/world-objects/50shot" in listed
    assert [parse_task(task).id for task in listed] == listed


def test_the_tasks_of_a_dataset_follow_its_declaration(registries: Registries) -> None:
    register_dataset(DatasetSpec("mine", "m:f", 3, "", "", "", protocols=("fewshot", "knn")))
    assert {task.id for task in dataset_tasks("mine")} == {"knn/mine", *(f"fewshot/mine/{shot}" for shot in SHOTS)}
    with pytest.raises(UnknownNameError, match="unknown task 'linear/mine'"):
        parse_task("linear/mine")
    assert "knn/mine" in list_tasks("*/mine")
    # Registered, but outside the suite: its full id reaches it, a glob does not.
    assert ids("knn/mine") == ["knn/mine"]
    with pytest.raises(UnknownNameError, match="matches no task"):
        ids("*/mine")


def test_without_patterns_the_suite_runs() -> None:
    expected = list_tasks(suite_name=SUITE)
    assert [task.id for task in expand_tasks(None, SUITE)] == expected
    assert len(expected) == 23
    # A variant that is made of options is in no list of all tasks.
    quick = ("finetune/digits", "finetune/world-shape", "inversion/world-colour", "occlusion/world-masks")
    assert set(expected) - set(list_tasks()) == {f"{task}/recipe=quick" for task in quick}
    assert expand_tasks([], SUITE) == []


def test_globs_choose_within_the_suite() -> None:
    worlds = [f"linear/world-{what}" for what in ("colour", "count", "shape", "texture")]
    assert ids("linear/world-*") == worlds
    assert "linear/world-objects" in list_tasks("linear/world-*")
    assert "linear/world-objects" not in ids("linear/*")
    assert ids("*/digits") == ["knn/digits", "linear/digits"]
    assert ids("linear/digits", "*/digits", "linear/digits") == ["knn/digits", "linear/digits"]
    assert ids("fewshot/*") == sorted(f"fewshot/world-objects/{shot}" for shot in SHOTS)


def test_a_full_id_reaches_outside_the_suite() -> None:
    assert ids("linear/world-objects") == ["linear/world-objects"]


def test_a_glob_that_matches_nothing_is_refused() -> None:
    with pytest.raises(
        UnknownNameError, match=r"the glob 'linear/nothing\*' matches no task of the suite embedded; known: "
    ):
        ids("linear/digits", "linear/nothing*")


@pytest.mark.parametrize(
    "pattern", ["*folder:/im/a", "knn/*folder:/im/a", "folder:/im/a", "knn/x/folder:/im/a", "knn-folder:/im/a"]
)
def test_a_folder_in_the_wrong_place_is_answered_with_the_right_one(pattern: str) -> None:
    with pytest.raises(UnknownNameError, match=r"PROTOCOL/folder:PATH, such as knn/folder:/im/a, or \*/folder:/im/a\*"):
        ids(pattern)


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'digts'; nearest: digits"):
        ids("linear/digts")


ALL_OF_A_FOLDER = sorted(["knn/folder:/p/x", "linear/folder:/p/x", *(f"fewshot/folder:/p/x/{shot}" for shot in SHOTS)])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("linear/folder:/p/x", ["linear/folder:/p/x"]),
        ("linear/folder:/p/x/", ["linear/folder:/p/x"]),
        ("linear/folder:x", ["linear/folder:x"]),
        ("linear/folder:/p/[x]", ["linear/folder:/p/[x]"]),
        ("fewshot/folder:/p/x/20shot", ["fewshot/folder:/p/x/20shot"]),
        ("fewshot/folder:/p/x", sorted(f"fewshot/folder:/p/x/{shot}" for shot in SHOTS)),
        ("fewshot/folder:/p/x/*", sorted(f"fewshot/folder:/p/x/{shot}" for shot in SHOTS)),
        ("*/folder:/p/x", ALL_OF_A_FOLDER),
        ("*/folder:/p/x/20shot", ["fewshot/folder:/p/x/20shot"]),
        ("fewshot/folder:/p/x/5*", ["fewshot/folder:/p/x/50shot", "fewshot/folder:/p/x/5shot"]),
        ("*/folder:/p/x*", ALL_OF_A_FOLDER),
        ("l*/folder:/p/x*", ["linear/folder:/p/x"]),
        ("linear/folder:/p/x?metric=auroc", ["linear/folder:/p/x?metric=auroc"]),
        ("linear/folder:/p/x/?metric=auroc*", ["linear/folder:/p/x?metric=auroc"]),
        ("[kl]*/folder:x?metric=map*", ["knn/folder:x?metric=map", "linear/folder:x?metric=map"]),
        ("*/folder:x?metric=map/20*", ["fewshot/folder:x?metric=map/20shot"]),
        ("fewshot/folder:x?metric=map", sorted(f"fewshot/folder:x?metric=map/{shot}" for shot in SHOTS)),
        ("knn/folder:what?", ["knn/folder:what?"]),
        ("fewshot/folder:what?/x/5shot", ["fewshot/folder:what?/x/5shot"]),
    ],
)
def test_folder_patterns(pattern: str, expected: list[str]) -> None:
    tasks = expand_tasks([pattern], SUITE)
    assert sorted(task.id for task in tasks) == expected
    for task in tasks:
        assert not task.dataset.endswith(("/", "*", "shot"))
        if "[" not in task.id:
            assert parse_task(task.id) == task


def test_an_unknown_metric_of_a_folder_is_refused_at_once() -> None:
    for pattern in ("linear/folder:x?metric=acc", "*/folder:x?metric=acc*", "fewshot/folder:x?metric=acc/20shot"):
        with pytest.raises(UnknownNameError, match="unknown metric of a folder 'acc'"):
            ids(pattern)


def test_folders_mix_with_other_patterns() -> None:
    assert ids("linear/folder:/p/x", "linear/digits") == ["linear/digits", "linear/folder:/p/x"]


def test_an_unknown_protocol_of_a_folder_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown protocol 'liner'; nearest: linear"):
        ids("liner/folder:/p/x")
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'nothing\*'.*asked for by 'nothing\*/folder:/p/x'"):
        ids("nothing*/folder:/p/x")


def test_suites() -> None:
    assert list_suites() == sorted(list_suites())
    assert SUITE in list_suites("emb*")
    assert suite(SUITE).backbones == (
        "wheel:efficientnet-lite0?size=64",
        "zoo:*",
        "random-init:zoo:simclr",
        "random-init:zoo:mae",
        "pixels",
        "colour-histogram",
    )
    with pytest.raises(UnknownNameError, match="unknown suite 'embeded'; nearest: embedded"):
        expand_tasks(None, "embeded")


def test_a_taken_suite_name_is_refused(registries: Registries) -> None:
    mine = register_suite(Suite("mine", ("knn/digits",), ("pixels",), "one task"))
    assert register_suite(mine) is mine
    assert list_tasks(suite_name="mine") == ["knn/digits"]
    assert [task.id for task in expand_tasks(["*"], "mine")] == ["knn/digits"]
    with pytest.raises(SslbenchError, match="'mine' is already registered"):
        register_suite(Suite("mine", (), (), ""))


def test_listing_imports_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, sslbench.tasks as t; t.expand_tasks(None, 'embedded'); "
        "print({'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_markers_come_from_the_protocol_and_the_dataset(registries: Registries) -> None:
    registries.redeclare(replace(protocol_spec("knn"), markers=("gpu", "slow")))
    registries.redeclare(replace(dataset_spec("digits"), markers=("download", "slow")))
    assert parse_task("knn/digits").markers == ["download", "gpu", "knn", "slow"]
    assert parse_task("linear/world-shape").markers == ["linear"]


def test_a_suite_marks_its_slow_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Suite("mine", ("knn/digits",), ("pixels",), "some", slow=("pixels|linear/*", "*/world-count"))
    assert made.markers("pixels", parse_task("linear/digits")) == ["linear", "slow"]
    assert made.markers("random-init", parse_task("linear/digits")) == ["linear"]
    assert made.markers("random-init", parse_task("knn/world-count")) == ["knn", "slow"]
    monkeypatch.setattr(
        tasks_module, "dataset_spec", lambda name: DatasetSpec(name, "", 0, "", "", "", markers=("gpu",))
    )
    assert made.markers("pixels", Task("linear", "digits")) == ["gpu", "linear", "slow"]


def test_a_variant_made_of_options_has_one_spelling() -> None:
    assert (
        ids("finetune/digits/10pct+last-1") == ids("finetune/digits/last-1+10pct") == ["finetune/digits/last-1+10pct"]
    )
    assert ids("finetune/folder:/p/x/steps=9+recipe=quick") == ["finetune/folder:/p/x/recipe=quick+steps=9"]
    assert ids("finetune/folder:/p/x") == ids("finetune/folder:/p/x*") == ["finetune/folder:/p/x"]
    assert ids("finetune/folder:/p/run=9") == ["finetune/folder:/p/run=9"]
    for text, message in {
        "finetune/digits/lst-1": r"unknown variant of finetune 'lst-1'; it is made of these, joined by \+: last-N",
        "finetune/digits/last-0": "unknown variant of finetune 'last-0'",
        "finetune/digits/steps=0": "steps=0: expected a whole number from 1 to 100000",
        "finetune/digits/seeds=1": "seeds=1: expected a whole number from 2 to 100",
        "finetune/digits/recipe=quik": "recipe=quik: expected quick or vit, or nothing; did you mean 'quick'",
        "finetune/digits/last-1+last-2": "the variant 'last-1.last-2' has last twice",
        "finetune/digits/last-1+stepz=5": "'stepz=5' of the variant .* is no option of fine-tuning",
        "finetune/world-boxes/recipe=quick": "finetune takes one class an image or .*, but world-boxes has boxes",
    }.items():
        with pytest.raises(UnknownNameError, match=message):
            ids(text)


def test_a_star_does_not_stand_for_a_protocol_that_is_to_be_named(registries: Registries) -> None:
    assert not [task for task in ids("*/folder:/p/x*") if task.startswith("finetune")]
    register_suite(Suite("everything", ("*/digits", "finetune/digits/last-1"), ("pixels",), ""))
    assert list_tasks(suite_name="everything") == ["finetune/digits/last-1", "knn/digits", "linear/digits"]


def test_a_suite_limits_a_task_to_some_backbones_and_says_what_is_slow() -> None:
    made = Suite("mine", (), (), "", slow=("b|finetune/*",), limited={"finetune/*": ("a", "zoo:*")})
    tuned, near = parse_task("finetune/digits"), parse_task("knn/digits")
    assert [made.has(name, tuned) for name in ("a", "b", "zoo:simclr")] == [True, False, True]
    assert made.has("b", near)
    assert [made.markers(name, tuned) for name in ("a", "b")] == [["finetune"], ["finetune", "slow"]]
