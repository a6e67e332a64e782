"""Names and globs."""

from __future__ import annotations

import pytest

from sslbench.errors import UnknownNameError
from sslbench.names import did_you_mean, is_glob, matches, select, split_patterns, unknown


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
    assert split_patterns([]) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # A comma that is part of a path is written with a backslash.
        (r"knn/folder:/runs/lr=0.1\,wd=1/im,knn/digits", ["knn/folder:/runs/lr=0.1,wd=1/im", "knn/digits"]),
        (r"file:/home/Doe\, J/net.pth?arch=resnet50", ["file:/home/Doe, J/net.pth?arch=resnet50"]),
        (r"a\,,b", ["a,", "b"]),
        # On several lines each is one name, as pytest's own lists are; a comma at the end is a habit, not a part.
        ("\n    tiny\n    pixels\n", ["tiny", "pixels"]),
        ("tiny,\n  pixels,\n", ["tiny", "pixels"]),
        ("\nknn/folder:/runs/lr=0.1,wd=1/im\nknn/digits", ["knn/folder:/runs/lr=0.1,wd=1/im", "knn/digits"]),
        ("a\\,\nb", ["a,", "b"]),
        # One line below the name of the option is still one line.
        ("\n    tiny, pixels\n", ["tiny", "pixels"]),
        (["tiny", " Doe, J ", r"a\,b", ""], ["tiny", "Doe, J", "a,b"]),
    ],
)
def test_commas_lines_and_lists(value: str | list[str], expected: list[str]) -> None:
    assert split_patterns(value) == expected


def test_did_you_mean() -> None:
    assert did_you_mean("Strict", ("strict", "loose")) == "; did you mean 'strict'?"
    assert did_you_mean("cuda", ("auto", "CUDA")) == "; did you mean 'CUDA'?"
    assert did_you_mean("gpu", ("auto", "cpu", "cuda")) == ""
    assert did_you_mean(None, ("auto",)) == ""


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
