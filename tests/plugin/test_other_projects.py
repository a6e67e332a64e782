"""A project that has nothing to do with sslbench runs as if the plugin were not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import WITHOUT

INI = """
[pytest]
markers =
    gpu: draws on the graphics card of the games console
    slow: more than a second
"""

CONFTEST = """
import pytest

def pytest_collection_modifyitems(items):
    items.reverse()

@pytest.fixture(params=["pixels-digits", "zoo:simclr-world-shape", "tiny"])
def sprite(request):
    return request.param
"""

# Names that sslbench's markers and cases have too.
TESTS = """
import os
import sys
import pytest

@pytest.mark.gpu
@pytest.mark.slow
def test_draws(): pass

@pytest.mark.parametrize("colour", ["pixels-digits", "pixels-knn-digits", "red"])
def test_knn(colour, sprite): assert colour != "red", sprite

class TestConsole:
    @pytest.mark.skip(reason="no console")
    def test_skipped(self): pass

    @pytest.mark.xfail(raises=KeyError)
    def test_expected(self): {}["x"]

    def test_raises(self): raise ValueError("as it is")

def test_surroundings():
    assert "HF_HUB_OFFLINE" not in os.environ
    assert not {"torch", "timm", "pandas", "sklearn"} & set(sys.modules)

def test_fast(benchmark):
    benchmark.group = "sums"
    benchmark.pedantic(sum, ([1, 2],), rounds=2)
"""

UNDECLARED = "import pytest\n@pytest.mark.download\ndef test_it(): pass\n@pytest.mark.dense\ndef test_other(): pass"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_console.py").write_text(TESTS)
    return tmp_path


def run(other: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> tuple[int, list[str], set[str]]:
    """Exit status, what was printed without what differs from run to run, and the files there are afterwards."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SSLBENCH", "HF_", "PYTEST_"))
    }
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [*prefix, sys.executable, "-m", "pytest", *WITHOUT, *arguments]
    done = subprocess.run(command, cwd=other, env=environment, capture_output=True, text=True)
    text = f"{done.stdout}\n{done.stderr}"
    text = re.sub(r"sslbench-[\d.]+, |, sslbench-[\d.]+", "", text)
    text = re.sub(r"\d+(\.\d+)?( ?s| seconds)\b|\(0:00:\d\d\)|gw\d|\[ *\d+%\]|0x[0-9a-f]+|={2,}", "#", text)
    # pytest-benchmark's numbers, and where workers print first.
    lines = [line for line in text.splitlines() if not line.startswith(("test_fast", "Name (time in", "---"))]
    if "-n" in arguments:
        lines = sorted(re.sub(r"^[.FEsx]+(?=[ #]|$)", "", line) for line in lines)
    return done.returncode, lines, {str(path.relative_to(other)) for path in other.rglob("*")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-v"],
        ["-q", "--strict-markers", "--strict-config", "-W", "error"],
        ["-q", "-rA", "-m", "gpu and slow"],
        ["-n", "2", "-v"],
        ["-n", "2", "--strict-markers", "-k", "knn or draws"],
        ["--benchmark-only"],
        ["--collect-only", "-q"],
    ],
    ids=" ".join,
)
def test_outcomes_and_output_are_the_same(other: Path, arguments: list[str]) -> None:
    if "-n" in arguments:
        pytest.importorskip("xdist")
    without = run(other, "-p", "no:sslbench", *arguments)
    assert run(other, *arguments) == without
    assert without[0] in (0, 1)


@pytest.mark.parametrize("arguments", [["--strict-markers"], [], ["-W", "error"]], ids=" ".join)
def test_markers_that_the_project_has_not_declared_stay_unknown(other: Path, arguments: list[str]) -> None:
    (other / "test_console.py").write_text(UNDECLARED)
    without = run(other, "-p", "no:sslbench", "-q", *arguments)
    assert run(other, "-q", *arguments) == without
    assert "download" in "\n".join(without[1])
    assert without[0] == (2 if arguments else 0)


def test_a_user_without_a_home_directory(other: Path) -> None:
    prefix = ("unshare", "-U", "--map-user=12345", "--map-group=12345", "env", "-u", "HOME", "-u", "XDG_CACHE_HOME")
    if sys.platform != "linux" or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    without = run(other, "-p", "no:sslbench", "-q", prefix=prefix)
    assert run(other, "-q", prefix=prefix) == without
    assert without[0] == 1


def test_an_ini_file_that_sslbench_cannot_use_matters_to_cases_only(other: Path) -> None:
    lines = [
        "dtype = float8",
        "backbones = nobody",
        "tasks = nothing*",
        "suite = lost",
        "decoded = much",
        "device = tpu",
    ]
    lines += [
        "offline = true",
        "compat = x",
        "baseline = lost.json",
        "save_baseline = new.json",
        "results = r",
        "cache = c",
    ]
    (other / "pytest.ini").write_text(INI + "".join(f"sslbench_{line}\n" for line in lines))
    for arguments in (["-q", "-k", "not red and not raises"], ["-n", "2", "-k", "draws"]):
        status, printed, files = run(other, *arguments)
        assert status == 0, printed
        # The environment may lie in a folder of that name.
        told = [line.replace(sys.prefix, "") for line in printed if not line.startswith("rootdir")]
        assert not [line for line in told if "sslbench" in line]
        assert files - {".benchmarks"} == {"pytest.ini", "conftest.py", "test_console.py"}
    (other / "test_case.py").write_text(
        'import pytest\n@pytest.mark.sslbench(protocol="knn")\ndef test_knn(sslbench_record): pass\n'
    )
    status, printed, files = run(other)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "sslbench_dtype in the ini file: expected float32, bfloat16 or float16, got 'float8'" in "\n".join(printed)


def test_a_failing_test_beside_cases_keeps_its_traceback(project) -> None:
    project.tests(
        """
import pytest

def test_raises(): raise ValueError("as it is")

@pytest.mark.gpu
def test_draws(): pass

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record): pass
"""
    )
    result = project.run("--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair", "--sslbench-device=cpu")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([">   def test_raises(): raise ValueError*", "test_bench.py:4: ValueError"])


def test_another_plugins_scheduler_is_left_alone(project) -> None:
    pytest.importorskip("xdist")
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(
        text
        + """
from xdist.scheduler import LoadScheduling

class Mine(LoadScheduling): pass

def pytest_xdist_make_scheduler(config, log): return Mine(config, log)
"""
    )
    chosen = ("--sslbench-backbones=tiny,blurred", "--sslbench-tasks=knn/pair")
    # Two backbones are enough for one worker, so that sslbench would exchange the scheduler.
    result = project.run("-n", "1", "-v", *chosen)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["scheduling tests via Mine"])
