from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from _pytest.assertion.rewrite import rewrite_asserts

from sslbench.backbones.code_text import code_text, function_text, used_globals

SOURCE = """
SCALE = 2

def scaled(x):
    assert x is not None, "nothing to scale"
    def inner(y):
        assert y != x + 1
        return y * SCALE
    return inner(x)

def plain(x):
    return x
"""


def as_it_is(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("user_code", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_in_pytest(path: Path) -> ModuleType:
    """A module with its assertions rewritten, as conftest.py is in a session."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    rewrite_asserts(tree, path.read_bytes(), str(path))
    code: CodeType = compile(tree, str(path), "exec", dont_inherit=True)
    module = ModuleType("user_code")
    exec(code, vars(module))
    return module


def test_what_pytest_makes_of_assertions_changes_no_text(tmp_path: Path) -> None:
    path = tmp_path / "user_code.py"
    path.write_text(SOURCE)
    here, there = as_it_is(path), as_in_pytest(path)
    assert here.scaled.__code__.co_code != there.scaled.__code__.co_code
    for name in ("scaled", "plain"):
        assert function_text(vars(here)[name]) == function_text(vars(there)[name])
    assert list(used_globals(there.scaled)) == list(used_globals(here.scaled)) == [("SCALE", 2)]


@pytest.mark.parametrize(("old", "new"), [("is not None", "is None"), ("x + 1", "x + 2"), ("y * SCALE", "y + SCALE")])
def test_assertions_belong_to_what_a_function_computes(tmp_path: Path, old: str, new: str) -> None:
    texts = []
    for name, source in (("one", SOURCE), ("two", SOURCE.replace(old, new))):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        texts.append(function_text(as_in_pytest(path).scaled))
    assert texts[0] != texts[1]


def test_a_file_that_has_gone_or_changed_leaves_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "user_code.py"
    path.write_text(SOURCE)
    code = as_in_pytest(path).scaled.__code__
    as_written = code_text(code)
    path.write_text("\n" + SOURCE)
    moved = code_text(code)
    path.unlink()
    assert code_text(code) == moved != as_written
