"""The engine `ray` where machines, the head or the session go, or are not there to begin with."""

from __future__ import annotations

import builtins
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from sslbench.engine import ray_connection  # noqa: E402
from sslbench.engine.base import Job, Needs  # noqa: E402
from sslbench.engine.engines import ray as engine_ray  # noqa: E402
from sslbench.errors import EngineError  # noqa: E402
from tests.engines import jobs  # noqa: E402
from tests.engines.clusters import ROOT, SMALL, drain, make_cluster, start  # noqa: E402
from tests.engines.processes import alive, wait_until  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    cluster = make_cluster(2)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def pid_of(path: Path) -> int:
    wait_until(lambda: path.is_file() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_a_machine_that_goes_while_jobs_run_on_it(cluster: Any, tmp_path: Path) -> None:
    machine = cluster.add_node(num_cpus=2, **SMALL)
    engine = start(tmp_path, address=cluster.address)
    try:
        place = next(place for place in engine.places() if place.endswith(machine.node_id[:8]))
        for number in range(2):
            engine.submit(Job(f"there {number}", jobs.sleep, 60.0, near=place, only=True))
        engine.submit(Job("waits", jobs.echo, 1, near=place, only=True))
        wait_until(lambda: engine.running() == 2)
        engine.submit(Job("elsewhere", jobs.sleep, 2.0))
        cluster.remove_node(machine, allow_graceful=False)
        ended = drain(engine, 4)
        assert ended["elsewhere"].loss is None
        for name in ("there 0", "there 1", "waits"):
            loss = ended[name].loss
            assert loss is not None and loss.cause == "machine", name
        assert ended["there 0"].place == place
        assert place not in engine.places()
        # What would have liked to be there is run where it can be.
        engine.submit(Job("near", jobs.echo, 2, near=place))
        assert drain(engine, 1)["near"].answer == 2
    finally:
        engine.close()


def test_each_job_with_a_gpu_has_a_process_of_its_own(cluster: Any, tmp_path: Path) -> None:
    """Ray would give the process of GPU 0 another job on GPU 1. It takes our word for the number of GPUs."""
    machine = cluster.add_node(num_cpus=2, num_gpus=2, **SMALL)
    engine = start(tmp_path, address=cluster.address)
    try:
        assert engine.has_gpus
        engine.check([Needs(gpus=2), Needs(gpus=0.25)])
        with pytest.raises(EngineError, match=r"3 GPUs, 1 cores; it has .*: 2 GPUs, 2 cores"):
            engine.check([Needs(gpus=3)])
        for number in range(4):
            engine.submit(Job(f"{number}", jobs.gpus, None, Needs(gpus=0.5)))
        ended = drain(engine, 4)
        assert {one.answer[0] for one in ended.values()} <= {"0", "1"}
        assert len({one.answer[1] for one in ended.values()}) == 4
        place = next(place for place in engine.places() if place.endswith(machine.node_id[:8]))
        assert {one.place for one in ended.values()} == {place}
    finally:
        engine.close()
        cluster.remove_node(machine)


def test_a_machine_without_sslbench_is_left_out(cluster: Any, tmp_path: Path) -> None:
    # Ray puts this session's sys.path in front on each machine.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['sslbench'] = None\n")
    machine = cluster.add_node(num_cpus=4, num_gpus=1, env_vars={"PYTHONPATH": str(tmp_path)}, **SMALL)
    engine = start(tmp_path, address=cluster.address)
    try:
        place = next(place for place in engine.places() if place.endswith(machine.node_id[:8]))
        engine.submit(Job("look", jobs.echo, 1, near=place, only=True))
        ended = drain(engine, 1)["look"]
        assert ended.loss is not None and ended.loss.cause == "unfit" and "cannot run sslbench's jobs" in ended.loss.why
        assert ended.place == place
        engine.check([Needs(cpus=4)])
        engine.exclude(place)
        assert place not in engine.places() and not engine.has_gpus
        with pytest.raises(EngineError, match="0 GPUs, 4 cores"):
            engine.check([Needs(cpus=4)])
        # The other machine has two cores.
        for number in range(6):
            engine.submit(Job(f"{number}", jobs.sleep, 0.2, near=place if number % 2 else engine.places()[0]))
        assert place not in {one.place for one in drain(engine, 6).values()}
    finally:
        engine.close()
        cluster.remove_node(machine)


def test_no_machine_is_left_for_what_waits(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_ray, "_PATIENCE_SECONDS", 1.0)
    engine = start(tmp_path, address=cluster.address)
    try:
        engine.submit(Job("needs", jobs.echo, 1, Needs(cpus=3)))
        with pytest.raises(
            EngineError, match=r"no machine of the Ray cluster could run a job of 0 GPUs, 3 cores; it has"
        ):
            drain(engine, 1)
    finally:
        engine.close()


def test_closing_stops_what_runs_and_leaves_the_cluster(cluster: Any, tmp_path: Path) -> None:
    engine = start(tmp_path, address=cluster.address)
    told = tmp_path / "pid"
    engine.submit(Job("runs", jobs.tell_and_sleep, (str(told), 300.0)))
    for number in range(200):
        engine.submit(Job(f"{number}", jobs.sleep, 300.0))
    pid = pid_of(told)
    engine.close()
    assert not ray.is_initialized()
    wait_until(lambda: not alive(pid))
    engine.close()
    engine = start(tmp_path, address=cluster.address)
    engine.submit(Job("lives", jobs.echo, 1))
    assert drain(engine, 1)["lives"].answer == 1
    engine.close()


def test_a_killed_session_stops_what_runs(cluster: Any, tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from sslbench.engine.base import Job; from tests.engines import jobs\n"
        "from tests.engines.clusters import start\n"
        "engine = start(Path(sys.argv[1]), address=sys.argv[2])\n"
        "engine.submit(Job('runs', jobs.tell_and_sleep, (sys.argv[3], 300.0)))\n"
        "while True: engine.collect(1.0)\n"
    )
    told = tmp_path / "pid"
    session = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path, cluster.address, told], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        pid = pid_of(told)
        assert alive(pid)
    finally:
        session.send_signal(signal.SIGKILL)
        session.wait()
    wait_until(lambda: not alive(pid))


def test_the_head_goes(tmp_path: Path) -> None:
    """In a process of its own: Ray ends one whose head is gone."""
    program = (
        "import sys, time; from pathlib import Path; from sslbench.engine.base import Job; from tests.engines import jobs\n"
        "from sslbench.engine import ray_connection; from sslbench.errors import EngineError\n"
        "from tests.engines.clusters import make_cluster, start, drain\n"
        "ray_connection._HEAD_SECONDS = 2.0\n"
        "cluster = make_cluster(1)\n"
        "engine = start(Path(sys.argv[1]), address=cluster.address)\n"
        "engine.submit(Job('sleeps', jobs.sleep, 300.0))\n"
        "engine.collect(1.0)\n"
        "cluster.head_node.kill_gcs_server()\n"
        "try: drain(engine, 1)\n"
        "except EngineError as error: print('told:', error)\n"
        "engine.close(); print('closed')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert "told: the head of the Ray cluster at" in ended.stdout, ended.stdout + ended.stderr
    assert "closed" in ended.stdout


def test_an_address_where_nothing_is(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"no Ray cluster at {address} .*Connection refused.*start one"):
            start(tmp_path, address=address)


def test_an_address_where_something_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "_REACH_SECONDS", 3.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EngineError, match="does not answer as a Ray cluster does within 3 s"):
            start(tmp_path, address=f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ray://head:10001", "address of Ray's client.*ray job submit"),
        ("head", "expected auto, local or HOST:PORT"),
        ("no.such.host.invalid:6379", "no Ray cluster at no.such.host.invalid:6379"),
    ],
)
def test_addresses_that_are_refused(address: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EngineError, match=told):
        start(tmp_path)


def test_another_ray(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.9.3")
    with pytest.raises(EngineError, match=r"has another Ray or Python than this process.*2\.9\.3"):
        start(tmp_path, address=cluster.address)
    assert not ray.is_initialized()
    monkeypatch.undo()
    engine = start(tmp_path, address="local")
    try:
        assert engine._here in [node["NodeID"] for node in engine._machines.alive()]
    finally:
        engine.close()


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "ray")
    imported = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(EngineError, match=r'pip install "sslbench\[ray\]"'):
        start(tmp_path)


def test_one_that_is_started_here(tmp_path: Path) -> None:
    engine = start(tmp_path, address="local")
    try:
        engine.submit(Job("here", jobs.sleep, 0.0))
        pid = drain(engine, 1)["here"].answer
    finally:
        engine.close()
    assert not ray.is_initialized()
    wait_until(lambda: not alive(pid))
