"""A gallery of maps: which pictures, what is on them, as HTML and as PNG."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sslbench.errors import RecordError, SettingsError
from sslbench.metrics.dense_kept import DenseSamples, KeptMaps
from sslbench.results.gallery import write_gallery
from sslbench.results.gallery_colours import STRIPES, class_colours
from sslbench.results.gallery_frame import GAP
from sslbench.results.gallery_maps import MAP_SIDE, choose_maps
from sslbench.results.runs import Run
from sslbench.results.shown import read_shown
from tests.report.pages import Page
from tests.results.map_records import CLASSES, IGNORE, ROWS, SIZES, made, register, write


@pytest.fixture
def dataset(tmp_path, registries):
    return register(tmp_path / "pictures")


@pytest.fixture
def show(tmp_path, dataset):
    """Write a gallery of a kind of maps; the record, the samples, the gallery and its file."""

    def write_one(kind: str, name: str, change=lambda samples: samples, **options):
        run = Run(tmp_path / "run")
        record = write(run, dataset.fingerprint, kind)
        samples = change(read_shown(record, run.directory / "records"))
        return record, samples, write_gallery(record, samples, tmp_path / name, **options), tmp_path / name

    return write_one


def samples_of(figures: list[float], kept: set[int], kind: str = "masks") -> DenseSamples:
    one = np.zeros((2, 2), np.uint8)
    maps = tuple(KeptMaps(place, (2, 2), one, one) for place in sorted(kept))
    return DenseSamples(kind, ("a",), np.arange(len(figures)), np.array(figures, np.float32), maps)


def chosen(samples: DenseSamples, count: int) -> list[list[int]]:
    choice = choose_maps(samples, count)
    return [[one.place for one in part] for part in (choice.worst, choice.middle, choice.best)]


def test_the_worst_the_best_and_those_around_the_median():
    figures = [50.0, np.nan, 10, 90, 40, 70, 10, 60, 95, 30]
    every = set(range(10)) - {1}
    assert chosen(samples_of(figures, every), 2) == [[2, 6], [4, 0], [8, 3]]
    assert chosen(samples_of(figures, every), 9) == [[2, 6, 9], [4, 0, 7], [8, 3, 5]]
    # Where less is good.
    assert chosen(samples_of(figures, every, "depth"), 2) == [[8, 3], [0, 4], [2, 6]]
    assert choose_maps(samples_of(figures, every), 1).judged == 9


def test_no_picture_is_called_among_the_worst_beyond_one_that_was_not_kept():
    figures = [float(figure) for figure in range(12)]
    worst, middle, best = chosen(samples_of(figures, {0, 2, 5, 6, 10, 11}), 4)
    assert (worst, best) == ([0], [11, 10])
    assert middle == [2, 5, 6]


@pytest.mark.parametrize(
    ("figures", "expected"), [([5.0], [[0], [], []]), ([5.0, 7], [[0], [], [1]]), ([5.0, 7, 6], [[0], [2], [1]])]
)
def test_few_pictures(figures, expected):
    assert chosen(samples_of(figures, set(range(len(figures)))), 12) == expected


def test_nothing_that_counts():
    with pytest.raises(RecordError, match="no test picture has a pixel that counts"):
        choose_maps(samples_of([np.nan] * 3, set()), 3)


def test_the_page_says_all_in_words(show):
    _, _, gallery, path = show("masks", "page.html", count=2)
    assert [panel.row for panel in (*gallery.worst, *gallery.middle, *gallery.best)] == [8, 7, 4, 3, 5, 1]
    page = Page(path.read_text())
    assert not page.all("script")
    assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    alt = [attributes["alt"] for attributes in page.all("img")]
    assert len(alt) == 18 and alt[0] == "Test picture in row 8."
    assert alt[1] == "Truth: floor 53 %, wall & <b> 40 %, lamp 6 %."
    assert alt[-1].startswith("Prediction: floor 48 %")
    text = [told for _, told in page.text]
    for told in (
        "floor",
        "wall & <b>",
        "lamp",
        "does not count",
        "Truth",
        "Prediction",
        "row 5: mean_iou 100.0",
        "nothing wrong",
    ):
        assert told in text
    assert "never" not in text
    assert any(told.endswith("% wrong, most of it floor taken for wall & <b>") for told in text)
    assert any("2 of the worst, 2 around the median and 2 of the best of 8 test pictures" in told for told in text)
    assert [told for tag, told in page.text if tag == "h2"] == [
        "Worst, the lowest mean_iou first", "Around the median mean_iou", "Best, the highest mean_iou first",
    ]  # fmt: skip
    assert any(re.match(r"mean_iou \d+\.\d ± \d+\.\d, pixel_accuracy \d", told) for told in text)


def test_masks_are_drawn_as_they_are(show):
    _, _, _, path = show("masks", "page.html", count=1)
    found = re.findall(r'data:image/(\w+);base64,([^"]+)"', path.read_text())
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for _, data in found]
    # Row 8 is the worst, of 64 x 64 pixels, which grow by the whole factor 3.
    truth, predicted = made("masks", 8)
    assert found[1][0] == found[2][0] == "png" and pictures[1].shape == (192, 192, 3)
    colours = class_colours()
    large_truth, large_predicted = (np.kron(part, np.ones((3, 3), int)) for part in (truth, predicted))
    np.testing.assert_array_equal(pictures[2], colours[large_predicted])
    counted = large_truth != IGNORE
    np.testing.assert_array_equal(pictures[1][counted], colours[large_truth[counted]])
    assert {tuple(pixel) for pixel in pictures[1][~counted].tolist()} == set(STRIPES)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("normals", ["to the right", "upwards", "towards the camera", "no true normal", "row 5: mean_angle 0.0 degrees",
                     "half of the angles up to 0, nine tenths up to 90 degrees", "Worst, the highest mean_angle first"]),
        ("depth", ["no true depth", "row 5: rmse 0.000 m", "true 1.1 to 8.0 m, predicted 1.1 to 12.0 m",
                   "near to far, from the least to the largest true depth of each picture"]),
    ],
)  # fmt: skip
def test_normals_and_depth(show, kind, told):
    _, _, gallery, path = show(kind, "page.html")
    text = [part for _, part in Page(path.read_text()).text]
    assert not set(told) - set(text)
    assert [panel.row for panel in gallery.worst] == [8, 7, 6] and gallery.best[0].row == 5


@pytest.mark.parametrize("kind", ["masks", "normals", "depth"])
def test_the_png_has_three_pictures_side_by_side(show, kind):
    _, _, gallery, path = show(kind, "all.png", count=2)
    canvas = np.asarray(Image.open(path).convert("RGB"))
    frames = gallery.worst[0].frames
    assert [frame.size for frame in frames] == [(192, 192)] * 3
    # The prediction is drawn whole, to the right of the truth, which is to the right of the picture.
    exact = [np.asarray(frame.picture) for frame in frames[1:]]
    top = next(
        y for y in range(len(canvas)) if (canvas[y : y + 192, 28 + 200 : 28 + 392].shape == exact[0].shape)
        and (canvas[y : y + 192, 28 + 192 + GAP : 28 + 384 + GAP] == exact[0]).all()
    )  # fmt: skip
    left = 28 + 2 * (192 + GAP)
    assert (canvas[top : top + 192, left : left + 192] == exact[1]).all()


def test_sizes(show):
    _, _, gallery, _ = show("masks", "a.html", count=9)
    for panel in (*gallery.worst, *gallery.middle, *gallery.best):
        wide, high = SIZES[panel.row]
        shown = panel.frames[0].size
        assert max(shown) in (MAP_SIDE, max(wide, high) * (MAP_SIDE // max(wide, high)))
        assert shown[0] / shown[1] == pytest.approx(wide / high, rel=0.02)
        assert {frame.size for frame in panel.frames} == {shown}
        assert [frame.title for frame in panel.frames] == ["Picture", "Truth", "Prediction"]
    assert sorted(panel.row for panel in (*gallery.worst, *gallery.middle, *gallery.best)) == ROWS.tolist()


def test_maps_have_no_threshold(show):
    with pytest.raises(SettingsError, match=r"threshold: expected none, since net\|segmentation/rooms/frozen has maps"):
        show("masks", "a.html", threshold=0.3)


def test_maps_of_other_pictures_are_refused(show):
    def wider(samples):
        return replace(samples, kept=tuple(replace(one, size=(one.size[0], 2 * one.size[1])) for one in samples.kept))

    with pytest.raises(
        RecordError,
        match=r"^net\|segm.*: its maps in test row 8 are of a picture of 128 x 64 pixels, but it has 64 x 64; run",
    ):
        show("masks", "a.html", wider)
    # Scored at half the size.
    show(
        "masks",
        "b.html",
        lambda samples: replace(
            samples, kept=tuple(replace(one, size=(one.size[0] // 2, one.size[1] // 2)) for one in samples.kept)
        ),
    )


def test_pictures_that_cannot_be_judged_are_told(show):
    def without(samples):
        figures = np.where(samples.rows == 2, np.nan, samples.figures)
        kept = tuple(one for one in samples.kept if samples.rows[one.place] != 2)
        return replace(samples, figures=figures, kept=kept)

    _, _, gallery, path = show("masks", "a.html", without)
    assert "Pictures without a pixel that counts have no mean_iou and are never shown: 1." in path.read_text()
    assert 2 not in [panel.row for panel in (*gallery.worst, *gallery.middle, *gallery.best)]


def test_names_are_text(show):
    attack = "</title><script>alert(1)</script>"
    _, _, _, path = show(
        "masks", "a.html", lambda samples: replace(samples, classes=(attack, '" onload="x', "$side", "d"))
    )
    page = Page(path.read_text())
    assert not page.all("script") and ("li", attack) in page.text
    assert all("onload" not in attributes for _, attributes in page.elements)


def test_many_classes_have_a_legend_of_those_shown(show):
    names = tuple(f"class {i}" for i in range(len(CLASSES)))
    _, _, gallery, _ = show("masks", "a.png", lambda samples: replace(samples, classes=names), count=1)
    assert [entry.text for entry in gallery.shown.legend] == [*names[:3], "does not count"]
