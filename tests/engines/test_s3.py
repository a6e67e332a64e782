"""An S3 server on this machine: what its driver does, and what is said of credentials and buckets."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

moto = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

import aiohttp  # noqa: E402
import boto3  # noqa: E402
import s3fs  # noqa: E402
from fsspec.config import conf, set_conf_env  # noqa: E402

from sslbench.cli import main  # noqa: E402
from sslbench.engine.claim import claim  # noqa: E402
from sslbench.errors import EngineError, StoreError  # noqa: E402
from sslbench.features.cache import FeatureCache  # noqa: E402
from sslbench.results.shared_run import run_at  # noqa: E402
from sslbench.store import drivers, lease  # noqa: E402
from sslbench.store import store as store_module  # noqa: E402
from sslbench.store.drivers import Objects, open_driver  # noqa: E402
from sslbench.store.lease import Lease  # noqa: E402
from sslbench.store.shared import shared_files  # noqa: E402
from sslbench.store.store import Store  # noqa: E402
from tests.results.conftest import build  # noqa: E402


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def credentials(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a user sets them, and nothing else that the driver may find on this machine."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    s3fs.S3FileSystem.clear_instance_cache()
    shared_files.cache_clear()


@pytest.fixture
def store(server: str, credentials: None) -> Store:
    boto3.client("s3", endpoint_url=server).create_bucket(Bucket="bucket")
    for item in boto3.resource("s3", endpoint_url=server).Bucket("bucket").objects.all():
        item.delete()
    return Store("s3://bucket/some/prefix")


def test_objects_come_back_and_versions_show_that_they_changed(store: Store, tmp_path: Path) -> None:
    path, into = tmp_path / "path", tmp_path / "into"
    # More than one part of what is fetched.
    path.write_bytes(np.random.default_rng(0).bytes(60 << 20))
    assert not store.get("features/one", into) and store.names() == {}
    store.put(path, "features/one")
    assert store.get("features/one", into) and into.read_bytes() == path.read_bytes()
    store.write("small", b"1")
    before = store.names()
    assert before.keys() == {"features/one", "small"} and store.names() == before
    store.write("small", b"2")
    assert store.names()["small"] != before["small"] and store.read("small") == b"2"
    assert store.names("features/").keys() == {"features/one"}
    store.delete("features/one")
    store.delete("features/one")
    assert store.size("features/one") is None and store.size("small") == 1


def test_of_many_who_create_an_object_one_has_it(store: Store) -> None:
    ready = threading.Barrier(6)

    def create(number: int) -> bool:
        ready.wait(120)
        return Store(store.url).create("one", str(number).encode())

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(create, range(6)))
    assert sum(won) == 1 and store.read("one") == str(won.index(True)).encode()
    assert not store.create("one", b"late")


def test_what_the_other_process_wrote_is_seen(store: Store, server: str) -> None:
    assert store.names() == {} and store.size("one") is None
    boto3.client("s3", endpoint_url=server).put_object(Bucket="bucket", Key="some/prefix/one", Body=b"data")
    assert store.names().keys() == {"one"} and store.size("one") == 4


def test_a_check_leaves_nothing(store: Store) -> None:
    store.check()
    assert store.names() == {}


@pytest.mark.parametrize("case", ["bucket", "credentials", "nobody", "refused"])
def test_what_cannot_be_used_is_one_clear_error(
    store: Store, monkeypatch: pytest.MonkeyPatch, case: str, server: str
) -> None:
    monkeypatch.setattr(store_module, "WAITS", (0.0, 0.0, 0.0))
    url, told = store.url, ""
    if case == "bucket":
        url, told = "s3://no-such-bucket/prefix", "FileNotFoundError.*whether its bucket exists"
    elif case == "credentials":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        told = "credentials"
    elif case == "nobody":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        told = "could not write .*127.0.0.1:9"
    else:
        monkeypatch.setattr(s3fs.S3FileSystem, "_pipe_file", _refused)
        told = "PermissionError: Access Denied"
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=told) as error:
        Store(url).check()
    assert "\n" not in str(error.value) and len(str(error.value)) < 900


@pytest.mark.parametrize("protocol", ["s3", "gs"])
def test_a_check_does_not_multiply_the_drivers_tries_with_its_own(
    credentials: None, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    pytest.importorskip({"s3": "s3fs", "gs": "gcsfs"}[protocol])
    calls = []

    async def refused(*_args: Any, **_options: Any) -> None:
        calls.append(1)
        raise aiohttp.ClientConnectionError("nobody is there")

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", refused)
    monkeypatch.setattr(store_module, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(store_module, "_BRIEF", 600.0)
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    # Google's driver asks others first: for credentials, and by another library what kind of bucket this is.
    configure(monkeypatch, "FSSPEC_GS_TOKEN", "anon")
    monkeypatch.setattr(drivers, "_CONNECT_SECONDS", 0.1)
    with pytest.raises(StoreError, match="Expected a store that can be written and read"):
        Store(f"{protocol}://bucket/prefix").check()
    assert len(calls) == 4


def configure(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A setting of fsspec's, which it reads when it is imported."""
    monkeypatch.setenv(name, value)
    configured: dict[str, Any] = {}
    set_conf_env(configured)
    for protocol, options in configured.items():
        monkeypatch.setitem(conf, protocol, options)


def test_a_check_of_s3_has_the_settings_that_fsspec_has(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "FSSPEC_S3_CONFIG_KWARGS", '{"s3": {"addressing_style": "path"}, "connect_timeout": 50}')
    made: list[dict[str, Any]] = []
    config = s3fs.core.AioConfig
    monkeypatch.setattr(s3fs.core, "AioConfig", lambda **options: (made.append(options), config(**options))[1])
    store.check()
    assert [(options["s3"], options["connect_timeout"]) for options in made] == [({"addressing_style": "path"}, 3)]


@pytest.mark.parametrize("alias", ["GS", "GCS"])
def test_a_check_of_google_s_has_the_settings_that_fsspec_has(monkeypatch: pytest.MonkeyPatch, alias: str) -> None:
    pytest.importorskip("gcsfs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    configure(monkeypatch, f"FSSPEC_{alias}_SESSION_KWARGS", '{"trust_env": true}')
    # Only a configuration in Python can have one.
    mine = aiohttp.TraceConfig()
    conf[alias.lower()]["session_kwargs"]["trace_configs"] = [mine]
    driver, _ = open_driver("gs://bucket/prefix", brief=True)
    assert isinstance(driver, Objects)
    options = driver._system.session_kwargs
    assert options["trust_env"] and options["trace_configs"][0] is mine and len(options["trace_configs"]) == 2


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("bucket", "no run at s3://no-such-bucket/results/night; .*whether the bucket exists"),
        (
            "credentials",
            "s3://bucket/results/night: could not list records/: NoCredentials.*credentials that its driver",
        ),
        ("nobody", r"could not list records/: .*127\.0\.0\.1:9.*look at the URL"),
    ],
)
def test_a_run_that_cannot_be_read_is_one_clear_error(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    case: str,
    told: str,
) -> None:
    monkeypatch.setattr(store_module, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / "cache"))
    if case == "credentials":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    elif case == "nobody":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = "no-such-bucket" if case == "bucket" else "bucket"
    assert main(["history", f"s3://{bucket}/results/night"]) == 2
    err = capsys.readouterr().err
    assert re.search(told, err) and err.count("\n") == 1 and not (tmp_path / "cache").exists()


def test_a_run_is_read_and_merged_from_s3(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / "cache"))
    shared = run_at(tmp_path / "night", store.url)
    record = build("net", "knn/digits", correct=[True, False])
    shared.write(replace(record, samples=shared.write_samples(record.case, {"x": np.arange(3)})))
    shared.push(record)
    assert main(["merge", f"{store.url}/night", "--into", f"{store.url}/all/embedded"]) == 0
    assert main(["compare", f"{store.url}/night", f"{store.url}/all/embedded"]) == 0
    assert sum(name.startswith("all/embedded/samples/") for name in store.names()) == 1


async def _refused(*_args: Any, **_options: Any) -> None:
    raise PermissionError("Access Denied")


def test_features_go_from_machine_to_machine(store: Store, tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"x": np.arange(6.0), "rows": np.arange(6)}

    found = [FeatureCache(tmp_path / name, store.url).get({"backbone": "a"}, compute)[0] for name in "ab"]
    assert len(calls) == 1
    np.testing.assert_array_equal(found[0]["x"], found[1]["x"])
    assert [name.partition("/")[0] for name in store.names()] == ["features"]


def test_two_controllers_on_one_url(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    with claim(store), pytest.raises(EngineError, match=f"the run {store.url} is held by process"), claim(store):
        raise AssertionError("claimed")
    with claim(store):
        pass


def test_a_dead_holders_lease_is_taken_over_by_one(store: Store) -> None:
    now = [0.0]
    dead = Lease(store, "leases/x", beat=1e6)
    waiters = [Lease(store, "leases/x", beat=1e6, dead=5, clock=lambda: now[0]) for _ in range(4)]
    assert dead.take() and not any(waiter.take() for waiter in waiters)
    now[0] = 6.0
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda waiter: waiter.take(), waiters)) == 1
