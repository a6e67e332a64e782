"""Settings: what each may be, and directories that are looked for when they are needed."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sslbench
from sslbench.config import CHOICES, Settings, default_cache_dir
from sslbench.errors import DeviceError, SettingsError, SslbenchError, UnknownNameError


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (
            {"check_data": "Strict"},
            SettingsError,
            "check_data: expected strict or loose, got 'Strict'; did you mean 'strict'",
        ),
        ({"extraction": "Fast"}, SettingsError, "extraction: expected fast or exact, got 'Fast'; did you mean 'fast'?"),
        ({"dtype": "half"}, SettingsError, "dtype: expected float32, bfloat16 or float16, got 'half'$"),
        ({"stored": None}, SettingsError, "stored: expected float32 or float16, got None"),
        ({"bad_images": "skipp"}, SettingsError, "did you mean 'skip'"),
        ({"decoded_gib": -1}, SettingsError, "decoded_gib: expected a number of at least 0, got -1"),
        ({"decoded_gib": float("nan")}, SettingsError, "at least 0, got nan"),
        ({"decoded_gib": "16"}, SettingsError, "at least 0, got '16'"),
        ({"batch_size": 0}, SettingsError, "batch_size: expected a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, SettingsError, "got 2.5"),
        ({"batch_size": True}, SettingsError, "got True"),
        ({"device": "gpu"}, DeviceError, "unknown device 'gpu'; expected auto, cpu, cuda or cuda:N$"),
        ({"device": "CUDA"}, DeviceError, "did you mean 'cuda'"),
        ({"device": "cuda:one"}, DeviceError, "unknown device 'cuda:one'"),
        ({"compat": {"linear-solvr": "path"}}, UnknownNameError, "nearest: linear-solver"),
        ({"compat": {"linear-solver": "newton"}}, SslbenchError, "expected path or sklearn, got 'newton'"),
        ({"compat": "linear-solver=path"}, SettingsError, "compat: expected a mapping"),
        ({"offline": "yes"}, SettingsError, "offline: expected True or False, got 'yes'"),
        ({"cache_dir": None}, SettingsError, "cache_dir: expected a directory, got None"),
        ({"data_dir": ""}, SettingsError, "data_dir: expected a directory, got ''"),
        ({"results_dir": 3}, SettingsError, "results_dir: expected a directory, got 3"),
    ],
)
def test_what_cannot_be_used_is_refused(given: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Settings(**given)


def test_every_choice_is_taken() -> None:
    for name, choices in CHOICES.items():
        for choice in choices:
            assert getattr(Settings(**{name: choice}), name) == choice
        assert getattr(Settings(), name) == choices[0]
    assert Settings(batch_size=np.int64(3), decoded_gib=0, device="cuda:1").batch_size == 3


def test_text_is_a_directory_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(cache_dir=str(tmp_path / "c"), data_dir="~/d", results_dir=Path("~") / "r")
    assert settings.cache_dir == tmp_path / "c"
    assert settings.data_dir == tmp_path / "d"
    assert settings.results_dir == tmp_path / "r"
    changed = dataclasses.replace(settings, device="cpu")
    assert (changed.cache_dir, changed.device) == (settings.cache_dir, "cpu")
    assert dataclasses.replace(changed, device="auto") == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.cache_dir = tmp_path  # type: ignore[misc]
    frame = sslbench.evaluate("pixels", "knn/digits", settings=Settings(cache_dir=str(tmp_path / "c"), device="cpu"))
    assert len(frame) == 1
    assert (tmp_path / "c/features").is_dir()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user id without an entry in passwd."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    def expanduser(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    for name in ("SSLBENCH_CACHE", "SSLBENCH_DATA", "SSLBENCH_RESULTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr(Path, "expanduser", expanduser)


@pytest.mark.usefixtures("homeless")
def test_a_home_directory_is_needed_by_whoever_opens_the_cache_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = Settings()
    assert settings.data_dir == Path("data")
    assert sslbench.load_dataset("digits").classes
    assert sslbench.load_backbone("pixels").name == "pixels"
    for needs in (lambda: settings.cache_dir, default_cache_dir, lambda: sslbench.evaluate("pixels", "knn/digits")):
        with pytest.raises(SettingsError, match=r"no home directory to keep features in; choose .* SSLBENCH_CACHE"):
            needs()
    with pytest.raises(SettingsError, match="write the path without ~"):
        Settings(cache_dir="~/cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "sslbench"
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "own"))
    assert Settings().cache_dir == tmp_path / "own"


@pytest.mark.skipif(sys.platform != "linux", reason="needs user namespaces")
def test_commands_of_a_user_without_an_entry_in_passwd(tmp_path: Path) -> None:
    """For the real thing: `docker run --user 12345`."""
    asked = ["unshare", "-U", "--map-user=12345", "--map-group=12345", "env", "-u", "HOME", "-u", "XDG_CACHE_HOME"]
    if subprocess.run([*asked, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSLBENCH_")}

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*asked, sys.executable, *command],
            cwd=tmp_path, env={**environment, "PYTHONDONTWRITEBYTECODE": "1", **variables}, capture_output=True, text=True,
        )  # fmt: skip

    assert run("-m", "sslbench", "list", "suites").returncode == 0
    assert run("-m", "sslbench", "--help").returncode == 0
    refused = run("-m", "sslbench", "cache", "ls")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "sslbench: this user has no home directory to keep features in" in refused.stderr
    assert "PROBLEM: this user has no home directory" in run("-m", "sslbench", "doctor").stdout
    assert run("-m", "sslbench", "cache", "ls", SSLBENCH_CACHE=str(tmp_path)).returncode == 0


def test_a_url_in_the_place_of_a_directory_is_shared_behind_a_local_one(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path))
    settings = Settings(cache_dir="s3://bucket/cache/", results_dir="gs://bucket/results")
    assert (settings.shared_cache, settings.cache_dir) == ("s3://bucket/cache", tmp_path)
    assert settings.shared_results == "gs://bucket/results"
    assert settings.results_dir.parent == tmp_path / "results"
    assert Settings(results_dir="gs://bucket/other").results_dir != settings.results_dir
    assert pickle.loads(pickle.dumps(settings)) == settings
    other = dataclasses.replace(settings, cache_dir=tmp_path / "other")
    assert (other.shared_cache, other.cache_dir) == ("s3://bucket/cache", tmp_path / "other")
    assert dataclasses.replace(settings, batch_size=3).shared_results == settings.shared_results


def test_the_environments_url_gives_way_to_a_directory_that_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path))
    monkeypatch.setenv("SSLBENCH_CACHE", "s3://bucket/cache")
    assert Settings().shared_cache == "s3://bucket/cache" and default_cache_dir() == tmp_path
    assert Settings(cache_dir="mine").shared_cache == ""


@pytest.mark.parametrize(
    "given",
    [{"data_dir": "s3://bucket"}, {"cache_dir": Path("s3://bucket")}, {"shared_cache": "folder"}],
)
def test_a_url_that_is_none_or_has_no_place_there_is_refused(given):
    with pytest.raises(SettingsError, match=r"expected a (directory here; a )?URL"):
        Settings(**given)
