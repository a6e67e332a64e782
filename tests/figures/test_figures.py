"""What the figures show, read from what is drawn, is what the scores are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import AxesImage

from sslbench.analyses import Item, Sheet
from sslbench.analyses.block import block
from sslbench.analyses.correlation import correlate
from sslbench.analyses.rank_tests import critical_difference, mean_ranks
from sslbench.analyses.sheet import Cell
from sslbench.analyses.wins import duels
from sslbench.errors import RecordError
from sslbench.figures import FIGURES, LeftOut, Source
from sslbench.figures.attention import overlaid
from sslbench.figures.correlations import shown_items
from sslbench.figures.pairwise import against
from sslbench.figures.ranks import setting_ranks
from sslbench.figures.settings import figure_settings, judged_items
from sslbench.figures.style import BLUE, GREY, ORANGE, style
from sslbench.metrics.calibration import reliability_table
from tests.figures.conftest import ODD_NAMES, check_inside, drawn, made_up, marks_of, panels, source, the_figure

SAMPLES = {"attention", "learning-curves", "reconstructions", "reliability"}
LEFT = {"baseline": SAMPLES, "study": SAMPLES | {"size", "speed"}}


@pytest.mark.parametrize("name", ["baseline", "study"])
@pytest.mark.parametrize("kind", sorted(FIGURES))
def test_every_figure_is_drawn_within_its_canvas_or_left_out_for_a_reason(name, kind):
    found = drawn(name, kind)
    assert isinstance(found, LeftOut) == (kind in LEFT[name])
    if isinstance(found, LeftOut):
        assert found.reason and not found.reason.endswith(".")
        return
    # Those of one kind are built alike: two tell what the others would.
    for figure in list(found.values())[:2]:
        check_inside(figure)


def test_transfer_has_the_studys_eight_settings_with_r_and_n():
    axes = panels(the_figure(drawn("study", "transfer")))
    # r as computed apart from this package from the published tables.
    expected = {
        "linear": 0.93, "finetune": 0.86, "fewshot/20shot": 0.83, "fewshot/20shot, cross-domain": 0.61, "detection/frozen": 0.79,
        "detection/finetune": 0.33, "normals": 0.43, "segmentation": 0.19,
    }  # fmt: skip
    assert len(axes) == len(expected)
    for (title, r), panel in zip(expected.items(), axes.values(), strict=True):
        (text,) = (text.get_text() for text in panel.texts)
        assert text.startswith(f"r = {r:.2f} [") and text.endswith("], n = 14"), title
        assert len(marks_of(panel)) == 14
        assert panel.get_xlabel() == "ImageNet top-1 (%)"
    assert (
        list(axes)[:3] == ["linear", "finetune", "fewshot/20shot"]
        and axes["normals"].get_ylabel() == "within_11.25 (%)"
    )


def test_points_are_log_odds_and_ticks_are_percent():
    sheet = source("study").sheet
    panel = panels(the_figure(drawn("study", "many-shot"), "linear"))["cars"]
    item = sheet.item("linear/cars")
    assert item is not None
    for (x, y), name in zip(marks_of(panel), sheet.backbones, strict=True):
        p, q = sheet.upstream[name] / 100, sheet.cells[name, item].value / 100
        assert (x, y) == pytest.approx((np.log(p / (1 - p)), np.log(q / (1 - q))))
    for place, label in zip(panel.get_yticks(), panel.get_yticklabels(), strict=True):
        assert 100 / (1 + np.exp(-place)) == pytest.approx(float(label.get_text()))
    assert len(panel.get_yticks()) >= 2


def test_errors_point_down_where_they_are_a_tasks():
    sheet = source("baseline").sheet
    item = sheet.item("normals/world-normals")
    assert item is not None
    panel = panels(the_figure(drawn("baseline", "size")))["normals"]
    assert panel.yaxis_inverted() and panel.get_ylabel() == "mean_angle (degrees)"
    expected = sorted((float(cell.record.backbone["params"]), cell.value) for cell in sheet.column(item).values())
    assert np.array(sorted(marks_of(panel))) == pytest.approx(np.array(expected))


def test_correlations_are_bars_of_r_and_rho_with_their_intervals():
    sheet = source("study").sheet
    figure = the_figure(drawn("study", "correlations"))
    expected = [correlate(sheet, item) for item in shown_items(sheet)]
    bars = {
        colour: sorted(
            (patch.get_height() for panel in figure.axes for patch in panel.patches if patch.get_facecolor() == rgb),
        )
        for colour, rgb in ((BLUE, (0, 0x72 / 255, 0xB2 / 255, 1)), (ORANGE, (0xE6 / 255, 0x9F / 255, 0, 1)))
    }
    assert bars[BLUE] == pytest.approx(sorted(one.pearson.value for one in expected))
    assert bars[ORANGE] == pytest.approx(sorted(one.spearman.value for one in expected))
    whiskers = {
        tuple(np.round(line.get_ydata(), 6))
        for panel in figure.axes
        for line in panel.lines
        if len(line.get_ydata()) == 2
    }
    assert {tuple(np.round(one.pearson.ci95, 6)) for one in expected} <= whiskers


def test_intervals_are_those_of_the_records_beside_guessing():
    sheet = source("baseline").sheet
    panel = panels(the_figure(drawn("baseline", "intervals"), "linear"))["world-shape"]
    item = sheet.item("linear/world-shape")
    assert item is not None
    column = sheet.column(item)
    assert sorted(x for x, _ in marks_of(panel)) == pytest.approx(sorted(cell.value for cell in column.values()))
    ends = sorted(tuple(line[:, 0]) for line in panel.collections[0].get_segments())
    assert ends == sorted(tuple(cell.record.scores["top1"]["ci95"]) for cell in column.values())
    assert panel.get_xlabel() == "top1 (%)"
    assert [line.get_xdata() for line in panel.lines if list(line.get_xdata()) == [12.5, 12.5]]
    grey = [line for line in panel.lines if len(line.get_xdata()) == 1 and line.get_markerfacecolor() == GREY]
    assert len(grey) == len(sheet.backbones) - len(sheet.trained)


def test_published_intervals_are_the_tables_own():
    panel = panels(the_figure(drawn("study", "intervals"), "fewshot/20shot"))["cars"]
    sheet = source("study").sheet
    item = sheet.item("fewshot/cars/20shot")
    assert item is not None
    widths = sorted(float(np.ptp(line[:, 0])) for line in panel.collections[0].get_segments())
    assert widths == pytest.approx(sorted(2 * 1.959964 * cell.stderr for cell in sheet.column(item).values()))


def test_the_radar_has_the_best_rank_at_the_rim():
    sheet = source("study").sheet
    ranks = setting_ranks(sheet)
    assert next(iter(ranks)) == "ImageNet top-1" and len(ranks) == 9
    # The radar has the mean error of normals, where figure 1 has the share within 11.25 degrees.
    item = sheet.item("normals/nyuv2")
    best = min(sheet.backbones, key=lambda name: sheet.cells[name, item].value)
    assert ranks["normals"][best] == 1 and ranks["ImageNet top-1"]["supervised"] == 1
    panel = panels(the_figure(drawn("study", "ranks")))["supervised"]
    (points,) = (line for line in panel.lines if line.get_marker() == "o")
    radii = np.hypot(points.get_xdata(), points.get_ydata())
    assert radii == pytest.approx([(15 - axis["supervised"]) / 14 for axis in ranks.values()])


def test_the_critical_difference_is_drawn_to_scale():
    sheet = source("study").sheet
    scores = block(sheet, judged_items(sheet))
    (panel,) = the_figure(drawn("study", "critical-difference")).axes
    size = critical_difference(14, len(scores.items))
    assert [float(np.ptp(line.get_xdata())) for line in panel.lines if line.get_linewidth() == 1.4] == pytest.approx(
        [size]
    )
    assert [x for x, _ in marks_of(panel)] == pytest.approx(list(mean_ranks(scores).values()))
    assert any(text.get_text().startswith(f"CD = {size:.2f}") for text in panel.texts)


@pytest.mark.parametrize("name", ["study", "baseline"])
def test_bars_are_the_longest_runs_of_mean_ranks_that_are_not_separated(name):
    sheet = source(name).sheet
    ranked = block(sheet, judged_items(sheet))
    means, size = list(mean_ranks(ranked).values()), critical_difference(len(ranked.backbones), len(ranked.items))
    runs = [(low, high) for low in means for high in means if low < high and high - low < size]
    longest = [a for a in runs if not any(b != a and b[0] <= a[0] and a[1] <= b[1] for b in runs)]
    (panel,) = the_figure(drawn(name, "critical-difference")).axes
    bars = [line.get_xdata() for line in panel.lines if line.get_linewidth() == 2.4]
    assert [(bar[0] + 0.04, bar[1] - 0.04) for bar in bars] == [pytest.approx(run) for run in sorted(longest)]


def test_pairs_are_counted_from_both_sides():
    sheet = source("baseline").sheet
    found = duels(sheet, (), sheet.backbones)
    for first, second in (("zoo:simclr", "zoo:mae"), ("pixels", "zoo:simclr")):
        wins, losses, tasks, gain = against(first, second, found)
        assert against(second, first, found) == (losses, wins, tasks, -gain)
    wins, losses, tasks, gain = against("zoo:simclr", "zoo:mae", found)
    texts = {text.get_text() for text in the_figure(drawn("baseline", "pairwise")).axes[0].texts}
    assert f"{wins}:{losses}\n{gain:+.1f}" in texts and wins + losses <= tasks == 21


def test_features_are_boxes_of_self_supervised_and_a_star():
    sheet = source("study").sheet
    axes = panels(the_figure(drawn("study", "feature-analysis")))
    panel = axes["Perceptual distance of inversions"]
    assert panel.get_ylabel() == "LPIPS"
    item = sheet.item("inversion/*", "lpips_vgg")
    values = {name: cell.value for name, cell in sheet.column(item).items()}
    stars = [y for line in panel.lines if line.get_marker() == "*" for y in line.get_ydata()]
    assert values["supervised"] in stars and len(stars) == 3
    median = np.median([value for name, value in values.items() if name != "supervised"])
    assert any(np.allclose(line.get_ydata(), median) for line in panel.lines if len(line.get_ydata()) == 2)
    assert axes["Colour error of inversions"].get_ylabel() == "MSE (levels²)"


def test_what_is_described_is_not_judged(pictures_run):
    sheet = pictures_run().sheet
    assert {item.task for item in sheet.main_items} > {"linear/digits", "inversion/pets", "occlusion/pets"}
    assert [item.task for item in judged_items(sheet)] == ["linear/digits"]
    assert list(figure_settings(sheet)) == ["linear"]


def test_means_of_a_runs_inversions_are_over_the_tasks_that_a_backbone_has():
    items = [Item(f"inversion/{name}", "lpips_vgg", True, "LPIPS", False) for name in ("a", "b")]
    cells = {("net", items[0]): Cell(0.4), ("net", items[1]): Cell(0.6), ("other", items[0]): Cell(0.1)}
    with style():
        found = FIGURES["feature-analysis"].draw(Source(Sheet("made up", cells)))
    (panel,) = the_figure(found).axes
    assert {float(y) for line in panel.lines for y in line.get_ydata()} == {0.5}


def test_speeds_of_two_machines_are_not_mixed():
    records = list(source("baseline").records)
    other = replace(records[0], environment={**records[0].environment, "cpu": "another processor"})
    found = FIGURES["speed"].draw(Source.of_records([other, *records[1:]]))
    assert isinstance(found, LeftOut) and "2 machines" in found.reason and "another processor" in found.reason


def test_pictures_of_samples(pictures_run):
    run = pictures_run()
    with style():
        grid = the_figure(FIGURES["reconstructions"].draw(run))
        attention = the_figure(FIGURES["attention"].draw(run))
        reliability = the_figure(FIGURES["reliability"].draw(run), "linear/digits")
    for figure in (grid, attention, reliability):
        check_inside(figure)
    (panel,) = grid.axes
    images = [child for child in panel.get_children() if isinstance(child, AxesImage)]
    # Two data sets with the two rows that all have, an original and three backbones each.
    assert len(images) == 2 * 2 * 4
    values = {int(image.get_extent()[0]): set() for image in images}
    for image in images:
        values[int(image.get_extent()[0])].add(int(np.asarray(image.get_array()).max()))
    assert values[0] == {0, 80} and {frozenset(values[column]) for column in (1, 2, 3)} == {
        frozenset({50}), frozenset({100}), frozenset({150}),
    }  # fmt: skip
    texts = {text.get_text() for text in panel.texts}
    assert {"digits 0", "digits 4", "pets 0", "pets 4", "original", ODD_NAMES[0]} <= texts


def test_reliability_bars_are_the_tables_accuracies(pictures_run):
    run = pictures_run()
    with style():
        figure = the_figure(FIGURES["reliability"].draw(run), "linear/digits")
    rng = np.random.default_rng(1)
    # The first backbone's, as the run drew it.
    for _ in range(2):
        rng.random((2, 8, 6))
    table = reliability_table(rng.normal(0, 2, (60, 4)), rng.integers(0, 4, 60))
    panel = panels(figure)["supervised"]
    heights = [patch.get_height() for patch in panel.patches if hasattr(patch, "get_height")]
    assert heights == pytest.approx(table[table[:, 1] > 0, 3])
    assert [text.get_text() for text in panel.texts] == ["ECE 12.3 %"]


def test_a_damaged_sample_is_an_error(pictures_run):
    run = pictures_run()
    record = next(record for record in run.records if record.task["protocol"] == "inversion")
    assert run.folder is not None
    (run.folder / record.samples["path"]).write_bytes(b"other")
    with pytest.raises(RecordError, match="was changed"):
        FIGURES["reconstructions"].draw(run)


def test_an_attention_map_lies_over_its_picture():
    picture = np.full((2, 3, 3), 200, np.uint8)
    attention = np.array([[0, 1, 2], [3, 4, 5]], np.float16)
    shown = overlaid(picture, attention)
    brightness = shown.astype(float).sum(axis=2).ravel()
    assert np.all(np.diff(brightness) > 0)
    # A map without contrast is the picture in grey under one colour, not nan.
    assert np.ptp(overlaid(picture, np.ones((2, 3)))[..., 0]) == 0
    with pytest.raises(ValueError, match=r"expected a map \(2, 3\)"):
        overlaid(picture, np.ones((4, 3)))


@pytest.mark.parametrize("count", [2, 100])
def test_two_and_a_hundred_backbones_with_odd_names(count):
    names = [*ODD_NAMES, *(f"network-{number:03}" for number in range(100))][:count]
    made = made_up(names, ["linear/digits", "linear/pets"])
    with style():
        transfer = the_figure(FIGURES["transfer"].draw(made))
    check_inside(transfer)
    (legend,) = transfer.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(set(texts)) == count and texts[0] == "a$b_{c}$" and texts[1] == "\\u6a21\\u578b/x"
    assert len(marks_of(transfer.axes[0])) == count
    if count == 2:
        assert transfer.axes[0].texts[0].get_text() == "r = –, n = 2"
        ranks = FIGURES["critical-difference"].draw(made)
        assert isinstance(ranks, LeftOut) and "takes 3 backbones" in ranks.reason
