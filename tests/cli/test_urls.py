"""Commands that read runs at URLs, and one that writes to one."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslbench.cli import main
from sslbench.metrics.calibration import reliability_table
from sslbench.results.record import dump, slug
from sslbench.results.remote import fetch_run
from sslbench.results.runs import Run
from sslbench.results.shared_run import run_at
from sslbench.store.store import Store
from tests.conftest import Registries
from tests.results.conftest import build
from tests.results.detection_records import register, write

_number = itertools.count()


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the results of several runs; this machine has its own directories."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSLBENCH_RESULTS", raising=False)
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / "cache"))
    return f"file://{tmp_path}/store" if request.param == "file" else f"memory://urls/{next(_number)}"


def share(tmp_path: Path, url: str, run: str, **values: float) -> None:
    """A run that another machine has shared, with a record and its samples for each value by its dataset's name."""
    shared = run_at(tmp_path / "other" / run, url)
    for dataset, value in values.items():
        record = build("net", f"knn/{dataset}", correct=[picture < value for picture in range(100)])
        shared.write(replace(record, samples=shared.write_samples(record.case, {"x": np.array([value])})))
        shared.push(record)
    assert isinstance(shared, type(fetch_run(f"{url}/{run}"))) and shared.told == []


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_runs_are_compared_and_put_in_order_as_directories_are(capsys, tmp_path, url):
    for night, value in (("night-1", 90.0), ("night-2", 80.0)):
        share(tmp_path, url, night, digits=value)
    places = [(f"{url}/night-1", f"{url}/night-2"), (tmp_path / "other/night-1", tmp_path / "other/night-2")]
    for command, told in (("compare", "90.0"), ("compare --gate", "1 of 1 cases compared"), ("history --all", "90.0")):
        at_url, here = (called(capsys, *command.split(), *named) for named in places)
        for place, named in zip(places[0], places[1], strict=True):
            here = (here[0], here[1].replace(str(named), place), here[2])
        assert at_url == here and at_url[0] == 0 and told in at_url[1]
    # Nothing was written there, and the samples that nobody asked for have stayed.
    assert {name.rpartition("/")[0] for name in Store(url).names()} == {
        f"{night}/{kind}" for night in ("night-1", "night-2") for kind in ("records", "samples")
    }
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_what_was_removed_or_replaced_there_is_seen(tmp_path, url):
    share(tmp_path, url, "night", digits=90.0, letters=80.0)
    assert [record.main.value for record in fetch_run(f"{url}/night").records()] == [90.0, 80.0]
    Store(url).delete(f"night/records/{slug('net|knn/letters')}.json")
    share(tmp_path, url, "night", digits=70.0)
    assert [record.main.value for record in fetch_run(f"{url}/night").records()] == [70.0]


def test_shards_at_urls_are_merged_into_a_directory_and_into_a_url(capsys, tmp_path, url):
    share(tmp_path, f"{url}/shard-1", "embedded", digits=90.0)
    share(tmp_path / "b", f"{url}/shard-2", "embedded", letters=80.0)
    into = f"{url}/all/embedded"
    for _ in range(2):
        status, out, err = called(capsys, "merge", f"{url}/shard-1", f"{url}/shard-2/embedded", "--into", "here")
        assert (status, err) == (0, "") and "here: 2 case(s) from 2 run(s)" in out
        status, out, err = called(capsys, "merge", f"{url}/shard-1", f"{url}/shard-2", "--into", into)
        assert (status, err) == (0, "") and f"{into}/report.html" in out and f"{into}: 2 case(s) from 2 run(s)" in out
    names = Store(into).names()
    assert {"summary.csv", "summary.md", "report.html"} <= names.keys()
    merged, here = fetch_run(into), Run(Path("here"))
    assert merged.records() == here.records() and len(here.records()) == 2
    assert all(merged.samples_sound(record) and here.samples_sound(record) for record in here.records())
    # Another machine merges more into it, which has none of its samples yet.
    share(tmp_path, f"{url}/shard-3", "embedded", faces=70.0)
    (tmp_path / "cache").rename(tmp_path / "another")
    status, out, _ = called(capsys, "merge", f"{url}/shard-3", "--into", into)
    assert status == 0 and "3 case(s) from 1 run(s), 1 of them new" in out
    assert len(fetch_run(into).records()) == 3


def test_a_run_below_its_sources_is_merged_into_again(capsys, tmp_path, url):
    share(tmp_path, f"{url}/shards", "embedded", digits=90.0, letters=80.0)
    sources, new = [url, tmp_path / "other"], iter([2, 2, 0, 0, 1])
    for source in sources * 2:
        status, out, err = called(capsys, "merge", source, "--into", f"{source}/merged")
        told = f"{source}/merged: 2 case(s) from 1 run(s), {next(new)} of them new"
        assert (status, err) == (0, "") and told in out
    share(tmp_path, f"{url}/shards", "embedded", faces=70.0)
    status, out, _ = called(capsys, "merge", url, "--into", f"{url}/merged/")
    assert status == 0 and f"3 case(s) from 1 run(s), {next(new)} of them new" in out


def test_runs_of_several_names_are_not_merged_by_their_common_url(capsys, tmp_path, url):
    for night in ("night-1", "night-2"):
        share(tmp_path, url, night, digits=90.0)
    status, _, err = called(capsys, "merge", url, "--into", "here")
    assert status == 2 and f"{url} holds runs of several names, night-1, night-2" in err and not Path("here").exists()


def test_what_is_damaged_there_is_told_and_left_out(capsys, tmp_path, url):
    share(tmp_path, url, "night", digits=90.0, letters=80.0, faces=70.0)
    Store(url).write(f"night/records/{slug('net|knn/letters')}.json", b"{")
    Store(url).write(f"night/samples/{slug('net|knn/faces')}.safetensors", b"no tensors")
    with pytest.warns(UserWarning, match=rf"damaged record {url}/night/records/\S*letters"):
        status, out, _ = called(capsys, "merge", f"{url}/night", "--into", "here")
    assert status == 0 and f"net|knn/faces in {url}/night: its samples are damaged" in out and "here: 1 case(s)" in out


def test_a_gallery_of_a_run_at_a_url_lies_here(capsys, tmp_path: Path, url: str, registries: Registries) -> None:
    dataset, case = register(tmp_path / "pictures"), "net|detection/five/frozen"
    shared = run_at(tmp_path / "other/night", url)
    write(shared, dataset.fingerprint)
    for record in shared.records():
        shared.push(record)
    status, out, err = called(capsys, "show", "net", "--run", f"{url}/night")
    assert (status, err) == (0, "") and out.splitlines()[1] == f"gallery-{slug(case)}.html"
    assert "row 3: AP50 0.0" in Path(f"gallery-{slug(case)}.html").read_text()
    status, _, err = called(capsys, "show", "other", "--run", f"{url}/night")
    assert status == 2 and f"no case of {url}/night" in err


@pytest.mark.parametrize("url", ["file"], indirect=True)
@pytest.mark.parametrize(
    "command",
    [
        "report {}",
        "figures {} --only reliability --format svg",
        "claims {}",
        "plan --tasks knn/digits --backbones pixels --device cpu --records {}",
    ],
)
def test_a_run_at_a_url_gives_what_its_directory_gives(capsys, tmp_path, url, command):
    if command.startswith("figures"):
        pytest.importorskip("matplotlib")
    shared, random = run_at(tmp_path / "other/night", url), np.random.default_rng(0)
    table = reliability_table(random.normal(0, 2, (60, 4)), random.integers(0, 4, 60))
    for backbone, task in (("net", "linear/digits"), ("pixels", "knn/digits")):
        record = build(backbone, task, correct=[True] * 9 + [False], environment={"device": "cpu"})
        record = replace(record, scores={**record.scores, "ece": record.scores["top1"]})
        shared.write(replace(record, samples=shared.write_samples(record.case, {"reliability": table})))
        shared.push(record)

    def given(run: object) -> tuple[int, list[str | bytes], str]:
        status, out, err = called(capsys, *command.format(run).split())
        lines = out.replace(str(run), "RUN").splitlines()
        written = [Path(line.replace("RUN", str(run))) for line in lines]
        read = [path.read_bytes() if path.is_file() else line for path, line in zip(written, lines, strict=True)]
        return status, read, err

    at_url, here = given(f"{url}/night"), given(tmp_path / "other/night")
    assert at_url == here and here[0] == 0 and here[2] == "" and here[1]
    if command.startswith("plan"):
        assert any(str(line).startswith("| knn | measured") for line in here[1])


@pytest.mark.parametrize("url", ["file"], indirect=True)
@pytest.mark.parametrize(
    ("only", "fetched"),
    [
        ("ranks", []),
        ("reliability", ["linear/digits"]),
        ("ranks,learning-curves", ["finetune/digits"]),
        ("attention,reconstructions", ["inversion/digits", "occlusion/digits"]),
    ],
)
def test_figures_fetch_the_samples_that_they_read_alone(capsys, tmp_path, url, only, fetched):
    pytest.importorskip("matplotlib")
    shared = run_at(tmp_path / "other/night", url)
    for task in ("linear/digits", "finetune/digits", "inversion/digits", "occlusion/digits", "knn/digits"):
        record = build("net", task, correct=[True] * 9 + [False])
        if task.startswith("linear"):
            record = replace(record, scores={**record.scores, "ece": record.scores["top1"]})
        if task.startswith("finetune"):
            record = replace(record, hyperparameters={"steps": 3})
        shared.write(replace(record, samples=shared.write_samples(record.case, {"x": np.array([1.0])})))
        shared.push(record)
    called(capsys, "figures", f"{url}/night", "--only", only, "--format", "svg")
    found = {path.name for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert found == {f"{slug(f'net|{task}')}.safetensors" for task in fetched}


@pytest.mark.parametrize("path", ["..", "../samples/..", "", 5, None, ["x"]])
@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_samples_that_are_no_file_s_are_told_where_they_are_missed(capsys, tmp_path, url, path):
    share(tmp_path, url, "night", digits=90.0, letters=80.0)
    name = f"night/records/{slug('net|knn/digits')}.json"
    record = json.loads(Store(url).read(name) or b"")
    Store(url).write(name, json.dumps({**record, "samples": {"path": path, "sha256": "0"}}).encode())
    status, out, _ = called(capsys, "report", f"{url}/night", "--no-pictures")
    assert status == 0 and "net" in out
    status, out, _ = called(capsys, "merge", f"{url}/night", "--into", "here")
    assert status == 0 and "net|knn/digits in" in out and "here: 1 case(s)" in out
    run = fetch_run(f"{url}/night")
    assert [run.samples_sound(record) for record in run.records()] == [False, True]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_an_object_of_somebody_else_s_making_is_written_nowhere(capsys, tmp_path, url):
    mine = tmp_path / "cache/results/records/mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    record = build("net", "knn/digits", correct=[True, False])
    Store(url).write(f"../records/{slug(record.case)}.json", dump(record.to_json()))
    for place, told in ((url, f"no run at {url}"), (f"{url}/..", "expected the URL of a run in a store")):
        status, _, err = called(capsys, "merge", place, "--into", "here")
        assert status == 2 and told in err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


@pytest.mark.parametrize("command", [("history",), ("compare", "x"), ("merge", "--into", "x"), ("show", "x", "--run")])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            "memory://urls/nowhere",
            "no run at memory://urls/nowhere; expected the URL of a run, s3://BUCKET/RESULTS/RUN",
        ),
        ("memory://alone", "memory://alone: expected the URL of a run in a store"),
        ("file://relative/run", "from the root on"),
        ("nosuch://bucket/run", "Expected a store that can be read: look at the URL"),
        ("s3://bucket/run", r"install it with: pip install 'sslbench[s3]'"),
    ],
)
def test_what_is_no_run_is_one_clear_error(capsys, tmp_path, monkeypatch, command, place, told):
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    Run(tmp_path / "x").write(build())
    status, out, err = called(capsys, *command, place)
    assert (status, out) == (2, "") and told in err and err.count("\n") == 1
    assert not (tmp_path / "cache").exists()
