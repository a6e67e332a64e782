"""Occlusion cases from names to records: what is kept of them, where objects are, the switches, and what is refused early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sslbench.backbones import Backbone, load_backbone
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.config import Settings
from sslbench.datasets import Boxes, Dataset, DatasetSpec, ImageArray, Masks, Objects, Split, register_dataset
from sslbench.errors import BackboneError, DataError, FeatureError
from sslbench.protocols._occlusion_objects import as_shown, objects_of, tell_objects
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.results.samples import read_arrays
from sslbench.runner import Case, Runner
from sslbench.tasks import parse_task
from tests.protocols import dense, detecting, tuning
from tests.protocols.detecting import SIZE, backbone

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = "recipe=quick+pictures=3+stride=4"


def run(
    folder: Path, task: str, network: Backbone | None = None, results: Run | None = None, **settings: Any
) -> Record:
    own = network or backbone()
    runner = Runner(Settings(cache_dir=folder, device="cpu", **settings), results)
    runner.add_backbone(own)
    return runner.prepare(Case(own.name, parse_task(task))).execute()


class Saturation(nn.Module):
    """Sees colours alone: how far each cell is from grey."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images, 4).std(dim=1).flatten(1)


def seeing(network: nn.Module, name: str = "own", side: int = SIZE) -> Backbone:
    shown = Preprocessing(input_size=(side, side), resize=side, mean=(0.5,) * 3, std=(0.25,) * 3)
    return backbone(network, name).seeing(shown)


def test_who_sees_colours_looks_at_coloured_rectangles(mapped: dense.Sets, tmp_path: Path) -> None:
    results = Run(tmp_path / "results")
    record = run(tmp_path, f"occlusion/masked/{FEW}", seeing(Saturation()), results)
    assert record.task["id"] == f"occlusion/masked/{FEW}" and record.main_score == "attentive_diffusion"
    values = {name: score["value"] for name, score in record.scores.items()}
    assert values["attention_on_object"] > 60 and values["pointing_game"] == 100
    assert values["attention_excess"] == pytest.approx(values["attention_on_object"] - values["object_area"])
    assert record.scores["attentive_diffusion"]["stderr"] > 0 and record.main.n == 3
    told = record.hyperparameters
    assert told["rows"] == [0, 1, 2] and (told["window"], told["stride"], told["windows"]) == (4, 4, 256)
    samples, _ = read_arrays(record, results.record_path(record.case).parent)
    assert samples["pictures"].shape == (3, SIZE, SIZE, 3) and samples["pictures"].dtype == np.uint8
    assert samples["attention"].shape == (3, SIZE, SIZE) and samples["attention"].dtype == np.float16
    pixels, _ = dense.scenes(7, 2)
    np.testing.assert_array_equal(samples["pictures"], pixels[:3])
    np.testing.assert_array_equal(samples["objects"], dense.masks_of(pixels[:3]) > 0)
    assert samples["diffusion"].mean() == pytest.approx(values["attentive_diffusion"])


def test_two_networks_are_compared_on_the_same_pictures(mapped: dense.Sets, tmp_path: Path) -> None:
    one, other = (
        run(tmp_path, f"occlusion/masked/{FEW}", each) for each in (seeing(Saturation(), "colours"), backbone())
    )
    assert one.paired["items"] == other.paired["items"]
    assert set(one.paired["others"]) == {"attention_on_object", "object_area", "attention_excess", "pointing_game"}


def test_the_studys_recipe_shows_242_pixels_and_keeps_224(tuned: object, tmp_path: Path) -> None:
    results = Run(tmp_path / "results")
    record = run(tmp_path, "occlusion/tuned/stride=10", seeing(Saturation()), results)
    assert record.backbone["preprocessing"]["input_size"] == [242, 242]
    assert record.backbone["preprocessing"]["resize"] == 242
    told = record.hyperparameters
    assert (told["window"], told["windows"], told["pictures"], told["rows"]) == (10, 25**2, 1, [0])
    assert list(record.scores) == ["attentive_diffusion"]
    assert record.scores["attentive_diffusion"]["stderr"] is None and not record.paired
    samples, _ = read_arrays(record, results.record_path(record.case).parent)
    assert samples["attention"].shape == (1, 224, 224) and "objects" not in samples


def test_a_second_run_takes_the_record_of_the_first_unless_a_switch_was_turned(tuned: object, tmp_path: Path) -> None:
    task, records = "occlusion/tuned/recipe=quick+pictures=2", {}
    torch.manual_seed(0)
    network = seeing(detecting.Stages(), side=32)
    for fill, distance in (("mean", "plain"), ("black", "plain"), ("picture-mean", "plain"), ("mean", "centred")):
        compat = {"occlusion-fill": fill, "occlusion-distance": distance}
        records[fill, distance] = run(tmp_path, task, network, compat=compat)
        assert records[fill, distance].task["compat"] == compat
    assert len({record.key for record in records.values()}) == 4
    diffusion = {choice: record.main.value for choice, record in records.items()}
    # Another denominator changes no order of pixels, and so no diffusion; another colour does.
    print(diffusion)
    assert diffusion["mean", "centred"] == pytest.approx(diffusion["mean", "plain"], abs=0.2)
    assert len({diffusion[fill, "plain"] for fill in ("mean", "black", "picture-mean")}) == 3


def test_a_transformer_of_one_size_is_told_what_to_name(tuned: object, tmp_path: Path) -> None:
    network = load_backbone("random-init:zoo:mae")
    with pytest.raises(
        BackboneError, match=r"does not take pictures of 242 x 242 pixels .*name the variant recipe=own"
    ):
        run(tmp_path, "occlusion/tuned", network)
    record = run(tmp_path, "occlusion/tuned/recipe=own+stride=3", network)
    assert record.hyperparameters["input"] == [64, 64] and record.hyperparameters["window"] == 3


def test_controls_without_weights_have_a_map(tuned: object, tmp_path: Path) -> None:
    for name in ("pixels", "colour-histogram"):
        record = run(tmp_path, "occlusion/tuned/recipe=quick+pictures=2", load_backbone(name))
        assert 0 < record.main.value < 100


def test_a_network_that_looks_nowhere_is_an_error(tuned: object, tmp_path: Path) -> None:
    class Blind(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(images), 5)

    with pytest.raises(FeatureError, match="features of test picture 0 are the same whatever is covered"):
        run(tmp_path, "occlusion/tuned/recipe=quick+pictures=2", seeing(Blind()))


def test_more_pictures_than_there_are(tuned: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="first 99 pictures of test, which has 40; choose pictures=40 or fewer"):
        run(tmp_path, "occlusion/tuned/recipe=quick+pictures=99")


def test_a_set_of_one_split_is_looked_at_as_it_is(registries: object, tmp_path: Path) -> None:
    def load(settings: Settings) -> Dataset:
        images, labels = tuning.pictures("whole", 6, 3, 0, size=SIZE)
        return Dataset("whole", ("a", "b", "c"), {"all": Split("all", images, labels)}, "top1", pool=("all",))

    register_dataset(DatasetSpec("whole", load, 3, "colours", "own", "made here"))
    record = run(tmp_path, "occlusion/whole/recipe=quick+pictures=2", seeing(Saturation()))
    assert record.hyperparameters["rows"] == [0, 1]
    with pytest.raises(DataError, match="first 16 pictures of all, which has 6"):
        run(tmp_path, "occlusion/whole/recipe=quick")


def test_where_masks_and_boxes_say_that_objects_are() -> None:
    mask = np.array([[0, 1, 2], [255, 0, 1]], np.uint8)
    masks = Masks(lambda row: mask, "made", np.arange(1), ignore=255)
    classes = ("background", "a", "b")
    assert tell_objects(masks, classes) and not tell_objects(masks, ("sky", "a", "b"))
    assert objects_of(masks, classes, 0, (2, 3)).tolist() == [[0, 1, 1], [2, 0, 1]]
    with pytest.raises(DataError, match="test picture 0: its mask has 2 x 3 pixels and the picture 4 x 3"):
        objects_of(masks, classes, 0, (4, 3))
    objects = Objects(np.array([[1, 0, 3, 2], [-2, 3, 1, 9]], np.float32), np.zeros(2, int), np.array([False, True]))
    found = objects_of(Boxes([objects]), ("a",), 0, (4, 5))
    assert found.tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    beside = Objects(np.array([[-5, -9, 3, -2], [9, 0, 12, 3]], np.float32), np.zeros(2, int), np.zeros(2, bool))
    assert not objects_of(Boxes([beside]), ("a",), 0, (4, 5)).any()


def test_objects_lie_where_the_resized_and_cropped_picture_shows_them() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10:22, 30:44] = 255
    code = (picture[:, :, 0] > 0).astype(np.uint8)
    preprocessing = Preprocessing(input_size=(80, 80), resize=80, interpolation="bilinear")
    shown = preprocessing.pixels(picture[None])[0, :, :, 0]
    found = as_shown(code, preprocessing)
    assert set(np.unique(found)) == {0, 1}
    # But for the pixels at the edge, which the picture blends.
    assert ((shown > 127) != (found == 1)).mean() < 0.01 and found.sum() == 24 * 28


def test_boxes_are_attended_to_as_well(boxed: detecting.Sets, tmp_path: Path) -> None:
    record = run(tmp_path, f"occlusion/boxed/{FEW}", seeing(Saturation()))
    assert record.scores["attention_on_object"]["value"] > record.scores["object_area"]["value"] + 20


def test_a_picture_that_cannot_be_read_is_left_out(mapped: dense.Sets, tmp_path: Path) -> None:
    class Holes(ImageArray):
        def load(self, rows: Any) -> Any:
            from PIL import Image

            loaded = super().load(rows)
            return [None if row == 1 else Image.fromarray(each) for row, each in zip(rows, loaded, strict=True)]

    pixels, _ = dense.scenes(7, 2)
    mapped.images["test"] = Holes("holes", pixels)
    record = run(tmp_path, f"occlusion/masked/{FEW}", seeing(Saturation()))
    assert record.hyperparameters["rows"] == [0, 2, 3]
    assert record.task["details"]["skipped_images"] == {"test": 1}
