"""The examples in the docstrings of public names run as they stand."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import sslbench

# What is made by others and only looked at; its example would be load_backbone's.
WITHOUT = {"Backbone"}


@pytest.mark.parametrize("name", sslbench.__all__)
@pytest.mark.usefixtures("registries")
def test_examples(name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # One cache for all of them.
    cache: Path = tmp_path_factory.getbasetemp() / "doctests"
    monkeypatch.setenv("SSLBENCH_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = inspect.getdoc(getattr(sslbench, name)) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert bool(test.examples) == (name not in WITHOUT)
    told: list[str] = []
    doctest.DocTestRunner().run(test, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("name", sslbench.__all__)
def test_what_a_public_function_takes_gives_and_raises_is_told(name: str) -> None:
    thing = getattr(sslbench, name)
    if inspect.isclass(thing):
        assert "\nAttributes:\n" in inspect.getdoc(thing)
        return
    text = inspect.getdoc(thing)
    assert "\nReturns:\n" in text and "\nArgs:\n" in text
    for parameter in inspect.signature(thing).parameters:
        assert f"\n    {parameter}: " in text, parameter
