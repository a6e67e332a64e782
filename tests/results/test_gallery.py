from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.datasets import registry
from sslbench.errors import RecordError, SettingsError
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results import gallery_png
from sslbench.results.gallery import write_gallery
from sslbench.results.gallery_choice import choose
from sslbench.results.gallery_panel import COLOURS, LEGEND
from sslbench.results.runs import Run
from tests.metrics.detection_data import crowded, objects
from tests.report.pages import Page
from tests.results.detection_records import FOUND, PRECISIONS, SAMPLES, register, write


@pytest.fixture
def dataset(tmp_path, registries):
    return register(tmp_path / "pictures")


@pytest.fixture
def record(tmp_path, dataset):
    return write(Run(tmp_path / "run"), dataset.fingerprint)


def test_the_worst_and_the_best_are_chosen_with_more_objects_first():
    choice = choose(SAMPLES, 1)
    np.testing.assert_allclose(choice.precisions, PRECISIONS)
    assert (choice.worst.tolist(), choice.best.tolist(), choice.judged) == ([2], [0], 4)
    # Of four pictures, two are worse and two better; none is in both.
    assert (choose(SAMPLES, 9).worst.tolist(), choose(SAMPLES, 9).best.tolist()) == ([2, 0], [1, 3])


def test_the_choice_is_that_of_plain_sorting():
    found, truth = crowded(11, images=120)
    samples = DetectionSamples(found, truth, np.arange(120), np.full((120, 2), 20), ("a", "b", "c"))
    choice = choose(samples, 30)
    key = {
        i: (round(choice.precisions[i], 6), int(((truth.image == i) & ~truth.difficult).sum()))
        for i in range(120)
        if not np.isnan(choice.precisions[i])
    }
    assert choice.worst.tolist() == sorted(key, key=lambda i: (key[i][0], -key[i][1], i))[:30]
    assert choice.best.tolist() == sorted(key, key=lambda i: (-key[i][0], -key[i][1], i))[:30]
    assert len({key[i] for i in (*choice.worst, *choice.best)}) > 4


def test_without_an_object_that_counts_there_is_no_choice():
    with pytest.raises(RecordError, match="no test picture has an object that counts"):
        choose(replace(SAMPLES, truth=objects(5, [(0, 0, 1, 0, 0, 5, 5)])), 3)


def test_the_page_needs_nothing_and_says_all_in_words(record, tmp_path):
    path = tmp_path / "new" / "page.html"
    made = write_gallery(record, SAMPLES, path)
    assert [p.row for p in (*made.worst, *made.best)] == [3, 1, 2, 4]
    page = Page(path.read_text())
    assert not page.all("script")
    assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    assert all("href" not in attributes for _, attributes in page.elements)
    assert "default-src 'none'; img-src data:" in page.all("meta")[3]["content"]
    alt = [attributes["alt"] for attributes in page.all("img")]
    assert alt[0] == ("Test picture in row 3. dog & <b>, score .95: detection, wrong; dog & <b>: object, missed.")
    text = [told for _, told in page.text]
    for told in (*LEGEND.values(), "row 3: AP50 0.0", "0 of 1 found, 1 wrong", "missed dog & <b>"):
        assert told in text
    assert any("2 of the worst and 2 of the best of 4 test pictures" in told for told in text)
    assert any(told.endswith("no AP50 and are never shown: 1.") for told in text)
    assert any(told.startswith("AP ") and " ± " in told and "AP50 " in told for told in text)
    assert {attributes["class"] for attributes in page.all("g")} == COLOURS.keys()


def test_pictures_are_embedded_whole_when_small_and_reduced_when_large(record, tmp_path):
    write_gallery(record, SAMPLES, tmp_path / "page.html")
    found = re.findall(r'data:image/(\w+);base64,([^"]+)"', (tmp_path / "page.html").read_text())
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in found]
    assert [kind for kind, _ in found] == ["png", "jpeg", "png", "png"]
    assert [picture.size for picture in pictures] == [(250, 64), (720, 480), (64, 64), (64, 64)]
    assert pictures[0].getpixel((0, 0)) == (120, 90, 0) and pictures[2].getpixel((9, 9)) == (80, 90, 0)


def test_names_are_text(record, tmp_path):
    attack = "</title><script>alert(1)</script>"
    evil = replace(record, backbone={**record.backbone, "name": attack})
    classes = (attack, '" onload="x', "$side")
    write_gallery(evil, replace(SAMPLES, classes=classes), tmp_path / "page.html", threshold=0)
    page = Page((tmp_path / "page.html").read_text())
    assert not page.all("script")
    assert all("onload" not in attributes for _, attributes in page.elements)
    assert ("h1", f"{attack}, {record.task['id']}") in page.text


def test_the_png_has_all_panels_with_boxes_where_they_belong(record, tmp_path):
    path = tmp_path / "all.PNG"
    write_gallery(record, SAMPLES, path)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    colours = {kind: tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for kind, colour in COLOURS.items()}
    for kind, colour in colours.items():
        assert (picture == colour).all(axis=2).any(), kind
    # The picture of row 4, of one colour, is in the second line on the right; its box is green, from 10 to 20 times five.
    ys, xs = np.nonzero((picture == (160, 90, 0)).all(axis=2))
    left, top = xs.min(), ys.min()
    assert (xs.max() - left, ys.max() - top) == (319, 319)
    green = (picture[top : top + 320, left : left + 320] == colours["right"]).all(axis=2)
    # Below the label, which begins above the box.
    ys, xs = np.nonzero(green[55:])
    assert (xs.min(), xs.max(), 55 + ys.max()) == pytest.approx((49, 100, 100), abs=2)


def test_a_png_of_too_many_pictures_is_refused(record, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery_png, "_PIXELS", 100_000)
    with pytest.raises(
        SettingsError, match=r"would be \d+ x \d+ pixels; expected 100,000 at most: take a smaller count"
    ):
        write_gallery(record, SAMPLES, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_png_is_in_ascii():
    assert gallery_png.plain("Größe café ± 中") == "Gro?e cafe ? ?"


@pytest.mark.parametrize(
    ("path", "options", "told"),
    [
        ("a.pdf", {}, "expected a file that ends in .html or .png, got 'a.pdf'"),
        ("a", {}, "expected a file that ends in"),
        ("a.html", {"count": 0}, "count: expected a whole number of at least 1, got 0"),
        ("a.html", {"threshold": float("nan")}, "threshold: expected a finite score, got nan"),
    ],
)
def test_wrong_options(record, path, options, told):
    with pytest.raises(SettingsError, match=told):
        write_gallery(record, SAMPLES, Path(path), **options)


def test_other_data_than_were_scored_are_refused(record, tmp_path):
    other = register(tmp_path / "other", "other", shade=9)
    moved = replace(record, task={**record.task, "dataset": "other"})
    with pytest.raises(
        RecordError,
        match=rf"scored on other with fingerprint {record.task['fingerprint']}, but .* {other.fingerprint}; name",
    ):
        write_gallery(moved, SAMPLES, tmp_path / "a.html")
    lost = replace(record, task={**record.task, "dataset": "lost"})
    with pytest.raises(RecordError, match=r"the pictures of 'lost' cannot be shown: unknown dataset 'lost'.*conftest"):
        write_gallery(lost, SAMPLES, tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_boxes_of_other_pictures_are_refused(record, tmp_path):
    with pytest.raises(RecordError, match=r"in test row 3 are of a picture of 9 x 9 pixels, but it has 250 x 64"):
        write_gallery(record, replace(SAMPLES, sizes=np.full((5, 2), 9)), tmp_path / "a.html")
    with pytest.raises(RecordError, match=r"tell of rows 2 to 6, but the test split has 6"):
        write_gallery(record, replace(SAMPLES, rows=SAMPLES.rows + 1), tmp_path / "a.html")


def test_a_file_that_cannot_be_written(record, tmp_path):
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(RecordError, match=r"taken.html cannot be written: .*; choose another file"):
        write_gallery(record, SAMPLES, tmp_path / "taken.html")


def test_data_that_a_loose_run_took_are_read_loosely(record, tmp_path, monkeypatch):
    seen = []
    spec = registry.DATASETS["five"]
    loader = spec.loader
    object.__setattr__(spec, "loader", lambda settings: seen.append(settings) or loader(settings))
    loose = replace(record, task={**record.task, "details": {"complete": False}})
    write_gallery(loose, SAMPLES, tmp_path / "a.html", data_dir=tmp_path)
    write_gallery(record, SAMPLES, tmp_path / "a.html")
    assert [settings.check_data for settings in seen] == ["loose", "strict"]
    assert seen[0].data_dir == tmp_path


def test_nothing_found_at_all(record, tmp_path):
    nothing = replace(
        FOUND, image=FOUND.image[:0], boxes=FOUND.boxes[:0], labels=FOUND.labels[:0], scores=FOUND.scores[:0]
    )
    for name in ("a.html", "a.png"):
        made = write_gallery(record, replace(SAMPLES, found=nothing), tmp_path / name)
        assert {mark.kind for panel in (*made.worst, *made.best) for mark in panel.marks} == {"missed", "difficult"}


def test_one_picture_has_no_best(record, tmp_path):
    alone = replace(SAMPLES, truth=objects(5, [(2, 1, 0, 20, 20, 60, 60)]))
    made = write_gallery(record, alone, tmp_path / "a.png")
    assert (len(made.worst), len(made.best), len(made.parts)) == (1, 0, 1)
