"""What samples show in the sections of their cases, and which pictures of the data get into the page."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sslbench.config import Settings
from sslbench.datasets import load_dataset
from sslbench.report import samples as samples_module
from sslbench.report.explained import explained_part, overlay
from sslbench.report.samples import Look, Samples
from sslbench.report.thumbnails import BUDGET, FRAME_SIDE, NO_ROOM, SIDE, Thumbnails
from sslbench.report.write import write_report
from sslbench.results.runs import Run
from tests.report.pages import Page
from tests.results import detection_records, map_records
from tests.results.conftest import build


def pictures(text: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", Settings())


def write(run: Run, name: str, arrays, task: str = "knn/digits", fingerprint: str = "other"):
    record = build(name, task, fingerprint=fingerprint)
    record = replace(record, samples=run.write_samples(record.case, arrays))
    run.write(record)
    return record


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "mine")
    run.check_writable()
    return run


@pytest.fixture
def record(run, digits):
    """Of a classifier that takes the first two pictures of a 3 for an 8, the second with more confidence."""
    targets = np.asarray(digits.splits["test"].targets.values)
    decision = np.eye(10, dtype=np.float32)[targets]
    for lead, row in enumerate(np.flatnonzero(targets == 3)[:2]):
        decision[row, 8] = 2 + lead
    return write(run, "net", {"decision": decision, "targets": targets}, fingerprint=digits.fingerprint)


def test_the_worst_mistakes_are_the_pictures_of_the_data(run, record, digits):
    text = Samples(run.directory / "records", Look()).part(record)
    page = Page(text)
    rows = np.flatnonzero(np.asarray(digits.splits["test"].targets.values) == 3)[:2][::-1]
    assert [one["alt"] for one in page.all("img")] == [f"Test picture in row {row}: is 3, taken for 8" for row in rows]
    for shown, true in zip(pictures(text), digits.splits["test"].images.load(rows), strict=True):
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), true)
    assert {one["width"] for one in page.all("img")} == {"96"}
    assert ("h3", "What is taken for what") in page.text


def test_no_pictures_where_none_are_asked_for(run, record):
    for look in (None, Look(pictures=False)):
        text = Samples(run.directory / "records", look).part(record)
        assert "What is taken for what" in text and "<img" not in text
    write_report([record], run.directory)
    page = (run.directory / "report.html").read_text()
    assert "<img" not in page and "There are no pictures on this page" in page
    write_report([record], run.directory, look=Look())
    page = (run.directory / "report.html").read_text()
    assert page.count("<img") == 2 and "There are no pictures on this page" not in page
    Page(page)


def test_other_data_or_none_are_told_in_place_of_pictures(run, record):
    arrays = {"decision": np.eye(4)[[1, 2]], "targets": np.array([0, 2])}
    other = write(run, "other", arrays)
    told = Samples(run.directory / "records", Look()).part(other)
    assert "The pictures are not here" in told and "fingerprint other, but the data here have" in told
    strange = write(run, "strange", arrays, "knn/nobody-knows-it")
    assert "The pictures are not here" in Samples(run.directory / "records", Look()).part(strange)
    few = write(run, "few", arrays, fingerprint=record.task["fingerprint"])
    assert "the samples do not tell which" in Samples(run.directory / "records", Look()).part(few)
    right = write(run, "right", {"decision": np.eye(4), "targets": np.arange(4)})
    assert "No test picture is taken for another class" in Samples(run.directory / "records", None).part(right)


def test_samples_that_are_gone_or_damaged_cost_their_part_alone(run, record):
    (run.directory / "records" / record.samples["path"]).unlink()
    assert "its samples cannot be read" in Samples(run.directory / "records", Look()).part(record)
    odd = write(run, "odd", {"decision": np.eye(4), "targets": np.arange(3)})
    assert "expected decisions (N, K) of 3 targets" in Samples(run.directory / "records").part(odd)
    assert Samples(run.directory / "records").part(replace(odd, samples=None)) == ""


def test_a_data_set_is_loaded_once(run, record, monkeypatch):
    loaded = []
    real = samples_module.tested_dataset
    monkeypatch.setattr(samples_module, "tested_dataset", lambda *given: loaded.append(1) or real(*given))
    samples = Samples(run.directory / "records", Look())
    assert samples.part(record) == samples.part(record)
    assert len(loaded) == 1


def test_the_budgets_of_reading_of_matrices_and_of_pictures_hold(run, record, monkeypatch):
    monkeypatch.setattr(samples_module, "READ", 1)
    assert "Its samples were not read" in Samples(run.directory / "records").part(record)
    monkeypatch.undo()
    monkeypatch.setattr(samples_module, "MATRICES", 1)
    samples = Samples(run.directory / "records")
    assert "What is taken for what" in samples.part(record)
    assert "Most confused classes" in samples.part(record)
    full = Samples(run.directory / "records", Look(), Thumbnails(left=300))
    assert full.part(record).count("<img") == 1 and NO_ROOM in full.part(record)


def test_a_thumbnail_is_small_and_costs_what_it_is_long():
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 800, 3), dtype=np.uint8))
    thumbnails = Thumbnails()
    (shown,) = pictures(thumbnails.image(large, "a 'picture' <"))
    assert shown.size == (SIDE, SIDE // 2) and shown.format == "JPEG"
    assert BUDGET - 30_000 < thumbnails.left < BUDGET - 1_000
    (exact,) = pictures(thumbnails.image(large, "", exact=True))
    assert exact.format == "PNG"
    assert thumbnails.image(large, "<'\">").count("&lt;&#x27;&quot;&gt;") == 1
    (thin,) = pictures(thumbnails.image(large.resize((900, 2)), ""))
    assert thin.size == (SIDE, 1)


def test_boxes_lie_over_small_pictures(tmp_path, run, registries):
    dataset = detection_records.register(tmp_path / "pictures")
    record = detection_records.write(run, dataset.fingerprint)
    text = Samples(run.directory / "records", Look()).part(record)
    page = Page(text)
    assert [told for tag, told in page.text if tag == "h4"] == ["Worst", "Best"]
    shown = pictures(text)
    assert shown and all(max(one.size) <= FRAME_SIDE for one in shown)
    assert len(page.all("rect")) > len(shown) and ("li", "object, missed") in page.text
    assert Samples(run.directory / "records", Look(pictures=False)).part(record) == ""


def test_maps_stand_beside_small_pictures(tmp_path, run, registries):
    dataset = map_records.register(tmp_path / "pictures")
    record = map_records.write(run, dataset.fingerprint)
    text = Samples(run.directory / "records", Look()).part(record)
    shown = pictures(text)
    assert len(shown) % 3 == 0 and all(max(one.size) <= FRAME_SIDE for one in shown)
    assert text.count("<figure>") == len(shown) // 3


def test_reconstructions_and_attention_stand_beside_their_pictures(run):
    rng = np.random.default_rng(0)
    arrays = {
        "pictures": rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
        "reconstructions": rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
        "attention": rng.random((8, 32, 32)).astype(np.float32),
    }
    record = write(run, "net", arrays, "knn/digits")
    shown = pictures(Samples(run.directory / "records", Look()).part(record))
    assert len(shown) == 18
    np.testing.assert_array_equal(np.asarray(shown[0].convert("RGB")), arrays["pictures"][0])
    np.testing.assert_array_equal(np.asarray(shown[1].convert("RGB")), arrays["reconstructions"][0])
    assert Samples(run.directory / "records", None).part(record) == ""
    del arrays["reconstructions"]
    assert len(pictures(explained_part(arrays, Thumbnails()))) == 12
    # Pictures lie evenly in a split: the second of them is not its second.
    assert "<figcaption>Picture 2<span>" in explained_part(arrays, Thumbnails())
    text = explained_part({**arrays, "rows": np.arange(8) * 500}, Thumbnails())
    assert 'alt="Attention of picture in row 500"' in text and "<figcaption>Picture in row 500<span>" in text
    with pytest.raises(
        ValueError, match=r"expected attention \(8, 32, 32\) beside the pictures, got float32 \(7, 32, 32\)"
    ):
        explained_part({**arrays, "attention": arrays["attention"][:7]}, Thumbnails())


def test_attention_is_red_where_it_is_most_and_leaves_the_rest_grey():
    picture = np.full((2, 2, 3), 100, np.uint8)
    drawn = overlay(picture, np.array([[0.0, 0.5], [0.5, 1.0]]))
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert drawn[1, 1].tolist() == [185, 96, 25]
    assert overlay(picture, np.ones((2, 2))).tolist() == picture.tolist()
