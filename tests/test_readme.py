"""The README promises two commands and a first program, and the pages behind it a table of options; all must stay true."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
import yaml

import sslbench
from sslbench.cli import _parser
from sslbench.plugin.options import _OPTIONS
from sslbench.results.ranks import rank_ranges
from sslbench.results.record import by_task
from sslbench.results.references import read_records

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("environment", ["bench", "test"])
def test_the_two_commands_stand_in_the_readme_and_in_tox(environment: str) -> None:
    assert f"    python -m pip install tox && tox -e {environment} " in README
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    commands = tox["testenv:{bench,test,engines,lint}"]["commands"]
    lines = [
        line.split(": ", 1)[1]
        for line in commands.splitlines()
        if line.partition(": ")[0].split(",").count(environment)
    ]
    # All run in one and the same environment directory, and only the first has the package installed.
    first, *others = (line.partition(" -- ")[0] for line in lines)
    assert first == "python -m tox run -q -e env"
    assert set(others) <= {f"{first} --skip-pkg-install"}
    assert " -- python -m pytest " in lines[-1]


def test_the_first_program_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 5
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "cache"))
    exec(code, {})
    values = re.findall(r"^0 +(\S+) +([\d.]+)", capsys.readouterr().out, flags=re.MULTILINE)
    assert [name for name, _ in values] == ["zoo:simclr", "random-init:zoo:simclr"]
    assert float(values[0][1]) > float(values[1][1])


def test_the_paper_is_named_before_it_is_called_the_study() -> None:
    for text in (README, DOCS["study"]):
        assert text.index("How Well Do Self-Supervised Models Transfer?") < text.index("the study")


def test_the_table_of_the_readme_has_eight_lines() -> None:
    block = README.partition("<!-- table: readme -->\n")[2].partition("<!-- /table -->")[0]
    assert len(block.splitlines()) - 1 == 8


def test_what_the_caption_of_the_figure_says_is_so() -> None:
    columns = by_task(read_records(ROOT / "results" / "baselines" / "embedded.json"))
    leaders = {
        "linear/world-colour": "pixels",
        "linear/world-texture": "wheel:efficientnet-lite0?size=64",
        "linear/world-shape": "wheel:efficientnet-lite0?size=64",
        "fewshot/world-objects/20shot": "wheel:efficientnet-lite0?size=64",
    }
    for task, leader in leaders.items():
        assert rank_ranges(columns[task])[leader] == (1, 1), task
        assert len(columns[task]) == 12


def test_the_table_of_options_is_complete() -> None:
    listed = set(re.findall(r"^\| `(--sslbench-[a-z-]+)", DOCS["options"], flags=re.MULTILINE))
    assert listed == {option.flag for option in _OPTIONS}
    for option in _OPTIONS:
        assert f"`{option.ini}`" in DOCS["options"]


def test_every_command_is_in_the_page_of_commands() -> None:
    (commands,) = (action for action in _parser()._actions if action.choices)
    assert set(re.findall(r"^    sslbench (\w+)", DOCS["commands"], flags=re.MULTILINE)) >= set(commands.choices) - {
        "show"
    }
    assert "sslbench show" in DOCS["commands"] + DOCS["detection"]


def test_links_to_files_resolve() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_site_has_every_page_and_every_public_name() -> None:
    reached = set(re.findall(r"^([a-z-]+)$", DOCS["index"], flags=re.MULTILINE))
    assert reached == DOCS.keys() - {"index"}
    assert set(re.findall(r"^<!-- api: (\w+)", DOCS["api"], flags=re.MULTILINE)) == set(sslbench.__all__)


def test_the_citation_is_of_this_version_and_has_what_its_format_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["version"] == sslbench.__version__
    assert citation.keys() >= {"message", "title", "authors"} and citation["type"] == "software"
    (paper,) = citation["references"]
    assert paper.keys() >= {"type", "title", "authors"} and paper["type"] == "conference-paper"
    assert [author["family-names"] for author in paper["authors"]] == ["Ericsson", "Gouk", "Hospedales"]
