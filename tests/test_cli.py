"""The command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from sslbench.backbones.options import Options
from sslbench.backbones.python_source import wrap
from sslbench.cli import main
from sslbench.config import Settings
from sslbench.results.ranks import ranking, ranking_lines
from sslbench.results.record import Record
from sslbench.results.runs import Run, write_baseline
from sslbench.results.tables import terminal_table
from sslbench.runner import Case, Runner
from sslbench.tasks import parse_task


class Blocks(nn.Module):
    """Means of blocks of `size` pixels."""

    input_size = 8

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images):
        return nn.functional.avg_pool2d(images, self.size).flatten(1)


def make_run(
    cache: Path, directory: Path, backbones: dict[str, int], tasks=("knn/digits", "fewshot/digits/5shot")
) -> Run:
    run = Run(directory)
    runner = Runner(Settings(cache_dir=cache, device="cpu"), run)
    for name, size in backbones.items():
        runner.add_backbone(wrap(name, Blocks(size), Options(name, {}), recipe=f"blocks:{size}"))
        for task in tasks:
            runner.prepare(Case(name, parse_task(task))).execute()
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three runs (`fine`, `coarse` of equal names, `both`) and their cache; not to be written to."""
    place = tmp_path_factory.mktemp("cli")
    make_run(place / "cache", place / "results/fine", {"net": 2})
    make_run(place / "cache", place / "results/coarse", {"net": 4})
    make_run(place / "cache", place / "results/both", {"fine": 2, "coarse": 4})
    return place


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SSLBENCH_CACHE", "SSLBENCH_RESULTS", "SSLBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "included"),
    [
        (["backbones"], ["random-init", "pixels", "colour-histogram", "zoo:simclr"]),
        (["backbones", "p*"], ["pixels"]),
        (["datasets"], ["digits", "world-shape"]),
        (["datasets", "world-*"], ["world-colour", "world-objects"]),
        (["tasks"], ["linear/digits", "knn/world-count", "fewshot/world-objects/20shot"]),
        (["tasks", "knn/w*"], ["knn/world-shape"]),
        (["suites"], ["embedded"]),
    ],
)
def test_list(capsys, arguments, included):
    status, out, err = call(capsys, "list", *arguments)
    assert (status, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()]
    assert set(included) <= set(names)
    assert len(names) == len(set(names))
    if len(arguments) > 1:
        assert all(name.startswith(arguments[1].partition("*")[0]) for name in names)


def test_list_datasets_tells_classes_metric_licence_and_what_it_is(capsys):
    (line,) = call(capsys, "list", "datasets", "digits")[1].splitlines()
    for part in ("digits", "10 classes", "top1", "CC BY 4.0", "handwritten digits"):
        assert part in line


def test_list_datasets_tells_the_kind_of_targets(capsys):
    lines = {line.split()[0]: line for line in call(capsys, "list", "datasets")[1].splitlines()}
    for name, kind in (
        ("digits", "10 classes  one class an image "),
        ("voc2007", "20 classes  several classes an image "),
        ("world-boxes", "8 classes  boxes "),
        ("world-masks", "9 classes  masks "),
        ("world-normals", "- classes  surface normals "),
        ("world-depth", "- classes  depth "),
    ):
        assert kind in lines[name]


def test_list_suites_counts_tasks(capsys):
    lines = {line.split()[0]: line for line in call(capsys, "list", "suites")[1].splitlines()}
    assert list(lines) == ["embedded", "paper", "paper-analyses", "paper-shots"]
    for name, count in (("embedded", 23), ("paper", 40), ("paper-analyses", 30), ("paper-shots", 25)):
        assert f" {count} tasks" in lines[name]


def test_list_timm_models(capsys):
    status, out, _ = call(capsys, "list", "backbones", "resnet18*", "--timm")
    assert status == 0
    assert "resnet18.a1_in1k" in out.splitlines()
    # A glob that only timm answers needs no --timm.
    assert call(capsys, "list", "backbones", "resnet18*")[1] == out


@pytest.mark.parametrize("what", ["backbones", "datasets", "tasks", "suites"])
def test_list_without_a_match(capsys, what):
    status, out, err = call(capsys, "list", what, "zzz*")
    assert (status, out) == (2, "")
    assert err == f"sslbench: no {what} match 'zzz*'\n"


@pytest.mark.parametrize("arguments", [[], ["lost"], ["list"], ["list", "cats"], ["cache"], ["compare", "one"]])
def test_a_wrong_call_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 2
    assert "usage: sslbench" in capsys.readouterr().err


def test_report_writes_the_tables_of_a_run_and_the_same_bytes_again(capsys, place, tmp_path):
    run = make_run(place / "cache", tmp_path / "results/mine", {"net": 2})
    status, out, _ = call(capsys, "report", "mine")
    assert status == 0
    paths = [Path(line) for line in out.splitlines()[-3:]]
    assert [path.name for path in paths] == ["summary.csv", "summary.md", "report.html"]
    first = [path.read_bytes() for path in paths]
    score = run.records()[1].main.value
    assert f"{score:.1f}" in first[1].decode()
    assert b"net" in first[2]
    for given in ((tmp_path / "results/mine",), ("mine", "--results", tmp_path / "results"), ()):
        for path in paths:
            path.unlink()
        assert call(capsys, "report", *given)[0] == 0
        assert [path.read_bytes() for path in paths] == first


def test_report_has_pictures_of_mistakes_unless_they_are_not_wanted(capsys, place, tmp_path):
    make_run(place / "cache", tmp_path / "results/mine", {"net": 8}, ["knn/digits"])
    page = tmp_path / "results/mine/report.html"
    assert call(capsys, "report", "mine")[0] == 0
    shown = page.read_text()
    # Eight mistakes, and of six decisions the picture and the five nearest.
    assert shown.count("<img") == 8 + 6 * 6 and "What is taken for what" in shown
    assert call(capsys, "report", "mine", "--no-pictures")[0] == 0
    assert "<img" not in page.read_text() and "What is taken for what" in page.read_text()


def test_report_prints_the_table_and_the_ranking_in_the_width_of_the_terminal(capsys, place, monkeypatch):
    records = Run(place / "results/both").records()
    for width in (100, 40):
        monkeypatch.setenv("COLUMNS", str(width))
        out = call(capsys, "report", "both", "--results", place / "results")[1]
        expected = [*terminal_table(records, width), *ranking_lines(ranking(records)), ""]
        assert out.splitlines()[:-3] == expected
        assert f"{records[0].main.value:.1f}±" in out and "rank   mean  backbone" in out
    assert terminal_table(records, 100) != terminal_table(records, 40)


def test_report_takes_the_latest_run(capsys, place, tmp_path):
    for name in ("old", "new"):
        make_run(place / "cache", tmp_path / "results" / name, {name: 2}, ["knn/digits"])
    os.utime(tmp_path / "results/old/records", (1, 1))
    status, out, _ = call(capsys, "report")
    assert status == 0
    assert all("/new/" in line for line in out.splitlines()[-3:])
    os.utime(tmp_path / "results/new/records", (0, 0))
    assert all("/old/" in line for line in call(capsys, "report")[1].splitlines()[-3:])


def test_report_leaves_a_damaged_record_out(capsys, place, tmp_path):
    run = make_run(place / "cache", tmp_path / "results/mine", {"fine": 2, "coarse": 4}, ["knn/digits"])
    run.record_path("coarse|knn/digits").write_text("{")
    with pytest.warns(UserWarning, match="damaged record .*coarse"):
        assert call(capsys, "report", "mine")[0] == 0
    text = (run.directory / "summary.csv").read_text()
    assert "fine" in text
    assert "coarse" not in text


def test_report_without_a_run(capsys, tmp_path):
    status, _, err = call(capsys, "report")
    assert status == 2
    assert f"no run below {tmp_path / 'results'}; run `pytest benchmarks` first" in err
    status, _, err = call(capsys, "report", "lost")
    assert status == 2
    assert "no run at lost or results/lost" in err
    (tmp_path / "results/empty/records").mkdir(parents=True)
    status, _, err = call(capsys, "report", "empty")
    assert status == 2
    assert "holds no usable record" in err


def test_compare_two_runs_item_by_item(capsys, place):
    status, out, _ = call(capsys, "compare", "coarse", "fine", "--results", place / "results")
    assert status == 0
    new, base = ({r.task["id"]: r for r in Run(place / "results" / name).records()} for name in ("coarse", "fine"))
    assert [block.splitlines()[0] for block in out.split("\n\n")[:2]] == [
        "fewshot/digits/5shot: net against net",
        "knn/digits: net against net",
    ]
    for task, test in (("fewshot/digits/5shot", "paired-t"), ("knn/digits", "mcnemar-exact")):
        block = next(block for block in out.split("\n\n") if block.startswith(task))
        assert f"difference {new[task].main.value - base[task].main.value:+.2f} points, 95 % interval [" in block
        assert "p = " in block
        assert test in block
        # What differs between the two recipes, and nothing that does not.
        digests = (new[task].backbone["digest"], base[task].backbone["digest"])
        assert f"    backbone.digest: {digests[0]} | {digests[1]}" in block.splitlines()
        assert "environment" not in block
        assert "preprocessing" not in block
    assert "Holm-adjusted over the 2 paired case(s)" in out


def test_compare_another_score(capsys, place):
    arguments = ("compare", "coarse", "fine", "--results", place / "results", "--score")
    status, out, _ = call(capsys, *arguments, "ece")
    new, base = (
        {r.task["id"]: r for r in Run(place / "results" / name).records()}["knn/digits"] for name in ("coarse", "fine")
    )
    difference = new.scores["ece"]["value"] - base.scores["ece"]["value"]
    assert status == 0
    assert f"difference {difference:+.2f} points, 95 % interval [" in out
    assert "lower is better" in out and "paired-resamples" in out and "ece_temperatures" not in out
    assert "without ece on one side: net|fewshot/digits/5shot" in out
    status, _, err = call(capsys, *arguments, "ecee")
    assert status == 2
    assert "no case has the score 'ecee' on both sides; they share accuracy, ace, brier, ece," in err
    assert "; did you mean 'ece'?" in err


def test_compare_as_a_page_too(capsys, place, tmp_path):
    arguments = ("compare", "coarse", "fine", "--results", place / "results")
    plain = call(capsys, *arguments)[1]
    status, out, _ = call(capsys, *arguments, "--html", "pages/coarse.html")
    assert (status, out) == (0, plain + "pages/coarse.html\n")
    page = (tmp_path / "pages/coarse.html").read_text()
    assert "<title>coarse against fine</title>" in page and "backbone.digest" in page
    status, out, err = call(capsys, *arguments, "--html", place)
    assert status == 2 and err.startswith("sslbench: ")


def test_compare_a_run_with_itself(capsys, place):
    status, out, _ = call(capsys, "compare", "fine", place / "results/fine", "--results", place / "results")
    assert status == 0
    assert out.count("the recipes are equal") == 2
    assert out.count("difference +0.00 points") == 2


def test_compare_records_and_baselines(capsys, place, tmp_path):
    run = Run(place / "results/both")
    record = run.record_path("fine|knn/digits")
    coarse = [r for r in run.records() if r.backbone["name"] == "coarse"]
    write_baseline(coarse, tmp_path / "base.json")
    status, out, _ = call(capsys, "compare", record, "base.json")
    assert status == 0
    assert "knn/digits: fine against coarse" in out
    assert "only in base: coarse|fewshot/digits/5shot" in out


def test_compare_shows_a_differing_environment(capsys, place, tmp_path):
    records = Run(place / "results/fine").records()
    changed = [Record.from_json({**r.to_json(), "environment": {**r.environment, "cpu": "abacus"}}) for r in records]
    write_baseline(changed, tmp_path / "base.json")
    out = call(capsys, "compare", "base.json", place / "results/fine")[1]
    assert f"    environment.cpu: abacus | {records[0].environment['cpu']}" in out.splitlines()


def test_compare_what_is_not_there_or_shares_nothing(capsys, place, tmp_path):
    status, _, err = call(capsys, "compare", "lost", "fine", "--results", place / "results")
    assert status == 2
    assert "'lost' is neither a record, a baseline file, nor a run directory" in err
    one, two = (
        [r for r in Run(place / "results/fine").records() if r.task["protocol"] == name] for name in ("knn", "fewshot")
    )
    write_baseline(one, tmp_path / "one.json")
    write_baseline(two, tmp_path / "two.json")
    status, _, err = call(capsys, "compare", "one.json", "two.json")
    assert status == 2
    assert "expected runs that share a case, got new: net|knn/digits; base: net|fewshot/digits/5shot" in err


def test_compare_a_damaged_file(capsys, place, tmp_path):
    (tmp_path / "bad.json").write_text("[{")
    status, _, err = call(capsys, "compare", "bad.json", place / "results/fine")
    assert status == 2
    assert "bad.json" in err


@pytest.fixture
def cache(place, tmp_path) -> Path:
    make_run(tmp_path / "cache", tmp_path / "results/any", {"net": 2}, ["fewshot/digits/5shot"])
    return tmp_path / "cache"


def damage(cache: Path) -> Path:
    path = sorted(cache.rglob("*.safetensors"))[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path


def test_cache_ls(capsys, cache):
    status, out, _ = call(capsys, "cache", "--cache", cache, "ls")
    assert status == 0
    *rows, total = out.splitlines()
    assert len(rows) == 3
    assert all("float32 digits:" in row for row in rows)
    assert total.startswith("total ")
    assert str(cache) in total


def test_cache_ls_of_an_unreadable_file(capsys, cache):
    path = sorted(cache.rglob("*.safetensors"))[0]
    path.write_bytes(b"short")
    out = call(capsys, "cache", "--cache", cache, "ls")[1]
    (row,) = [line for line in out.splitlines() if "DAMAGED" in line]
    assert row.startswith(path.stem)


def test_cache_verify_and_prune(capsys, cache):
    assert call(capsys, "cache", "--cache", cache, "verify")[:2] == (0, "0 of 3 files damaged\n")
    path = damage(cache)
    status, out, _ = call(capsys, "cache", "--cache", cache, "verify")
    assert status == 1
    assert f"damaged cache file {path}: its checksum does not match its content" in out
    assert out.endswith("1 of 3 files damaged\n")
    assert call(capsys, "cache", "--cache", cache, "prune")[:2] == (0, "removed 1 files\n")
    assert not path.exists()
    assert len(list(cache.rglob("*.safetensors"))) == 2
    assert call(capsys, "cache", "--cache", cache, "verify")[:2] == (0, "0 of 2 files damaged\n")


def test_cache_prune_by_age(capsys, cache):
    old, *rest = sorted(cache.rglob("*.safetensors"))
    os.utime(old, (0, 0))
    assert call(capsys, "cache", "--cache", cache, "prune", "--older-than", "30")[:2] == (0, "removed 1 files\n")
    assert sorted(cache.rglob("*.safetensors")) == rest
    assert call(capsys, "cache", "--cache", cache, "prune", "--all")[:2] == (0, "removed 2 files\n")
    assert list(cache.rglob("*.safetensors")) == []


def test_cache_of_the_environment(capsys, cache, monkeypatch):
    monkeypatch.setenv("SSLBENCH_CACHE", str(cache))
    assert call(capsys, "cache", "verify")[1] == "0 of 3 files damaged\n"


def test_cache_that_is_not_there(capsys, tmp_path):
    for action in ("ls", "verify", "prune"):
        assert call(capsys, "cache", "--cache", tmp_path / "none", action)[0] == 0


def test_doctor(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "cache"))
    status, out, _ = call(capsys, "doctor")
    assert status == 0
    told = {line[:14].strip(): line[14:].strip() for line in out.splitlines()}
    import torch

    assert told["torch"] == torch.__version__.partition("+")[0] or told["torch"] == torch.__version__
    assert told["device"].startswith(("cpu", "cuda"))
    assert "usable of" in told["threads"]
    assert str(tmp_path / "cache") in told["cache"]
    assert str(tmp_path / "results") in told["results"]
    assert "absent" in told["data"]
    assert "digits: ready" in out


def test_doctor_finds_a_cache_that_cannot_be_written(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "file"))
    status, out, _ = call(capsys, "doctor")
    assert status == 1
    assert "PROBLEM" in out


def test_the_installed_command(tmp_path):
    """`sslbench` is on the path, and listing loads neither torch nor timm."""
    command = Path(sys.executable).parent / "sslbench"
    done = subprocess.run([command, "list", "tasks", "knn/*"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "knn/digits" in done.stdout.splitlines()
    code = (
        "import sys; from sslbench.cli import main; main(['list', 'tasks']); main(['list', 'backbones']);"
        "print({'torch', 'timm', 'pytest'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("module", ["sslbench", "sslbench.cli"])
def test_the_package_is_a_command(module, tmp_path):
    command = [sys.executable, "-m", module, "list", "tasks", "knn/digits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "knn/digits\n"


def test_what_the_system_refuses_is_a_line(capsys, place, tmp_path):
    make_run(place / "cache", tmp_path / "results/mine", {"net": 2}, ["knn/digits"])
    (tmp_path / "results/mine/summary.csv").mkdir()
    status, _, err = call(capsys, "report", "mine")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("sslbench: [Errno")
    assert "summary.csv" in err


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    code = "from sslbench.cli import main; import sys; sys.exit(main(['list', 'tasks']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_records_on_disk_are_plain_json(place):
    for path in (place / "results/fine/records").glob("*.json"):
        assert Record.from_json(json.loads(path.read_text())).backbone["name"] == "net"
