"""Names and globs."""

from __future__ import annotations

import pytest

from sslbench.errors import UnknownNameError
from sslbench.names import is_glob, matches, select, split_patterns, unknown


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("linear/digits", "linear/*", True),
        ("linear/digits", "LINEAR/*", False),
        ("linear/digits", "linear", False),
        ("fewshot/a/5shot", "fewshot/*", True),
        ("a1", "a[12]", True),
        ("a3", "a[12]", False),
        # A question mark starts options: it stands for itself only.
        ("abc", "a?c", False),
        ("a?c", "a?c", True),
        ("file:x?arch=resnet50", "file:*?arch=resnet*", True),
        ("file:xyarch=resnet50", "file:x?arch=resnet*", False),
        # A name is always matched by itself, whatever it holds.
        ("file:[a]*?x", "file:[a]*?x", True),
    ],
)
def test_matches(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) is expected


@pytest.mark.parametrize(("pattern", "expected"), [("a*", True), ("a[b]", True), ("a?b=1", False), ("a", False)])
def test_is_glob(pattern: str, expected: bool) -> None:
    assert is_glob(pattern) is expected


def test_split_patterns() -> None:
    assert split_patterns(" a, b*,,c ,") == ["a", "b*", "c"]
    assert split_patterns("") == []


def test_unknown_names_the_nearest_best_first() -> None:
    message = str(unknown("dataset", "digit", ["world-shape", "digits", "digital"], "A hint"))
    assert message == "unknown dataset 'digit'; nearest: digits, digital. A hint"


def test_unknown_lists_what_is_known_when_nothing_is_near() -> None:
    names = [f"name-{i:02}" for i in range(14)]
    message = str(unknown("thing", "zzz", names))
    assert message == f"unknown thing 'zzz'; known: {', '.join(names[:12])}, ..."
    assert str(unknown("thing", "zzz", names[:2])).endswith("known: name-00, name-01")


def test_select_keeps_the_order_of_names_and_drops_repeats() -> None:
    assert select("task", ["c", "a1", "b", "a2"], ["b", "a*", "a1"]) == ["a1", "b", "a2"]
    assert select("task", ["a"], []) == []


def test_select_refuses_what_matches_nothing() -> None:
    with pytest.raises(UnknownNameError, match=r"the glob 'x\*' matches no task; known: alpha, beta"):
        select("task", ["alpha", "beta"], ["alpha", "x*"])
    with pytest.raises(UnknownNameError, match="unknown task 'alpa'; nearest: alpha"):
        select("task", ["alpha", "beta"], ["alpa"])
