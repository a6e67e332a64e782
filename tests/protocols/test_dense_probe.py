"""Frozen dense probes: what they learn, against second computations; what they tell; what they refuse."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import interpolate

from sslbench.backbones import load_backbone
from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, Depths, ImageArray, Masks, Split, register_dataset
from sslbench.errors import DataError, UnknownNameError
from sslbench.features.maps import Maps
from sslbench.metrics.dense_samples import DenseSamples
from sslbench.metrics.overlap import Overlap
from sslbench.protocols import _dense_probe, _dense_rows, protocol_spec
from sslbench.protocols._dense_cells import NormalsCells, SegmentationCells
from sslbench.protocols._dense_fits import LinearFit, NeighboursFit, linear_path
from sslbench.protocols._dense_probe_options import ProbeOptions, parse
from sslbench.protocols._dense_rows import FeatureRows, Scale, draw, on_grid
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task, expand_tasks, parse_task
from tests.protocols.dense import CLASSES, IGNORE, QUICK, Sets, masks_of, part, run, targets_of
from tests.protocols.detecting import backbone, scenes

pytestmark = pytest.mark.usefixtures("one_thread")
LEVELS = ((3, 4, 4), (2, 2, 2))


def maps(count: int = 6, seed: int = 0) -> Maps:
    values = np.random.default_rng(seed).normal(size=(count, 3 * 16 + 2 * 4)).astype(np.float32)
    return Maps(values, np.arange(count), LEVELS, 0.0, "cpu")


def cells() -> SegmentationCells:
    return SegmentationCells(CLASSES, Masks(lambda row: np.zeros((1, 1), np.uint8), "", np.arange(1), ignore=IGNORE))


def test_a_linear_layer_acts_on_each_level_as_on_the_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    coef, intercept = torch.randn(4, 5, generator=generator), torch.randn(4, generator=generator)
    found = LinearFit(coef, intercept, 2, (4, 4)).values(maps().take(slice(0, 6)))
    joined = on_grid(maps().take(slice(0, 6)), (4, 4))
    assert joined.shape == (6, 5, 4, 4)
    fine, coarse = maps().take(slice(0, 6))
    torch.testing.assert_close(joined[:, :3], fine)
    torch.testing.assert_close(joined[:, 3:], interpolate(coarse, (4, 4), mode="bilinear", align_corners=False))
    expected = torch.einsum("kc,bchw->bkhw", coef, joined) + intercept.view(1, -1, 1, 1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    last = LinearFit(coef[:, 3:], intercept, 1, (2, 2)).values(maps().take(slice(0, 6)))
    torch.testing.assert_close(last, torch.einsum("kc,bchw->bkhw", coef[:, 3:], coarse) + intercept.view(1, -1, 1, 1))


def rows_of(files: ExitStack, folder: Path, each: int = 5) -> FeatureRows:
    pixels, _ = scenes(6, 0)
    own = part(ImageArray("six", pixels), targets_of(Masks, masks_of(pixels), "six"))
    drawn = draw(own, "train", cells(), (4, 4), each)
    return FeatureRows(files, folder, maps(), drawn, 2, (4, 4))


def test_rows_are_features_of_drawn_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, _ = scenes(6, 0)
    truth = masks_of(pixels)
    own = part(ImageArray("six", pixels), targets_of(Masks, truth, "six"))
    drawn = draw(own, "train", cells(), (4, 4), 5)
    assert drawn.start.tolist() == [0, 5, 10, 15, 20, 25, 30]
    assert drawn.known.all() and drawn.sums.sum(axis=0).tolist() == np.bincount(truth.ravel(), minlength=4).tolist()
    joined = on_grid(maps().take(slice(0, 6)), (4, 4))
    with ExitStack() as files:
        rows = FeatureRows(files, tmp_path, maps(), drawn, 2, (4, 4))
        for picture in range(6):
            of_row = drawn.cells[5 * picture : 5 * picture + 5]
            assert len(set(of_row.tolist())) == 5
            for number, cell in enumerate(of_row):
                place = 5 * picture + number
                torch.testing.assert_close(rows.x[place], joined[picture, :, cell // 4, cell % 4])
                shares, _ = cells().pooled(truth[picture], (4, 4))
                np.testing.assert_array_equal(rows.values[place], shares[cell])
        whole = rows.x.clone()
        for by_channel in (False, True):
            scale = rows.scale([3, 2], by_channel=by_channel)
            double = whole.double()
            torch.testing.assert_close(scale.mean, double.mean(0).float(), rtol=1e-5, atol=1e-6)
            variance = double.var(0, unbiased=False)
            level = torch.cat([variance[:3].mean().expand(3), variance[3:].mean().expand(2)])
            expected = variance + 1e-5 * level if by_channel else level
            torch.testing.assert_close(scale.deviation, expected.sqrt().float(), rtol=1e-4, atol=1e-6)
        rows.divide(scale)
        torch.testing.assert_close(rows.x, (whole - scale.mean) / scale.deviation)
        # What does not fit in memory is on disk, and goes.
        monkeypatch.setattr(_dense_rows, "_IN_MEMORY", 0)
        large = FeatureRows(files, tmp_path, maps(), drawn, 2, (4, 4))
        assert isinstance(large.x, np.memmap) and list(tmp_path.iterdir())
        large.divide(scale)
        np.testing.assert_array_equal(large.x, rows.x.numpy())
    assert not list(tmp_path.iterdir())


def objective(rows: FeatureRows, labels: Any, coef: Any, intercept: Any, strength: float) -> float:
    logits = rows.x.double().numpy() @ coef.astype(np.float64).T + intercept
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return float(losses.sum() + strength * len(labels) / 2 * (coef.astype(np.float64) ** 2).sum())


def test_the_linear_probe_of_masks_is_logistic_regression(tmp_path: Path) -> None:
    with ExitStack() as files:
        rows = rows_of(files, tmp_path, 16)
        path = linear_path(cells(), [rows], [1e-2, 1e-3], "cpu")
        labels = rows.values.argmax(axis=1)
        assert set(labels) == {0, 1, 2, 3} and path.told["gap"] <= 1e-2
        for number, strength in enumerate((1e-2, 1e-3)):
            oracle = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-10, max_iter=10_000)
            oracle.fit(rows.x.numpy().astype(np.float64), labels)
            # The certificate bounds the objective.
            best = objective(rows, labels, oracle.coef_, oracle.intercept_, strength)
            own = objective(rows, labels, path.coef[number].numpy(), path.intercept[number].numpy(), strength)
            assert best <= own * (1 + 1e-6) and own <= best * (1 + path.told["gap"])
        # In the features' own coordinates it says the same.
        scale = Scale(torch.full((5,), 3.0), torch.tensor([1.0, 2.0, 4.0, 0.5, 0.25]))
        fit = path.fits(scale, 2, (4, 4))[0]
        moved = rows.x * scale.deviation + scale.mean
        torch.testing.assert_close(
            moved @ fit.coef.T + fit.intercept,
            (rows.x.double() @ path.coef[0].double().T + path.intercept[0]).float(), rtol=1e-4, atol=1e-4,
        )  # fmt: skip


def test_a_class_that_no_cell_has_is_never_the_answer(tmp_path: Path) -> None:
    with ExitStack() as files:
        rows = rows_of(files, tmp_path, 16)
        kept = rows.values.argmax(axis=1) != 2
        rows.x, rows.values = rows.x[torch.from_numpy(kept)], rows.values[kept]
        path = linear_path(cells(), [rows], [1e-3], "cpu")
        assert path.intercept.isfinite().all()
        answers = rows.x @ path.coef[0].T + path.intercept[0].float()
        assert not (answers.argmax(dim=1) == 2).any()


def test_nearest_neighbours_vote_with_shares() -> None:
    generator = np.random.default_rng(1)
    bank, shares = generator.normal(size=(60, 5)), generator.dirichlet(np.ones(4), 60)
    scale = Scale(torch.arange(5.0), torch.arange(1.0, 6.0))
    fit = NeighboursFit(
        [torch.from_numpy(bank[:40]).float(), torch.from_numpy(bank[40:]).float()],
        [shares[:40].astype(np.float32), shares[40:].astype(np.float32)], scale, 2, (4, 4),
    )  # fmt: skip
    found = fit.values(maps(2).take(slice(0, 2)))
    joined = on_grid(maps(2).take(slice(0, 2)), (4, 4)).numpy().astype(np.float64)
    unit = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    for picture, row, column in ((0, 0, 0), (1, 3, 2), (1, 1, 1)):
        query = (joined[picture, :, row, column] - np.arange(5)) / np.arange(1, 6)
        similarity = unit @ (query / np.linalg.norm(query))
        nearest = np.argsort(-similarity)[:20]
        weights = np.exp(similarity[nearest] / 0.07)
        expected = (weights[:, None] * shares[nearest]).sum(axis=0) / weights.sum()
        np.testing.assert_allclose(found[picture, :, row, column], expected, rtol=1e-4, atol=1e-5)


def values_of(record: Record) -> dict[str, float]:
    return {name: score["value"] for name, score in record.scores.items()}


@pytest.mark.parametrize("kind", ["linear", "knn", "linear+levels=1+grid=8", "linear+norm=batch+cells=3"])
def test_rectangles_are_found(mapped: Sets, kind: str, tmp_path: Path) -> None:
    mapped.sizes = {"train": 20, "val": 10, "test": 10}
    own = backbone()
    before = own.digest
    record = run(tmp_path, "segmentation", kind, network=own, results=Run(tmp_path / "run"))
    told, scores = record.hyperparameters, values_of(record)
    one = "levels=1" in kind
    assert told["grid"] == ([2, 2] if one else [16, 16]) and told["input"] == [64, 64]
    assert told["features"] == (8 if one else 32) and told["levels"][-1] == [8, 2, 2]
    assert told["rows"] == (30 * 4 if one else 90 if "cells=3" in kind else 30 * 256)
    # Somebody who says background everywhere.
    assert record.task["guess"] == pytest.approx(blind())
    if not one:
        assert scores["mean_iou"] > record.task["guess"] + 10
    assert scores["mean_iou"] <= told["ceiling"]["mean_iou"] and (told["ceiling"]["mean_iou"] > 80) == (not one)
    if kind != "knn":
        assert told["gap"] <= told["tolerance"] == 1e-2 and told["unconverged"] == 0
        assert told["penalty"] in _dense_probe.PENALTIES
    assert record.paired["images"] == 10 and set(record.paired["others"]) == set(scores) - {"mean_iou"}
    assert own.digest == before
    from safetensors.numpy import load_file

    assert record.samples is not None
    kept = DenseSamples.from_arrays(load_file(tmp_path / "run" / "records" / record.samples["path"]))
    assert kept.rows.tolist() == list(range(10)) and kept.classes == CLASSES


def blind() -> float:
    scores = Overlap(4)
    for truth in masks_of(scenes(10, 2)[0]):
        scores.add(truth, np.zeros_like(truth))
    return scores.values()["mean_iou"]


def test_directions_of_rectangles_are_found(mapped: Sets, tmp_path: Path) -> None:
    mapped.sizes = {"train": 20, "val": 10, "test": 10}
    record = run(tmp_path, "normals", "linear")
    told, scores = record.hyperparameters, values_of(record)
    guess = record.task["guess"]
    assert guess is not None and 20 < guess < 45
    assert told["ceiling"]["mean_angle"] < scores["mean_angle"] < guess - 10
    assert "gap" not in told and told["val_score"] < guess


class Distances:
    """The dataset `far`: red is at 2 m, green at 4, blue at 8, and of grey nothing is known."""

    def __init__(self) -> None:
        spec = DatasetSpec("far", self.load, 0, "rectangles", "own", "made here", metric=None, targets=Depths)
        register_dataset(spec)

    def load(self, settings: Settings) -> Dataset:
        splits = {}
        for seed, (name, count) in enumerate({"train": 20, "val": 10, "test": 10}.items()):
            pixels, _ = scenes(count, seed)
            depth = np.array([0, 2, 4, 8], np.float32)[masks_of(pixels)]
            targets = Depths(lambda row, depth=depth: depth[row], f"far:{name}", np.arange(count))  # type: ignore[misc]
            splits[name] = Split(name, ImageArray(f"far:{name}", pixels), targets)
        return Dataset("far", (), splits, None)


def test_distances_of_rectangles_are_found(registries: object, tmp_path: Path) -> None:
    Distances()
    own = backbone()
    runner = Runner(Settings(cache_dir=tmp_path, device="cpu"))
    runner.add_backbone(own)
    record = runner.prepare(Case(own.name, parse_task("depth/far/linear"))).execute()
    scores, guess = values_of(record), record.task["guess"]
    assert record.main_score == "rmse" and record.hyperparameters["ceiling"]["rmse"] < 0.3
    assert guess is not None and scores["rmse"] < 0.6 * guess and scores["delta_1"] > 50


def test_a_transformer_and_a_second_run(mapped: Sets, tmp_path: Path) -> None:
    own = load_backbone("random-init:test_vit?size=64")
    record = run(tmp_path, "segmentation", "linear", network=own)
    (levels,) = {tuple(level) for level in record.hyperparameters["levels"]}
    assert levels[1:] == tuple(record.hyperparameters["grid"]) and len(record.hyperparameters["levels"]) == 4
    again = run(tmp_path, "segmentation", "linear", network=load_backbone("random-init:test_vit?size=64"))
    assert again.scores == record.scores and again.key == record.key and again.timings["extract"] == 0


def test_selection_does_not_see_the_test_split(mapped: Sets, tmp_path: Path) -> None:
    """Other truths in the test split change the scores and nothing of what was learned."""
    record = run(tmp_path, "segmentation", "linear")
    pixels, _ = scenes(7, 2)
    mapped.targets = {"test": targets_of(Masks, 3 - masks_of(pixels), "other")}
    other = run(tmp_path, "segmentation", "linear")
    fitted = [{k: v for k, v in each.hyperparameters.items() if k != "ceiling"} for each in (record, other)]
    assert fitted[0] == fitted[1] and record.scores != other.scores and record.key != other.key


def odd(split: str, change: Any, mapped: Sets) -> None:
    seed = list(mapped.sizes).index(split)
    found = masks_of(scenes(mapped.sizes[split], seed)[0])
    change(found)
    mapped.targets = {split: targets_of(Masks, found, f"odd:{split}")}


def assign(found: np.ndarray, value: int, row: Any = slice(None), where: int | None = None) -> None:
    if where is None:
        found[row] = value
    else:
        found[found == where] = value


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (partial(assign, value=IGNORE, row=2), "row 2: no pixel of the mask counts"),
        (partial(assign, value=77, row=1), "row 1: expected classes from 0 to 3, or 200 .*got 77"),
    ],
)
def test_masks_that_cannot_be(mapped: Sets, split: str, change: Any, told: str, tmp_path: Path) -> None:
    odd(split, change, mapped)
    with pytest.raises(DataError, match=f"{split}, {told}"):
        run(tmp_path, "segmentation", "linear")
    # In what is learned from it is told before the network runs.
    assert bool(list(tmp_path.rglob("*.safetensors"))) == (split == "test")


def test_a_class_without_a_pixel(mapped: Sets, tmp_path: Path) -> None:
    odd("train", partial(assign, value=IGNORE, where=2), mapped)
    with pytest.raises(DataError, match="no training pixel has the class 'green'; add pictures or leave"):
        run(tmp_path, "segmentation", "linear")
    mapped.targets = {}
    odd("test", partial(assign, value=0, where=1), mapped)
    for variant in ("knn", QUICK):
        with pytest.raises(DataError, match="no value on the test split, of which no pixel has the class 'red'; add"):
            run(tmp_path, "segmentation", variant)


def test_normals_without_a_known_cell(mapped: Sets, tmp_path: Path) -> None:
    from sslbench.datasets import Normals

    nothing = Normals(lambda row: np.zeros((64, 64, 3), np.float32), "none", np.arange(10))
    mapped.targets = {"train": nothing}
    with pytest.raises(DataError, match="no cell of a train picture has enough pixels that count"):
        run(tmp_path, "normals", "linear")


def test_what_is_true_of_an_unreadable_picture_counts_for_nothing(mapped: Sets, tmp_path: Path) -> None:
    """The test pictures with red cannot be read, so that the mean over the classes has no value."""
    from PIL import Image

    from sslbench.datasets import ImageFiles

    pixels, _ = scenes(7, 2)
    red = [row for row in range(7) if (masks_of(pixels)[row] == 1).any()]
    assert 0 < len(red) < 7
    paths = [tmp_path / f"{row}.png" for row in range(7)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    for row in red:
        paths[row].write_bytes(b"no picture")
    mapped.images = {"test": ImageFiles("files", paths, "skip")}
    with pytest.raises(DataError, match="no value on the test split, of which no pixel has the class 'red'"):
        run(tmp_path, "segmentation", "linear")


@pytest.mark.parametrize("files", [False, True])
def test_a_mask_of_another_size_than_its_picture(mapped: Sets, files: bool, tmp_path: Path) -> None:
    from PIL import Image

    from sslbench.datasets import ImageFiles

    pixels, _ = scenes(10, 0)
    if files:
        paths = [tmp_path / f"{row}.png" for row in range(10)]
        for path, picture in zip(paths, pixels, strict=True):
            Image.fromarray(picture).save(path)
        mapped.images = {"train": ImageFiles("files", paths)}
    masks = [*masks_of(pixels)]
    masks[3] = masks[3][:, :48]
    mapped.targets = {"train": Masks(lambda row: masks[row], "cut", np.arange(10), ignore=IGNORE)}
    with pytest.raises(
        DataError, match=r"train, row 3: expected a map of the picture's 64 x 64 .* got one of shape \(64, 48\)"
    ):
        run(tmp_path, "segmentation", "linear")


def test_cells_of_one_class_alone_are_told(mapped: Sets, tmp_path: Path) -> None:
    for split in ("train", "val"):
        found = np.zeros((mapped.sizes[split], 64, 64), np.uint8)
        found[:, 0, :3] = (1, 2, 3)
        mapped.targets[split] = targets_of(Masks, found, f"specks:{split}")
    with pytest.raises(DataError, match="shows most of one class; choose a finer grid"):
        run(tmp_path, "segmentation", "linear")


def test_val_or_test_normals_of_which_none_is_known(mapped: Sets, tmp_path: Path) -> None:
    from sslbench.datasets import Normals

    for split, told in (
        ("val", "no cell of a val picture has enough"),
        ("test", "no pixel of the test pictures counts"),
    ):
        blank = Normals(lambda row: np.zeros((64, 64, 3), np.float32), split, np.arange(mapped.sizes[split]))
        mapped.targets = {split: blank}
        with pytest.raises(DataError, match=told):
            run(tmp_path, "normals", "linear")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("linear+levels=2", "levels=2: expected 1 or 4"),
        ("linear+norm=layer", "norm=layer: expected batch"),
        ("linear+grid=0", "grid=0: expected a whole number from 1 to 1024"),
        ("linear+cells=many", "cells=many: expected a whole number"),
        ("linear+grid=4+grid=4", "has grid twice"),
        ("linear+steps=3", "'steps=3' .* is no option of a probe; linear or knn is a probe"),
    ],
)
def test_options_that_cannot_be(text: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        parse(text, ("linear", "knn"))


def test_options_have_one_spelling() -> None:
    assert parse("finetune", ("linear",)) is None and parse("knn", ("linear",)) is None
    found = parse("linear+grid=8+levels=1", ("linear",))
    assert found == ProbeOptions("linear", levels=1, grid=8) and str(found) == "linear+levels=1+grid=8"
    spec = protocol_spec("segmentation")
    assert spec.variant("linear+grid=32+levels=4") == "linear" and spec.variant("knn+cells=4") == "knn+cells=4"
    assert protocol_spec("normals").variant("knn") is None and protocol_spec("depth").variant("") is None
    assert NormalsCells().least == 0.5


def test_a_folder_without_a_variant_is_the_trained_head(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    named = {
        text: [task.variant for task in expand_tasks([f"segmentation/masks:{tmp_path}{text}"], "embedded")]
        for text in ("", "/linear", "/*", "/knn+cells=4", "*")
    }
    assert named == {
        "": [""],
        "/linear": ["linear"],
        "/*": ["", "knn", "linear"],
        "/knn+cells=4": ["knn+cells=4"],
        "*": ["", "knn", "linear"],
    }
    assert parse_task("depth/nyuv2-depth/linear") == Task("depth", "nyuv2-depth", "linear")
