"""`sslbench fetch`, `doctor` and `convert` on declared datasets and backbones whose files a local server has."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from sslbench.cli import fetchable, main
from sslbench.datasets import DatasetSpec, register_dataset
from sslbench.datasets.status import Status
from sslbench.files import size_text
from sslbench.sources import Source, download
from tests.conftest import Registries


def declare(name: str, *sources: Source) -> None:
    register_dataset(
        DatasetSpec(
            name,
            "nowhere:load",
            2,
            "two classes",
            "MIT",
            "https://example.org",
            folder=f"{name}-files",
            sources=sources,
        )
    )


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SSLBENCH_CACHE", "SSLBENCH_RESULTS", "SSLBENCH_DATA", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


PICTURES = zipped({"pictures/a/1.jpg": b"1", "pictures/b/2.jpg": b"2"})
STEPS = "Log in at https://example.org/terms, accept them, and save labels.mat in moths-files."


@pytest.fixture
def moths(server) -> tuple[Source, Source]:
    """A dataset of an archive that is free to fetch and a file that is not."""
    sources = (
        Source(
            "pictures.zip",
            (f"{server.root}/gone.zip", server.add("/pictures.zip", PICTURES)),
            md5=hashlib.md5(PICTURES).hexdigest(),
            size=len(PICTURES),
            unpack=".",
        ),
        Source("labels.mat", manual=STEPS, size=6),
    )
    declare("moths", *sources)
    return sources


def test_what_is_free_is_fetched_and_the_rest_is_explained(capsys, server, moths, tmp_path):
    status, out, err = call(capsys, "fetch", "--dataset", "moths")
    assert status == 1
    assert out == "not complete: dataset moths\n"
    assert (tmp_path / "data/moths-files/pictures/a/1.jpg").read_bytes() == b"1"
    lines = err.splitlines()
    assert f"{server.root}/gone.zip: HTTP 404 Not Found" in lines
    assert lines[-3:] == [
        "dataset moths: not complete",
        "  data/moths-files/labels.mat is missing; it has to be fetched by hand.",
        f"    By hand: {STEPS}",
    ]
    assert "Traceback" not in err
    (tmp_path / "data/moths-files/labels.mat").write_bytes(b"labels")
    asked = len(server.seen)
    assert call(capsys, "fetch", "--dataset", "moths") == (0, "dataset moths: ready\n", "")
    assert len(server.seen) == asked


def test_the_directory_can_be_chosen(capsys, server, moths, tmp_path, monkeypatch):
    call(capsys, "fetch", "--dataset", "moths", "--data", tmp_path / "chosen")
    assert (tmp_path / "chosen/moths-files/pictures").is_dir()
    monkeypatch.setenv("SSLBENCH_DATA", str(tmp_path / "of-the-environment"))
    call(capsys, "fetch", "--dataset", "moths")
    assert (tmp_path / "of-the-environment/moths-files/pictures").is_dir()
    assert not (tmp_path / "data").exists()


def test_globs_and_several_names(capsys, server, moths):
    declare("moth-wings", Source("wings.bin", (server.add("/wings", b"wings"),)))
    declare("birds", Source("birds.bin", (server.add("/birds", b"birds"),)))
    _, out, _ = call(capsys, "fetch", "--dataset", "moth*")
    assert "dataset moth-wings: ready in data/moth-wings-files, 5 bytes" in out.splitlines()
    assert "dataset moths" in out
    assert "birds" not in out
    status, out, _ = call(capsys, "fetch", "--dataset", "birds,moth-wings", "--dataset", "digits")
    assert status == 0
    assert out.splitlines() == [
        "dataset birds: ready in data/birds-files, 5 bytes",
        "dataset digits: comes with the installation",
        "dataset moth-wings: ready",
    ]


def test_without_a_name_everything_that_has_files_is_fetched(capsys, server, moths, monkeypatch):
    files = (Source("net.pth", (server.add("/net", b"weights"),)),)
    monkeypatch.setattr(fetchable, "choices_of_backbones", lambda: {"net": (files,)})
    status, out, _ = call(capsys, "fetch", "--dry-run")
    assert status == 0
    assert "dataset moths, into data/moths-files:" in out
    assert "backbone net, into" in out
    assert "digits" not in out


def test_an_unknown_name_is_answered_with_the_nearest(capsys, moths):
    status, _, err = call(capsys, "fetch", "--dataset", "moth")
    assert status == 2
    assert "unknown dataset 'moth'; nearest: moths" in err
    status, _, err = call(capsys, "fetch", "--dataset", "x*")
    assert status == 2
    assert "the glob 'x*' matches no dataset" in err
    status, _, err = call(capsys, "fetch", "--backbone", "resnet50.a1_in1k")
    assert status == 2
    assert "unknown backbone with files to fetch 'resnet50.a1_in1k'" in err


def test_a_dry_run_says_what_it_would_do_and_does_nothing(capsys, moths, server, tmp_path, no_sockets):
    steps = "Ask the owner."
    declare("owls", *(Source(name, manual=steps) for name in ("1.csv", "2.csv")))
    declare("nested", Source("a.zip", (f"{server.root}/a.zip",), unpack="."), Source("b.tar.gz", unpack="."))
    status, out, err = call(capsys, "fetch", "--dataset", "moths,nested,owls,digits", "--dry-run")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "dataset digits: comes with the installation",
        "dataset moths, into data/moths-files:",
        f"  pictures.zip, {len(PICTURES)} bytes, from {server.root}/gone.zip (or 1 more)",
        f"  labels.mat, 6 bytes, by hand: {STEPS}",
        "dataset nested, into data/nested-files:",
        f"  a.zip, size unknown, from {server.root}/a.zip",
        "  b.tar.gz: out of an archive before it",
        "dataset owls, into data/owls-files:",
        f"  1.csv, size unknown, by hand: {steps}",
        "  2.csv, size unknown, by hand, as above",
        f"to fetch: 2 files, {len(PICTURES)} bytes and 1 of unknown size",
    ]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_nothing_is_fetched_but_what_is_here_is_unpacked(capsys, moths, tmp_path, no_sockets, monkeypatch, how):
    option = ("--offline",) if how == "option" else ()
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, _, err = call(capsys, "fetch", "--dataset", "moths", *option)
    assert status == 1
    assert "data/moths-files/pictures.zip is missing; offline, nothing is fetched" in err
    # From a machine with a network, on a disk.
    (tmp_path / "data/moths-files").mkdir(parents=True)
    (tmp_path / "data/moths-files/pictures.zip").write_bytes(PICTURES)
    (tmp_path / "data/moths-files/labels.mat").write_bytes(b"labels")
    assert call(capsys, "fetch", "--dataset", "moths", *option)[0] == 0
    assert (tmp_path / "data/moths-files/pictures/b/2.jpg").read_bytes() == b"2"


def test_again_brings_back_what_was_lost(capsys, server, tmp_path):
    declare("birds", Source("pictures.zip", (server.add("/birds", PICTURES),), unpack="."))
    assert call(capsys, "fetch", "--dataset", "birds")[0] == 0
    lost = tmp_path / "data/birds-files/pictures/a/1.jpg"
    lost.unlink()
    assert call(capsys, "fetch", "--dataset", "birds")[0] == 0
    assert not lost.exists()
    assert call(capsys, "fetch", "--dataset", "birds", "--again")[0] == 0
    assert lost.exists()


def test_an_interrupt_is_no_traceback(capsys, server, monkeypatch):
    declare("birds", Source("pictures.zip", (server.add("/birds", PICTURES, breaks=[9]),)))

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.time, "sleep", interrupt)
        status, out, err = call(capsys, "fetch", "--dataset", "birds")
    assert (status, out) == (130, "")
    assert err.endswith("sslbench: interrupted; the same command goes on where this one ended\n")
    assert call(capsys, "fetch", "--dataset", "birds")[0] == 0
    assert server.ranges("/birds") == ["", "bytes=9-"]


def test_files_that_are_there_and_yet_not_the_dataset(capsys, server, monkeypatch):
    """The files are as declared, but the dataset's own inspection finds something missing."""
    declare("birds", Source("pictures.zip", (server.add("/birds", PICTURES),), unpack="."))
    verdict = Status("birds", "incomplete", ("pictures/c",), 9, "look again")
    monkeypatch.setattr(fetchable, "inspect_dataset", lambda _name, _settings: verdict)
    status, out, err = call(capsys, "fetch", "--dataset", "birds")
    assert status == 1
    assert "all files are there, but pictures/c. To unpack them again: sslbench fetch --again" in err
    assert out == "not complete: dataset birds\n"


def test_files_that_came_another_way_count(capsys, server, monkeypatch, no_sockets):
    """A dataset that its own inspection finds complete is not fetched, whatever the sources say."""
    declare("birds", Source("pictures.zip", (f"{server.root}/x",), unpack="."))
    verdict = Status("birds", "ready", bytes=9)
    monkeypatch.setattr(fetchable, "inspect_dataset", lambda _name, _settings: verdict)
    assert call(capsys, "fetch", "--dataset", "birds") == (0, "dataset birds: ready\n", "")


@pytest.fixture
def nets(server, monkeypatch) -> Path:
    """A backbone with an alternative, one of two files, and where the files go."""
    choices = {
        "simple": (
            (Source("simple.zip", (f"{server.root}/gone",)),),
            (Source("simple.pth", (server.add("/simple.pth", b"weights"),)),),
        ),
        "double": (
            (
                Source("double.index", (server.add("/index", b"index"),)),
                Source("double.data", (server.add("/data", b"data"),)),
            ),
        ),
    }
    monkeypatch.setattr(fetchable, "choices_of_backbones", lambda: choices)
    return Path("cache/checkpoints/files")


def test_backbones_are_fetched_into_the_cache_and_alternatives_are_tried(capsys, server, nets):
    status, out, err = call(capsys, "fetch", "--backbone", "*", "--cache", "cache")
    assert status == 0
    assert out.splitlines() == [f"backbone simple: ready in {nets}", f"backbone double: ready in {nets}"]
    assert "/gone: HTTP 404" in err
    assert {path.name for path in nets.iterdir() if path.suffix != ".sha256" and path.name[0] != "."} == {
        *("simple.pth", "double.index", "double.data")
    }
    status, out, _ = call(capsys, "fetch", "--backbone", "simple", "--cache", "cache")
    assert (status, out) == (0, "backbone simple: ready\n")


def test_a_backbone_of_which_no_file_can_be_had(capsys, server, nets):
    del server.resources["/simple.pth"]
    status, _, err = call(capsys, "fetch", "--backbone", "simple", "--cache", "cache")
    assert status == 1
    assert "simple.zip could not be fetched:" in err
    assert "simple.pth could not be fetched:" in err
    status, out, _ = call(capsys, "fetch", "--backbone", "simple", "--cache", "cache", "--dry-run")
    assert status == 0
    assert f"  or else simple.pth, size unknown, from {server.root}/simple.pth" in out.splitlines()


def test_convert_prints_where_the_converted_file_is(capsys, monkeypatch, tmp_path):
    seen = []

    def convert(path, name, settings):
        seen.append((path, name, settings.cache_dir))
        return tmp_path / "net.safetensors"

    monkeypatch.setattr(fetchable, "convert_checkpoint", convert)
    status, out, _ = call(capsys, "convert", "net.pth", "--as", "net", "--cache", "cache")
    assert (status, out) == (0, f"{tmp_path / 'net.safetensors'}\n")
    assert seen == [(Path("net.pth"), "net", Path("cache"))]


def test_convert_as_an_unknown_name(capsys, tmp_path):
    tmp_path.joinpath("net.pth").write_bytes(b"")
    status, _, err = call(capsys, "convert", "net.pth", "--as", "nobody")
    assert status == 2
    assert "unknown checkpoint 'nobody'" in err


def test_doctor_shows_each_dataset_with_what_is_missing_and_how_to_get_it(capsys, server, moths, tmp_path):
    declare("birds", Source("pictures.zip", (server.add("/birds", PICTURES),), unpack="."))

    def told() -> dict[str, str]:
        status, out, _ = call(capsys, "doctor", "--data", "data")
        assert status == 0
        lines = [line.removeprefix("dataset").strip() for line in out.splitlines() if line.startswith("dataset")]
        return dict(line.split(": ", 1) for line in lines)

    first = told()
    assert first["digits"].startswith("ready, scikit-learn")
    assert first["birds"] == "absent, size unknown. `sslbench fetch --dataset birds` gets pictures.zip"
    by_hand = f"By hand, into moths-files below the data directory: {STEPS}"
    total = len(PICTURES) + len(b"labels")
    assert (
        first["moths"] == f"manual, {total} bytes to get. `sslbench fetch --dataset moths` gets pictures.zip. {by_hand}"
    )
    call(capsys, "fetch", "--dataset", "birds,moths")
    size = size_text(len(PICTURES))
    second = told()
    assert second["birds"] == f"ready, {size}, https://example.org"
    assert second["moths"].startswith(f"incomplete, {size}: labels.mat. `sslbench fetch --dataset moths`")
    (tmp_path / "data/moths-files/labels.mat").write_bytes(b"labels")
    assert told()["moths"].startswith("ready, ")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "size unknown"),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (345_236_087, "345.2 MB"),
        (37 * 10**9, "37.0 GB"),
    ],
)
def test_sizes(size, text):
    assert size_text(size) == text
