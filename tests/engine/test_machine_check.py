from __future__ import annotations

import os
import pickle
import platform
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

import sslbench
from sslbench.config import Settings
from sslbench.engine import machine_check as module
from sslbench.engine.machine_check import MachineCheck, source_digest
from sslbench.environment import package_versions
from sslbench.errors import DeviceError, EngineError, StoreError

HOST = platform.node()


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been looked at yet, and nobody waits for what does not come."""
    monkeypatch.setattr(module, "_checked", {})
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.0)


def check(tmp_path: Path, **options: object) -> MachineCheck:
    settings = Settings(cache_dir=tmp_path / "cache", device=str(options.pop("device", "cpu")))
    return MachineCheck.of(settings, tmp_path / "results" / "suite", **options)  # type: ignore[arg-type]


def files(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path).parent) for path in tmp_path.rglob(".sslbench-machine-check-*"))


def test_the_same_machine_has_no_problem_and_its_files_go_at_the_end(tmp_path):
    with check(tmp_path) as made:
        assert files(tmp_path) == ["cache", "results/suite"]
        travelled = pickle.loads(pickle.dumps(made))
        assert travelled == made
        assert travelled.problems() == []
        assert files(tmp_path) == ["cache", "results/suite"]
    assert files(tmp_path) == []
    made.close()
    # Looked at once a process.
    assert travelled.problems() == []


def test_another_process_of_this_machine_has_no_problem(tmp_path):
    with check(tmp_path) as made:
        code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).problems(), 'torch' in sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", code, pickle.dumps(made).hex()],
            env=os.environ | {"PYTHONPATH": str(Path(sslbench.__file__).parents[1])},
            capture_output=True,
            text=True,
        )
    assert run.stdout.split("\n")[0] == "[] False", run.stderr


def test_versions_that_can_change_a_score_are_compared(tmp_path, monkeypatch):
    with check(tmp_path) as made, check(tmp_path, versions="any") as lenient:
        found = package_versions()
        other = found | {"torch": "1.0", "timm": "not installed", "pytest": "7.0"}
        monkeypatch.setattr(module, "package_versions", lambda: other)
        advice = "install the same, or --sslbench-engine-options=versions=any"
        assert sorted(made.problems()) == [
            f"timm {found['timm']} where pytest was started, not installed on {HOST}: {advice}",
            f"torch {found['torch'].partition('+')[0]} where pytest was started, 1.0 on {HOST}: {advice}",
        ]
        assert lenient.problems() == []


def test_builds_of_a_version_and_patches_of_python_are_one(tmp_path, monkeypatch):
    with check(tmp_path) as made:
        found = package_versions()
        built = found | {"torch": found["torch"].partition("+")[0] + "+another"}
        monkeypatch.setattr(module, "package_versions", lambda: built)
        assert dict(made.versions)["Python"] == ".".join(map(str, sys.version_info[:2]))
        assert made.problems() == []
        older = replace(made, versions=tuple((dict(made.versions) | {"Python": "3.0"}).items()))
        here = ".".join(map(str, sys.version_info[:2]))
        (told,) = older.problems()
        assert told.startswith(f"Python 3.0 where pytest was started, {here} on {HOST}: install the same")


def test_another_commit_of_the_same_version_is_told(tmp_path):
    with check(tmp_path) as made:
        assert made.source == source_digest()
        other = replace(made, source="0" * 64)
        assert other.problems() == [
            f"sslbench {package_versions()['sslbench']} is other code on {HOST} than where pytest was started: install the same "
            "commit, or --sslbench-engine-options=versions=any"
        ]
        assert replace(other, versions=()).problems() == []


def test_the_digest_of_the_code_follows_names_and_contents(tmp_path, monkeypatch):
    package = tmp_path / "sslbench"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "one.py").write_text("1")
    monkeypatch.setattr(module, "PACKAGE", package)
    digests = []
    for change in (
        lambda: None,
        lambda: (package / "inner" / "one.py").write_text("2"),
        lambda: (package / "inner" / "one.py").rename(package / "inner" / "two.py"),
        lambda: (package / "data.txt").write_text("no code"),
    ):
        change()
        digests.append(source_digest.__wrapped__())
    assert len(set(digests)) == 3 and digests[2] == digests[3]


@pytest.mark.parametrize("folder", ["cache", "results/suite"])
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_of_its_own_is_not_the_shared_one(tmp_path, folder, there):
    with check(tmp_path) as made:
        shutil.rmtree(tmp_path / folder)
        if there:
            (tmp_path / folder).mkdir()
        name, option = {
            "cache": ("the cache directory", "--sslbench-cache=DIR"),
            "results/suite": ("the results directory", "--sslbench-results=DIR"),
        }[folder]
        assert made.problems() == [
            f"{name} {tmp_path / folder} is not the same on {HOST}: put it on a shared disk ({option}), name an object store by "
            "URL, or say --sslbench-engine-options=shared=no: then outcomes travel by value and each machine keeps its own cache"
        ]
        assert (tmp_path / folder).exists() == there


def test_a_file_that_comes_late_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WAIT_SECONDS", 60.0)
    with check(tmp_path) as made:
        aside = [path.rename(tmp_path / path.name) for path in (tmp_path / "cache").glob(".sslbench*")]
        naps = []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                aside[0].rename(tmp_path / "cache" / aside[0].name)

        monkeypatch.setattr(module.time, "sleep", sleep)
        assert made.problems() == []
        assert len(naps) == 3


def test_without_a_shared_disk_each_machine_has_its_own_cache_and_no_results(tmp_path):
    made = check(tmp_path, shared=False)
    assert made.clock is None
    assert not (tmp_path / "results").exists() and not (tmp_path / "cache").exists()
    assert made.problems() == []
    assert (tmp_path / "cache").is_dir() and not (tmp_path / "results").exists()


def test_behind_a_url_each_machine_has_its_own_cache(tmp_path, monkeypatch):
    from sslbench.store import shared

    checked = []

    class Files:
        def __init__(self, url: str) -> None:
            self.url = url

        def check(self) -> None:
            checked.append(self.url)
            if len(checked) > 1:
                raise StoreError(f"{self.url}: no credentials")

    monkeypatch.setattr(shared, "shared_files", Files)
    settings = Settings(cache_dir=tmp_path / "cache", shared_cache="s3://bucket/cache")
    with MachineCheck.of(settings, tmp_path / "results" / "suite") as made:
        assert files(tmp_path) == ["results/suite"]
        assert made.clock is not None
        assert made.problems() == made.problems() == []
    made = MachineCheck.of(settings, None)
    assert made.clock is None and files(tmp_path) == []
    assert made.problems() == [f"{HOST}: s3://bucket/cache: no credentials"]
    assert checked == ["s3://bucket/cache"] * 2
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file")
    (told, _) = replace(made, device="cpu").problems()
    assert told.endswith("Make it writable there, or choose another with SSLBENCH_LOCAL_CACHE")


def test_records_that_travel_by_value_need_no_folder(tmp_path):
    with MachineCheck.of(Settings(cache_dir=tmp_path / "cache"), None) as made:
        assert files(tmp_path) == ["cache"]
        assert made.problems() == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    with check(tmp_path) as made:

        def refused(*, dir: Path) -> None:
            if dir == tmp_path / "cache":
                raise PermissionError(13, "Permission denied", str(dir))
            raise OSError(122, "Disk quota exceeded", str(dir))

        monkeypatch.setattr(module.tempfile, "TemporaryFile", refused)
        assert made.problems() == [
            f"the cache directory {tmp_path}/cache cannot be written on {HOST}: Permission denied. Make it writable there, "
            "or choose another with --sslbench-cache=DIR",
            f"the results directory {tmp_path}/results/suite cannot be written on {HOST}: Disk quota exceeded. Make it writable "
            "there, or choose another with --sslbench-results=DIR",
        ]


def test_a_cache_that_cannot_be_made_on_its_machine_is_told(tmp_path):
    made = check(tmp_path, shared=False)
    (tmp_path / "cache").write_text("a file")
    (told,) = made.problems()
    assert told.startswith(f"the cache directory {tmp_path}/cache cannot be written on {HOST}: ")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    made = check(tmp_path, shared=False)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(2**40, 2**40, 3 * 2**20))
    assert made.problems() == [
        f"the cache directory {tmp_path}/cache has 3 MiB left on {HOST}, less than 64: make room there, or choose another with "
        "--sslbench-cache=DIR"
    ]


@pytest.mark.parametrize(("skew", "which"), [(75, "ahead of"), (-75, "behind")])
def test_a_clock_that_is_wrong_is_told(tmp_path, monkeypatch, skew, which):
    with check(tmp_path) as made:
        # Files bear the clock of the disk, which stays right.
        now = time.time
        monkeypatch.setattr(module.time, "time", lambda: now() + skew)
        (told,) = made.problems()
        assert told == (
            f"the clock of {HOST} is 75 s {which} the one where pytest was started: locks and leftovers are judged by their "
            "age; set it right (NTP)"
        )


def test_a_clock_is_compared_with_the_disk_too(tmp_path, monkeypatch):
    now = time.time
    monkeypatch.setattr(module.time, "time", lambda: now() + 75)
    with check(tmp_path) as made:
        assert made.clock == pytest.approx(75, abs=5)
        (told,) = made.problems()
        assert told.startswith(f"the clock of {HOST} is 75 s ahead of the one of the disk with {tmp_path}/cache: ")
        monkeypatch.setattr(module.time, "time", lambda: now() + 30)
        assert replace(made, device="auto").problems() == []


def test_a_named_gpu_that_is_not_there_is_told(tmp_path, monkeypatch):
    from sslbench.features import device

    def none(name: str) -> str:
        raise DeviceError(f"device {name} was asked for but cannot be used: no GPU")

    monkeypatch.setattr(device, "resolve_device", none)
    advice = "; a job sees its own GPUs alone, which `cuda` means"
    for name, more in (("cuda", ""), ("cuda:1", advice)):
        made = check(tmp_path, shared=False, device=name)
        said = (
            f"cases take GPUs, as the engine has some, and here device {name} was asked for but cannot be used: no GPU"
        )
        assert made.problems() == [f"{HOST}: {said}{more}"]
    assert check(tmp_path, shared=False, device="auto").problems() == []


def test_a_folder_that_the_controller_cannot_write_ends_it_and_leaves_nothing(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(EngineError, match=r"results/suite cannot be written here: "):
        check(tmp_path)
    assert files(tmp_path) == []


def test_files_of_killed_controllers_go_after_a_month(tmp_path):
    with check(tmp_path):
        (old,) = (tmp_path / "cache").glob(".sslbench*")
        with check(tmp_path):
            assert len(files(tmp_path)) == 4
        month = time.time() - 31 * 24 * 3600
        os.utime(old, (month, month))
        with check(tmp_path):
            assert files(tmp_path).count("cache") == 1
