"""The README promises two commands and a table of options; both must stay true."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from sslbench.plugin.options import _OPTIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("environment", ["bench", "test"])
def test_the_two_commands_stand_in_the_readme_and_in_tox(environment: str) -> None:
    assert f"    python -m pip install tox && tox -e {environment} " in README
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    commands = tox["testenv:{bench,test,lint}"]["commands"]
    line = next(line for line in commands.splitlines() if line.startswith(f"{environment}: "))
    # Both run in one and the same environment directory.
    assert line.startswith(f"{environment}: python -m tox run -q -e env -- python -m pytest ")


def test_the_table_of_options_is_complete() -> None:
    listed = set(re.findall(r"^\| `(--sslbench-[a-z-]+)", README, flags=re.MULTILINE))
    assert listed == {option.flag for option in _OPTIONS}
    for option in _OPTIONS:
        assert f"`{option.ini}`" in README


def test_links_to_files_resolve() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
