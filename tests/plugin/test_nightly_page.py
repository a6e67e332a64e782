"""The complete files of the page on nightly runs: they parse, their commands exist, and their shards divide the cases."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from string import Template
from typing import Any

import pytest

from sslbench.cli import _parser
from tests.plugin.conftest import Project

DOCS = Path(__file__).parents[2] / "docs"
FILES = dict(
    re.findall(
        r"<!-- file: (\S+) -->\n```\w+\n(.*?)^```$",
        (DOCS / "howto-nightly.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
)
TRANSFER = re.findall(
    r"^```python\n(import pytest\n.*?)^```$",
    (DOCS / "howto-own-backbone.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)[0]
GITHUB, GITLAB, SHARDS, MERGE = ".github/workflows/nightly.yml", ".gitlab-ci.yml", "shards.sh", "merge.sh"


def parsed(name: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(FILES[name])


def texts(data: Any) -> Iterator[str]:
    """Every text below some YAML."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        yield from chain.from_iterable(map(texts, data.values() if isinstance(data, dict) else data))


def commands(name: str, program: str) -> list[str]:
    lines = FILES[name].splitlines() if name.endswith(".sh") else list(texts(parsed(name)))
    return [line.removesuffix(" || status=1") for line in lines if line.startswith(program)]


def filled(command: str, number: int, count: int) -> list[str]:
    """A command as its machine's shell gets it."""
    variables = {"CI_NODE_INDEX": number, "CI_NODE_TOTAL": count, "SLURM_ARRAY_TASK_ID": number}
    text = re.sub(r"\$\{\{ .*? \}\}", str(number), command)
    return shlex.split(Template(text).substitute(variables, CI_PIPELINE_ID=1, SLURM_JOB_ID=1))


def test_all_files_are_there() -> None:
    assert set(FILES) == {GITHUB, GITLAB, SHARDS, MERGE}


def counted(name: str) -> int:
    """How many machines a file asks for."""
    if name == GITHUB:
        matrix = parsed(name)["jobs"]["shard"]["strategy"]["matrix"]["shard"]
        assert matrix == list(range(1, len(matrix) + 1))
        return len(matrix)
    if name == GITLAB:
        return int(parsed(name)["shard"]["parallel"])
    return int(re.findall(r"^#SBATCH --array=1-(\d+)$", FILES[name], flags=re.MULTILINE)[0])


@pytest.mark.parametrize("name", [GITHUB, GITLAB, SHARDS])
def test_the_machines_together_have_each_case_once(project: Project, name: str) -> None:
    (command,) = commands(name, "python -m pytest")
    project.path.joinpath("test_transfer.py").write_text(TRANSFER)
    found: list[str] = []
    count = counted(name)
    for number in range(1, count + 1):
        program, module, runner, tests, *options = filled(command, number, count)
        assert (program, module, runner) == ("python", "-m", "pytest") and tests in ("test_transfer.py", "benchmarks")
        result = project.run("test_transfer.py", *options, "--collect-only", "-q")
        assert result.ret == 0
        found += [line for line in result.outlines if line.startswith("test_transfer.py::")]
    rest = [option for option in options if not option.startswith(("--sslbench-shard", "--sslbench-results"))]
    whole = project.run("test_transfer.py", *rest, "--collect-only", "-q").outlines
    assert sorted(found) == sorted(line for line in whole if line.startswith("test_transfer.py::")) and found


@pytest.mark.parametrize("name", [GITHUB, GITLAB, MERGE])
def test_the_commands_after_them_exist(name: str) -> None:
    given = [filled(command, 1, 1) for command in commands(name, "sslbench ")]
    assert [words[1] for words in given] == ["merge", *(["compare"] if name != MERGE else []), "history"]
    for _, *words in given:
        assert callable(_parser().parse_args(words).command)


def test_the_jobs_hand_on_what_the_next_one_reads() -> None:
    jobs = parsed(GITHUB)["jobs"]
    assert jobs["merge"]["needs"] == "shard"
    upload = next(step for step in jobs["shard"]["steps"] if "upload-artifact" in step.get("uses", ""))
    download = next(step for step in jobs["merge"]["steps"] if "download-artifact" in step.get("uses", ""))
    assert upload["with"]["name"].startswith("shard-") and download["with"]["pattern"] == "shard-*"
    assert commands(GITHUB, "sslbench merge")[0].split()[2] == download["with"]["path"]
    pages = parsed(GITLAB)
    assert [pages[job]["stage"] for job in ("shard", "merge")] == pages["stages"]
    assert commands(GITLAB, "sslbench merge")[0].split()[2] in pages["shard"]["artifacts"]["paths"]


def test_the_scripts_are_bash(tmp_path: Path) -> None:
    import shutil
    import subprocess

    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    for name in (SHARDS, MERGE):
        (tmp_path / name).write_text(FILES[name])
        assert FILES[name].startswith("#!/bin/bash\n#SBATCH ")
        assert subprocess.run([bash, "-n", str(tmp_path / name)], capture_output=True).returncode == 0
