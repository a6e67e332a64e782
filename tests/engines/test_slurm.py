"""The engine `slurm`, over processes of this machine, and over a Slurm where one is (tools/one_node_slurm.sh makes one)."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sslbench.engine import process_cluster, slurm_cluster, slurm_commands
from sslbench.engine.base import Job, Loss, Needs, engine_spec
from sslbench.engine.engines import slurm
from sslbench.engine.member import BEGUN, ENDED
from sslbench.errors import DataWarning, EngineError
from tests.engines import slurm_jobs
from tests.engines.processes import alive, wait_until

pytest.importorskip("submitit")

ROOT = Path(__file__).parents[2]


def slurm_answers():
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=20, check=False).returncode == 0


needs_slurm = pytest.mark.skipif(not slurm_answers(), reason="no Slurm here")


@pytest.fixture(params=["local", pytest.param("slurm", marks=needs_slurm)])
def executor(request):
    return request.param


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(slurm_cluster.SlurmCluster, "ask_seconds", 0.3)
    monkeypatch.setattr(slurm_cluster.SlurmCluster, "settle_seconds", 0.0)


@pytest.fixture
def start(tmp_path, executor):
    """Starts an engine in `tmp_path`; all are closed."""
    engines = []

    def start(**options):
        engines.append(started(tmp_path, executor=executor, **options))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def started(folder, **options):
    spec = engine_spec("slurm")
    given = {"time": "5", **options}
    assert set(given) <= set(spec.options)
    values = {
        name: option.read(given[name]) if name in given else option.default for name, option in spec.options.items()
    }
    return spec.start(values, folder)


def all_of(engine, count, seconds=60):
    ended, deadline = [], time.monotonic() + seconds
    while len(ended) < count and time.monotonic() < deadline:
        ended += engine.collect(1.0)
    assert len(ended) == count
    return {end.name: end for end in ended}


def logs(folder):
    return sorted(folder.glob("engine/sslbench-*/*_log.out"))


def test_answers_come_from_few_processes_elsewhere(start, tmp_path):
    engine = start(slots="2", bundle="3", setup="export CUDA_VISIBLE_DEVICES=by-setup")
    engine.check([Needs()])
    for number in range(4):
        engine.submit(Job(f"job {number}", slurm_jobs.own_process, None, Needs(memory=number << 20)))
    for number in range(2):
        engine.submit(Job(f"double {number}", slurm_jobs.double, number, Needs(memory=1)))
    ended = all_of(engine, 6)
    assert [ended[f"double {number}"].answer for number in range(2)] == [0, 2]
    answers = [ended[f"job {number}"].answer for number in range(4)]
    assert {answer[1:] for answer in answers} == {(str(ROOT), str(ROOT), "by-setup")}
    # Dealt like cards, in two bundles of three.
    numbers = [answer[0] for answer in answers]
    assert numbers[0] == numbers[2] != numbers[1] == numbers[3] and os.getpid() not in numbers
    assert {end.place for end in ended.values()} == {os.uname().nodename}
    assert engine.running() == 0 and engine.collect(0) == []


def test_a_death_takes_one_member_of_its_bundle(start, tmp_path, executor):
    engine = start(slots="1")
    jobs = [
        Job("first", slurm_jobs.double, 1),
        Job("dies", slurm_jobs.die, str(tmp_path)),
        Job("third", slurm_jobs.double, 3),
        Job("fourth", slurm_jobs.own_process, None),
    ]
    for job in jobs:
        engine.submit(job)
    ended = all_of(engine, 4)
    assert [ended[name].answer for name in ("first", "third")] == [2, 6] and ended["fourth"].answer
    loss = ended["dies"].loss
    assert executor == "local" or "killed by signal 9" in loss.why
    assert loss.cause == "worker" and loss.log.startswith("about to die") and ended["dies"].place == os.uname().nodename
    engine.submit(jobs[1])
    assert all_of(engine, 1)["dies"].answer == "survived"
    assert len(logs(tmp_path)) == 3


def test_what_never_begins_is_lost_as_a_whole(start):
    engine = start(slots="1", setup="echo no such module && exit 3")
    for number in range(3):
        engine.submit(Job(f"job {number}", slurm_jobs.double, number))
    ended = all_of(engine, 3)
    assert {end.loss.cause for end in ended.values()} == {"worker"}
    assert "no such module" in ended["job 2"].loss.log


def test_a_whole_gpu_has_a_job_of_its_own_and_slots_are_kept(start, tmp_path, executor):
    engine = start(slots="1", gpu="none")
    needs = Needs(gpus=1)
    if executor == "slurm":
        assert engine.has_gpus and engine.places() == []
        engine.check([needs])
    engine.submit(Job("holds", slurm_jobs.wait_for, str(tmp_path / "go"), needs))
    engine.submit(Job("next", slurm_jobs.own_process, None, needs))
    wait_until(lambda: engine.collect(0.1) == [] and engine.running() == 1)
    assert engine.collect(1.0) == []
    (tmp_path / "go").touch()
    ended = all_of(engine, 2)
    assert ended["holds"].answer != ended["next"].answer[0]
    assert ended["next"].answer[3] in ("0", "1")


def test_what_shares_a_gpu_runs_side_by_side(start, tmp_path, monkeypatch, executor):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    engine = start(gpu="none")
    submitted, submit = [], engine._cluster.submit

    def recorded(needs, threads, *rest):
        submitted.append((needs, threads, rest[-1]))
        return submit(needs, threads, *rest)

    monkeypatch.setattr(engine._cluster, "submit", recorded)
    for number in range(4):
        engine.submit(Job(f"quarter {number}", slurm_jobs.meet, (str(tmp_path), 4), Needs(0.25, 1, number << 20)))
    ended = all_of(engine, 4)
    # As many as there are slots would have a GPU each.
    assert submitted == [(Needs(1, 4, 6 << 20), 1, 4)]
    numbers, threads, gpus = zip(*[end.answer for end in ended.values()], strict=True)
    assert len(set(numbers)) == 4 and set(threads) == {"1"} and len(set(gpus)) == 1
    assert {end.place for end in ended.values()} == {os.uname().nodename}
    engine.submit(Job("holds", slurm_jobs.wait_for, str(tmp_path / "never"), Needs(0.5)))
    engine.submit(Job("dies", slurm_jobs.die, str(tmp_path), Needs(0.5)))
    loss = all_of(engine, 1)["dies"].loss
    assert (loss.cause, loss.why, loss.log) == ("worker", "its process was killed by signal 9", "about to die")
    wait_until((tmp_path / "never.waits").exists)
    assert engine.collect(0) == [] and engine.running() == 1
    engine.close()
    assert executor == "slurm" or not alive(int((tmp_path / "never.waits").read_text()))
    wait_until(lambda: not alive(int((tmp_path / "never.waits").read_text())))


def test_a_slurm_job_has_room_for_all_that_run_at_once(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(slurm_commands, "partitions", lambda: slurm_commands.read_partitions(text))
    monkeypatch.setattr(slurm_commands, "ask", lambda command: commands.append(command) or "")
    monkeypatch.setattr(slurm_cluster, "which", lambda command: command)
    text = "gpu*|up|60:00|8|16000|gpu:2"
    engine = started(tmp_path)
    engine.check([Needs(0.25, 1.5, 1 << 30), Needs(2, 1, 1 << 30), Needs(0, 0.5)])
    asked = [{word for word in command if word.startswith(("--cpus", "--gres", "--mem"))} for command in commands]
    assert asked == [
        {"--cpus-per-task=1"},
        {"--cpus-per-task=1", "--gres=gpu:2", "--mem=1024MB"},
        {"--cpus-per-task=8", "--gres=gpu:1", "--mem=4096MB"},
    ]
    with pytest.raises(EngineError, match=r"needs 12 cores, 1 GPUs and 0.0 GiB .* bundle= for fewer"):
        engine.check([Needs(0.25, 3)])
    engine.close()
    engine = started(tmp_path, bundle="2")
    engine.check([Needs(0.25, 3)])
    assert "--cpus-per-task=6" in commands[-1]
    engine.close()


@pytest.mark.parametrize("cause", ["worker", "machine"])
def test_who_ends_a_slurm_job_of_several_is_found_alone(monkeypatch, tmp_path, cause):
    engine, sent = started(tmp_path, executor="local", slots="1"), []

    def submit(needs, _threads, _function, folder, content, _seconds, concurrency):
        names = [pickle.loads(job).name for _, job in content]
        for (key, _), name in list(zip(content, names, strict=True))[:concurrency]:
            (Path(folder) / f"{key}{BEGUN}").touch()
            if "ends all" not in names:
                (Path(folder) / f"{key}{ENDED}").write_bytes(pickle.dumps((name, None, None)))
        sent.append((names, needs))
        return SimpleNamespace(job_id=str(len(sent)), names=names, paths=SimpleNamespace(stdout=tmp_path / "log"))

    def lost(bundles):
        return {bundle.job_id: Loss(cause, "why") for bundle in bundles if "ends all" in bundle.names}

    monkeypatch.setattr(engine._cluster, "submit", submit)
    monkeypatch.setattr(engine._cluster, "lost", lost)
    names = ["ends all", "b", "c", "d", "not begun"]
    for name in names:
        engine.submit(Job(name, slurm_jobs.double, 1, Needs(0.25, 1, 1 << 20)))
    ended = all_of(engine, 5)
    engine.close()
    assert sent[0] == (names, Needs(1, 4, 4 << 20)) and ended["not begun"].answer == "not begun"
    if cause == "machine":
        assert {ended[name].loss.cause for name in names[:4]} == {"machine"} and len(sent) == 2
    else:
        assert ended["ends all"].loss.cause == "worker" and [ended[name].answer for name in "bcd"] == list("bcd")
        # With the room of all: what a case alone takes beyond its part is there.
        assert sent[1:] == [([name], Needs(1, 4, 4 << 20)) for name in names[:4]] + [([names[4]], Needs(1, 1, 1 << 20))]


def test_what_a_job_raises_is_raised(start):
    engine = start()
    engine.submit(Job("fails", slurm_jobs.fail, "a mistake"))
    with pytest.raises(KeyError, match="a mistake") as error:
        all_of(engine, 1)
    assert "slurm_jobs.py" in "".join(error.value.__notes__)


def test_close_leaves_nothing_running(start, tmp_path, executor):
    engine = start(slots="2", bundle="1")
    for name in ("one", "two", "waits"):
        engine.submit(Job(name, slurm_jobs.wait_for, str(tmp_path / name)))
    wait_until(lambda: engine.collect(0.1) == [] and engine.running() == 2)
    # A job tells that it begins before it does.
    wait_until(lambda: all((tmp_path / f"{name}.waits").exists() for name in ("one", "two")))
    numbers = [int((tmp_path / f"{name}.waits").read_text()) for name in ("one", "two")]
    assert all(alive(number) for number in numbers)
    engine.close()
    engine.close()
    wait_until(lambda: not any(alive(number) for number in numbers))
    assert not (tmp_path / "engine" / "slurm-jobs.json").exists() and not (tmp_path / "waits.waits").exists()
    assert [file.suffix for file in tmp_path.glob("engine/sslbench-*/*")] == [".out", ".out"]


def test_ctrl_c_is_told_by_nobody_but_the_session(tmp_path):
    script = """
import signal
import sys
from pathlib import Path
sys.path.insert(0, ".")
# It is ignored in what a shell runs in the background, and then in all that this starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.engines import slurm_jobs, test_slurm
from sslbench.engine.base import Job
engine = test_slurm.started(Path(sys.argv[1]), executor="local")
engine.submit(Job("holds", slurm_jobs.wait_for, sys.argv[1] + "/never"))
try:
    while True:
        engine.collect(1.0)
except KeyboardInterrupt:
    engine.close()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    # To all processes of its group, as a terminal does.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as session:
        wait_until((tmp_path / "never.waits").exists)
        os.killpg(session.pid, signal.SIGINT)
        output, _ = session.communicate(timeout=60)
    assert output == "" and session.returncode == 0
    assert not alive(int((tmp_path / "never.waits").read_text()))


def test_a_killed_sessions_jobs_are_ended_by_the_next(start, tmp_path, executor):
    script = """
import sys
from pathlib import Path
sys.path.insert(0, ".")
from tests.engines import slurm_jobs, test_slurm
from sslbench.engine.base import Job, Needs
engine = test_slurm.started(Path(sys.argv[1]), executor=sys.argv[2])
for name in ("never", "neither"):
    engine.submit(Job(name, slurm_jobs.wait_for, f"{sys.argv[1]}/{name}", Needs(gpus=0.5)))
while True:
    engine.collect(1.0)
"""
    marks = [tmp_path / "never.waits", tmp_path / "neither.waits"]
    earlier = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), executor])
    try:
        wait_until(lambda: all(path.exists() for path in marks))
        with pytest.raises(EngineError, match="is held by process"):
            start()
    finally:
        earlier.send_signal(signal.SIGKILL)
        earlier.wait()
    numbers = [int(path.read_text()) for path in marks]
    assert all(map(alive, numbers))
    with pytest.warns(DataWarning, match=r"ended 1 job\(s\) of an earlier session"):
        engine = start()
    assert not any(map(alive, numbers))
    engine.submit(Job("new", slurm_jobs.double, 4))
    assert all_of(engine, 1)["new"].answer == 8
    other = {"slurm": "local", "local": "slurm"}[executor]
    engine.close()
    (tmp_path / "engine" / "slurm-jobs.json").write_text(json.dumps({"executor": other, "name": "sslbench-00000000"}))
    with pytest.raises(EngineError, match=f"an earlier session with executor={other} was killed"):
        start()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"executor": "local", "name": "../mine"}', '{"executor": "local", "name": 1}']
)
def test_a_forged_file_of_jobs_ends_nothing_and_empties_no_folder(tmp_path, text):
    (tmp_path / "engine").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / "engine" / "slurm-jobs.json").write_text(text)
    for _ in range(2):
        with pytest.raises(EngineError, match="is damaged"):
            started(tmp_path, executor="local")
    assert (tmp_path / "mine" / "file").exists()


def test_a_job_that_slurm_overlooks_now_and_then_is_not_lost():
    cluster = object.__new__(slurm_cluster.SlurmCluster)
    cluster._unknown = {}
    running = slurm_commands.JobState("RUNNING")
    assert [cluster._loss("7", state) for state in (None, None, running, None, None, running)] == [None] * 6
    assert [cluster._loss("7", None) for _ in range(3)][-1].cause == "machine"


def test_nobody_else_may_write_answers(start, tmp_path):
    start()
    (folder,) = tmp_path.glob("engine/sslbench-*")
    assert folder.stat().st_mode & 0o077 == 0


def test_no_member_begins_in_the_second_half_of_the_time(start, tmp_path):
    engine = start(slots="1")
    engine._seconds = 0.0
    for number in range(2):
        engine.submit(Job(f"job {number}", slurm_jobs.double, number))
    assert [end.answer for end in all_of(engine, 2).values()] == [0, 2]
    assert len(logs(tmp_path)) == 2


def test_a_reached_time_limit_is_the_machines_loss(tmp_path):
    # submitit counts in steps of 1/24 second; a minute is the least that the option takes.
    spec = engine_spec("slurm")
    values = {name: option.default for name, option in spec.options.items()} | {"executor": "local", "time": 1 / 30}
    engine = spec.start(values, tmp_path)
    try:
        engine.submit(Job("long", slurm_jobs.wait_for, str(tmp_path / "never")))
        loss = all_of(engine, 1)["long"].loss
    finally:
        engine.close()
    assert loss.cause == "machine" and "time limit" in loss.why


def test_a_queue_that_is_full_for_a_while(monkeypatch, tmp_path):
    engine, submit = started(tmp_path, executor="local", bundle="1"), process_cluster.ProcessCluster.submit
    refusals = [False, True, True, False]

    def submit_or_not(*arguments):
        if refusals.pop(0):
            raise EngineError("sbatch refused a job: QOSMaxSubmitJobPerUserLimit")
        return submit(*arguments)

    monkeypatch.setattr(process_cluster.ProcessCluster, "submit", submit_or_not)
    monkeypatch.setattr(slurm, "_REFUSED_SECONDS", 0.01)
    try:
        for number in range(2):
            engine.submit(Job(f"job {number}", slurm_jobs.double, number))
        ended = all_of(engine, 2)
        assert [ended[f"job {number}"].answer for number in range(2)] == [0, 2] and not refusals
        # With nothing of ours in the queue it is not our own number that fills it.
        monkeypatch.setattr(slurm, "_REFUSED_LONG", 0.05)
        refusals += [True] * 1000
        engine.submit(Job("job", slurm_jobs.double, 1))
        with pytest.raises(EngineError, match="QOSMaxSubmitJobPerUserLimit"):
            all_of(engine, 1)
    finally:
        engine.close()


def test_the_first_refusal_ends_it(monkeypatch, tmp_path):
    def refuse(*_):
        raise EngineError("sbatch refused a job: Invalid account")

    monkeypatch.setattr(process_cluster.ProcessCluster, "submit", refuse)
    engine = started(tmp_path, executor="local")
    engine.submit(Job("job", slurm_jobs.double, 1))
    with pytest.raises(EngineError, match="Invalid account"):
        engine.collect(1.0)
    engine.close()


@needs_slurm
@pytest.mark.parametrize("executor", ["slurm"])
def test_slurms_own_ends(start, tmp_path, executor):
    engine = start(slots="1")
    engine.submit(Job("holds", slurm_jobs.wait_for, str(tmp_path / "go")))
    engine.submit(Job("behind", slurm_jobs.own_process, None))
    wait_until(lambda: engine.collect(0.1) == [] and engine.running() == 1)
    # As an administrator would.
    number = logs(tmp_path)[0].name.partition("_")[0]
    subprocess.run(["scancel", number], check=True)
    loss = all_of(engine, 1)["holds"].loss
    assert loss.cause == "machine" and f"the Slurm job {number}" in loss.why and "CANCELLED" in loss.why
    assert all_of(engine, 1)["behind"].answer


@needs_slurm
@pytest.mark.parametrize("executor", ["slurm"])
def test_bad_input_is_told_before_anything_is_submitted(start, monkeypatch, executor):
    with pytest.raises(EngineError, match=r"no partition 'test' in this Slurm.*did you mean 'tests'"):
        start(partition="test")
    engine = start()
    with pytest.raises(EngineError, match="on one node; no node of the partition tests has as much"):
        engine.check([Needs(), Needs(memory=1 << 60)])
    engine.close()
    engine = start(constraint="nowhere")
    with pytest.raises(EngineError, match="sbatch --test-only"):
        engine.check([Needs()])
    engine.close()
    engine = start(time="100000")
    with pytest.raises(EngineError, match="may last 60 minutes, time=100000 asks for more"):
        engine.check([Needs()])
    engine.close()
    monkeypatch.setattr(
        slurm_commands, "partitions", lambda: slurm_commands.read_partitions("tests*|up|60:00|4|1000|(null)")
    )
    engine = start()
    assert not engine.has_gpus
    with pytest.raises(EngineError, match="no node of the partition tests has any"):
        engine.check([Needs(gpus=1)])
    engine.close()


@needs_slurm
@pytest.mark.parametrize("executor", ["slurm"])
def test_a_node_that_is_excluded_gets_no_job(start, executor):
    engine = start()
    engine.submit(Job("before", slurm_jobs.double, 4))
    place = all_of(engine, 1)["before"].place
    engine.check([Needs()])
    engine.exclude(place)
    # It is the only one.
    with pytest.raises(EngineError, match=f"--exclude={place}"):
        engine.check([Needs()])


@needs_slurm
@pytest.mark.parametrize("executor", ["slurm"])
def test_a_setup_that_fails_is_no_fault_of_the_case(start, executor):
    engine = start(setup="echo no such module; false")
    engine.submit(Job("a", slurm_jobs.double, 4))
    loss = all_of(engine, 1)["a"].loss
    assert loss.cause == "unfit" and "setup=echo no such module; false failed" in loss.why
    assert "no such module" in loss.log


def test_without_slurm_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"found no sbatch, squeue, sinfo, scancel\..*executor=local"):
        started(tmp_path / "run")
    # The next session is not kept out by it.
    started(tmp_path / "run", executor="local").close()
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be locked"):
        started(tmp_path / "file")


def test_a_missing_submitit_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(EngineError, match=r"pip install 'sslbench\[slurm\]'"):
        started(tmp_path)


def test_options_read(tmp_path):
    options = engine_spec("slurm").options
    with pytest.raises(ValueError, match="expected a whole number from 1, got 'x'"):
        options["time"].read("x")
    with pytest.raises(ValueError, match="expected one of slurm, local"):
        options["executor"].read("loca")
    assert options["bundle"].read("1") == 1


def test_partitions_are_read():
    text = (
        "debug*|up|30:00|8|16000|(null)\n"
        "gpu|up|2-12:00:00|64+|512000+|gpu:a100:4(S:0-1),gpu:v100:2,tmp:1\n"
        "old|inact|infinite|4|1000|gpu\n"
        "mps|up|1:00:00|4|1000|mps:100,gpu:8\n"
    )
    found = slurm_commands.read_partitions(text)
    assert [entry.minutes for entry in found] == [30, 3600, float("inf"), 60]
    assert [entry.gpus for entry in found] == [0, 6, 1, 8]
    assert [entry.name for entry in found] == ["debug", "gpu", "old", "mps"]
    assert [entry.default for entry in found] == [True, False, False, False]
    assert [entry.up for entry in found] == [True, True, False, True]
    assert found[1].cpus == 64 and found[1].memory == 512000 << 20
