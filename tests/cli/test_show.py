"""`sslbench show` on a run of hand-made detections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.cli import main
from sslbench.datasets import load_dataset
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.record import slug
from sslbench.results.runs import Run
from tests.conftest import Registries
from tests.metrics.detection_data import detections, objects
from tests.results import map_records
from tests.results.conftest import build
from tests.results.detection_records import register, write


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries) -> Run:
    """A run with detections on `five` and a record of another kind, below the results directory of the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSLBENCH_RESULTS", raising=False)
    dataset = register(tmp_path / "pictures")
    run = Run(Path("results/mine"))
    write(run, dataset.fingerprint)
    run.write(replace(build("net", "knn/digits"), samples=run.write_samples("other", {"targets": np.zeros(1)})))
    return run


CASE = "net|detection/five/frozen"


@pytest.mark.parametrize("name", [CASE, "net", "frozen", "record"])
def test_the_page_lies_beside_the_tables_of_the_run(capsys, run, name):
    given = run.record_path(CASE) if name == "record" else name
    status, out, err = call(capsys, "show", given)
    path = Path(f"results/mine/gallery-{slug(CASE)}.html")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"{CASE}: 2 of the worst and 2 of the best test pictures"
    assert Path(out.splitlines()[1]).samefile(path)
    assert "row 3: AP50 0.0" in path.read_text()


def test_options(capsys, run, tmp_path):
    target = tmp_path / "deep/one.png"
    status, out, _ = call(capsys, "show", "net", "--run", "mine", "--count", 1, "--threshold", 0.1, "--out", target)
    assert (status, out.splitlines()) == (0, [f"{CASE}: 1 of the worst and 1 of the best test pictures", str(target)])
    assert Image.open(target).width > 700
    call(capsys, "show", "net", "--threshold", 0.85, "--out", tmp_path / "few.html")
    assert "&lt; 0.85" in (tmp_path / "few.html").read_text()


def test_a_copied_record_is_shown_beside_itself_where_its_samples_are(capsys, run, tmp_path):
    for folder in ("copy", "samples"):
        (tmp_path / folder).mkdir()
    record = run.read(CASE)
    (tmp_path / "copy/one.json").write_bytes(run.record_path(CASE).read_bytes())
    samples = run.directory / "records" / record.samples["path"]
    (tmp_path / "samples" / samples.name).write_bytes(samples.read_bytes())
    assert call(capsys, "show", tmp_path / "copy/one.json")[0] == 0
    assert [path.suffix for path in (tmp_path / "copy").iterdir()].count(".html") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["knn"], f"net|knn/digits has neither detections nor maps; what can be shown there: {CASE}"),
        (["RECORD-OF-KNN"], f"net|knn/digits has neither detections nor maps; what can be shown there: {CASE}"),
        (["lost"], f"'lost' is no record file and no case of results/mine; what can be shown there: {CASE}"),
        (["net", "--run", "lost"], "no run at lost or results/lost; expected a directory that holds records/"),
        (["net", "--results", "nowhere"], "no run below "),
        (["net", "--count", "0"], "count: expected a whole number of at least 1, got 0"),
        (["net", "--out", "a.pdf"], "expected a file that ends in .html or .png, got 'a.pdf'"),
        (["net", "--out", "pictures/0.png/a.html"], "the gallery pictures/0.png/a.html cannot be written: "),
        (["pictures/0.png"], "damaged record pictures/0.png: "),
    ],
)
def test_one_clear_error(capsys, run, arguments, told):
    if arguments == ["RECORD-OF-KNN"]:
        arguments = [run.record_path("net|knn/digits")]
    status, out, err = call(capsys, "show", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"sslbench: {told}") and err.count("\n") == 1


def test_damaged_samples(capsys, run):
    path = run.directory / "records" / run.read(CASE).samples["path"]
    path.write_bytes(path.read_bytes() + b"x")
    status, _, err = call(capsys, "show", "net")
    assert status == 2 and "was changed; run the case again" in err and err.count("\n") == 1


def test_data_that_are_not_there(capsys, run, tmp_path):
    record = build("net", "detection/voc/frozen", main_score="AP")
    scores = dict.fromkeys(("AP", "AP50", "AP75"), record.scores["AP"])
    samples = run.read(CASE).samples
    run.write(replace(record, task={**record.task, "dataset": "voc"}, scores=scores, samples=samples))
    status, _, err = call(capsys, "show", "voc", "--data", tmp_path / "none")
    assert status == 2 and f"no files in {tmp_path / 'none'}" in err and err.count("\n") == 1


def test_pictures_of_the_rendered_world(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset("world-boxes")
    split = dataset.splits["test"]
    rows = np.array([5, 9])
    truth, found = [], []
    for place, row in enumerate(rows):
        there = split.targets.load(int(row))
        truth += [(place, label, 0, *box) for label, box in zip(there.labels, there.boxes, strict=True)]
        found += [(place, label, 0.9, *box) for label, box in zip(there.labels, there.boxes, strict=True) if place]
    samples = DetectionSamples(
        detections(found), objects(2, truth), rows, np.full((2, 2), split.images.load([0]).shape[1]), dataset.classes
    )
    run = Run(Path("results/embedded"))
    record = build("zoo:swav", "detection/world-boxes/frozen", main_score="AP", fingerprint=dataset.fingerprint)
    scores = dict.fromkeys(("AP", "AP50", "AP75"), record.scores["AP"])
    stored = run.write_samples(record.case, samples.to_arrays())
    run.write(replace(record, task={**record.task, "dataset": "world-boxes"}, scores=scores, samples=stored))
    status, out, _ = call(capsys, "show", "swav")
    assert status == 0
    page = Path(out.splitlines()[1]).read_text()
    assert page.index("row 5: AP50 0.0") < page.index("row 9: AP50 100.0")


def test_maps(capsys, tmp_path, monkeypatch, registries):
    monkeypatch.chdir(tmp_path)
    run = Run(Path("results/mine"))
    record = map_records.write(run, map_records.register(tmp_path / "rooms").fingerprint)
    run.write(build("net", "knn/digits"))
    status, out, err = call(capsys, "show", "segmentation", "--count", 1, "--out", "one.png")
    told = f"{record.case}: 1 of the worst, 1 around the median and 1 of the best test pictures"
    assert (status, err, out.splitlines()) == (0, "", [told, "one.png"])
    assert call(capsys, "show", run.record_path(record.case))[0] == 0
    assert (run.directory / f"gallery-{slug(record.case)}.html").is_file()
    status, _, err = call(capsys, "show", "segmentation", "--threshold", 0.5)
    assert status == 2 and err.startswith("sslbench: threshold: expected none, since") and err.count("\n") == 1
