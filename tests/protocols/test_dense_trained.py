"""Segmentation and normals from names to a record: what is learned and told, interrupts, keys, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sslbench.backbones import load_backbone
from sslbench.config import Settings
from sslbench.datasets import ImageFiles, Masks, Normals
from sslbench.errors import BackboneError, DataError, TrainingError
from sslbench.metrics.dense_samples import DenseSamples
from sslbench.metrics.overlap import confusion_of
from sslbench.protocols import _dense_training
from sslbench.protocols._dense_options import SEGMENTATION
from sslbench.protocols._dense_training import DenseLearner
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task
from sslbench.training.loop import Step
from tests.protocols.dense import CLASSES, DIRECTIONS, IGNORE, QUICK, TASKS, Sets, masks_of, run
from tests.protocols.detecting import Stages, backbone, scenes

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = "random-init:test_vit?size=64"


def test_rectangles_are_learned_as_classes(mapped: Sets, tmp_path: Path) -> None:
    mapped.sizes = {"train": 40, "val": 20, "test": 10}
    own = backbone()
    before = own.digest
    record = run(tmp_path, "segmentation", "recipe=small+steps=40+batch=8", network=own, results=Run(tmp_path / "run"))
    assert record.main_score == "mean_iou"
    scores = {name: score["value"] for name, score in record.scores.items()}
    # Who says background everywhere has about 20 % overlap, a quarter of the pixels wrong.
    assert scores["mean_iou"] > 40
    told = record.hyperparameters
    assert (told["recipe"], told["steps"], told["batch"], told["sizes"]) == ("small", 40, 8, [[64], 128])
    assert (told["encoder"], told["tested"], told["pictures"]) == ("finetune", [64], {"train": 40, "val": 20})
    assert told["stride"] == [4, 4] and told["trained"] == "20 of 20 tensors of the network"
    # Beside the record lies enough to score it again, and to look at some of it.
    assert record.samples is not None
    arrays = load_file(tmp_path / "run" / "records" / record.samples["path"])
    confusion = confusion_of(arrays, len(CLASSES))
    assert confusion.sum() == 10 * 64 * 64
    assert 100 * confusion.trace() / confusion.sum() == pytest.approx(scores["pixel_accuracy"])
    looked = DenseSamples.from_arrays(arrays)
    assert looked.rows.tolist() == list(range(10)) and len(looked.kept) == 10 and looked.classes == CLASSES
    truth = masks_of(scenes(10, 2)[0])
    assert all(np.array_equal(one.truth, truth[looked.rows[one.place]]) for one in looked.kept)
    assert set(record.paired["others"]) == set(scores) - {"mean_iou"} and record.paired["images"] == 10
    # The frozen network that other cases see is as it was.
    assert own.digest == before


def test_rectangles_are_learned_as_normals(mapped: Sets, tmp_path: Path) -> None:
    mapped.sizes = {"train": 40, "val": 20, "test": 10}
    record = run(tmp_path, "normals", "recipe=small+steps=60+batch=8+encoder=finetune")
    assert record.main_score == "mean_angle"
    # The three directions are 64 and 74 degrees from each other; their mean is 35 from each.
    assert record.scores["mean_angle"]["value"] < 30
    told = record.hyperparameters
    assert (told["codewords"], told["codewords_number"]) == ("k-means of train", 3)
    assert told["stride"] == [8, 8] and told["maps"] == "the last map, dilated"
    assert record.task["compat"]["normals-padding"] == "ignore"


@pytest.mark.parametrize("task", ["segmentation", "normals"])
@pytest.mark.parametrize("encoder", ["frozen", "finetune"])
def test_a_transformer_runs_as_well(mapped: Sets, task: str, encoder: str, tmp_path: Path) -> None:
    record = run(tmp_path, task, f"{QUICK}+encoder={encoder}", network=load_backbone(TINY))
    told = record.hyperparameters
    assert "an extension" in told["maps"] and told["encoder"] == encoder
    assert told["trained"].startswith("0 of") == (encoder == "frozen")
    assert np.isfinite(record.scores[record.main_score]["value"])


def test_datasets_codewords_are_taken(mapped: Sets, tmp_path: Path) -> None:
    pixels, _ = scenes(10, 0)
    masks = masks_of(pixels)
    train = Normals(lambda row: DIRECTIONS[masks[row]], "own", np.arange(10))
    object.__setattr__(train, "codewords", np.concatenate([DIRECTIONS[1:], [[0, 0, 1]]]).astype(np.float64))
    mapped.targets = {"train": train}
    told = run(tmp_path, "normals").hyperparameters
    assert (told["codewords"], told["codewords_number"]) == ("of the dataset", 4)


@pytest.mark.parametrize("task", ["segmentation", "normals"])
def test_an_interrupted_case_ends_as_an_undisturbed_one(
    mapped: Sets, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dense_training, "CHECKPOINT_SECONDS", 0.0)
    variant = "recipe=small+steps=24+batch=2"
    whole = run(tmp_path / "whole", task, variant)
    real, stop, drawn = DenseLearner.batch, 17, list[int]()

    def batch(self: DenseLearner, step: Step) -> object:
        if step.number == stop:
            raise KeyboardInterrupt
        drawn.append(step.number)
        return real(self, step)

    monkeypatch.setattr(DenseLearner, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", task, variant)
    drawn.clear()
    stop = -1
    again = run(tmp_path / "broken", task, variant)
    assert drawn == list(range(10, 24))
    assert again.scores == whole.scores and again.paired == whole.paired
    weights = [sorted((tmp_path / name / "trials").glob("*.safetensors")) for name in ("whole", "broken")]
    assert len(weights[0]) == 1 and weights[0][0].read_bytes() == weights[1][0].read_bytes()
    # Of a frozen network nothing is kept.
    kept = load_file(weights[0][0])
    assert any(name.startswith("body") for name in kept) == (task == "segmentation")


def test_a_finished_training_is_not_trained_again(
    mapped: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path)
    monkeypatch.setattr(_dense_training, "trained", None)
    second = run(tmp_path)
    assert second.scores == first.scores and second.paired == first.paired
    assert second.hyperparameters == first.hyperparameters


def test_recipes_follow_dataset_and_network(mapped: Sets, tmp_path: Path) -> None:
    mapped.sizes = {"train": 4, "val": 4, "test": 7}
    shown, vit = "steps=1+batch=2+size=32", load_backbone(TINY)
    small = replace(SEGMENTATION.study, width=16)
    with pytest.MonkeyPatch.context() as patch:
        for task in TASKS.values():
            for name in ("study", "adamw"):
                patch.setitem(task.recipes, name, replace(task.recipes[name], width=small.width))
        assert run(tmp_path, "segmentation", shown).hyperparameters["recipe"] == "study"
        assert run(tmp_path, "segmentation", shown, network=vit).hyperparameters["recipe"] == "adamw"
        # A frozen one is not what is optimised: the heads have BatchNorm in any case.
        for task, encoder in (("segmentation", "+encoder=frozen"), ("normals", "")):
            assert run(tmp_path, task, shown + encoder, network=vit).hyperparameters["recipe"] == "study"
        mapped.recipes = {"segmentation": "small"}
        told = run(tmp_path, "segmentation", "steps=1+batch=2", network=vit).hyperparameters
        assert told["recipe"] == "small"
    mapped.recipes = {"segmentation": "huge"}
    with pytest.raises(
        DataError, match="names the recipe 'huge' for segmentation; expected one of study, adamw, small"
    ):
        run(tmp_path)


def key(folder: Path, task: str, variant: str, **settings: object) -> str:
    runner = Runner(Settings(cache_dir=folder, device="cpu", **settings))  # type: ignore[arg-type]
    runner.add_backbone(backbone())
    dataset = "masked" if task == "segmentation" else "facing"
    return runner.prepare(Case("stages", Task(task, dataset, variant))).key


def test_what_a_record_is_kept_by(mapped: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [key(tmp_path, task, variant) for task in TASKS for variant in ("", QUICK)]
    assert len(set(plain)) == 4
    mapped.recipes = dict.fromkeys(TASKS, "small")
    named = [key(tmp_path, task, variant) for task in TASKS for variant in ("", QUICK)]
    # A task that names its recipe is the same whatever the dataset says.
    assert named[1::2] == plain[1::2] and not set(named[::2]) & set(plain)
    # The switch is one of normals.
    official = {"compat": {"normals-padding": "class-0"}}
    assert key(tmp_path, "normals", QUICK, **official) != plain[3]
    assert key(tmp_path, "segmentation", QUICK, **official) == plain[1]
    monkeypatch.setitem(SEGMENTATION.recipes, "small", replace(SEGMENTATION.recipes["small"], power=1.0))
    assert key(tmp_path, "segmentation", QUICK) != plain[1]


def test_a_training_that_diverges_is_told(mapped: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DenseLearner.loss
    monkeypatch.setattr(DenseLearner, "loss", lambda self, batch: real(self, batch) * np.nan)
    with pytest.raises(TrainingError, match=r"diverged at step 1 of 6, with the recipe small at rate"):
        run(tmp_path)


def blank(count: int, value: int, ignore: int | None = IGNORE) -> Masks:
    return Masks(lambda row: np.full((64, 64), value, np.uint8), f"blank:{value}", np.arange(count), ignore=ignore)


def test_what_cannot_be_learned_or_scored_is_told(mapped: Sets, tmp_path: Path) -> None:
    mapped.targets = {"val": blank(4, IGNORE)}
    with pytest.raises(DataError, match="val, row 0: no pixel of the mask counts; leave the picture out"):
        run(tmp_path)
    mapped.targets = {"train": blank(10, 0), "val": blank(4, 1)}
    with pytest.raises(DataError, match="no training pixel has the classes 'green', 'blue'; add pictures"):
        run(tmp_path)
    mapped.targets = {"test": blank(7, IGNORE)}
    with pytest.raises(DataError, match="test, row 0: no pixel of the mask counts"):
        run(tmp_path)
    mapped.targets = {"test": blank(7, 9)}
    with pytest.raises(DataError, match=r"test, row 0: expected classes from 0 to 3, or 200 .*, got 9"):
        run(tmp_path)
    mapped.targets = {"val": blank(4, 0, ignore=2)}
    with pytest.raises(DataError, match="masked ignores pixels of the value 2, which is one of its classes"):
        run(tmp_path)
    none = Normals(lambda row: np.zeros((64, 64, 3), np.float32), "none", np.arange(10))
    mapped.targets = {"train": none}
    with pytest.raises(DataError, match="none of 10 training pictures has a normal to learn from"):
        run(tmp_path, "normals")


def test_pictures_of_which_little_counts_are_trained_on_all_the_same(mapped: Sets, tmp_path: Path) -> None:
    none = Normals(lambda row: np.zeros((64, 64, 3), np.float32), "none", np.arange(4))
    mapped.targets = {"val": none}
    told = run(tmp_path, "normals").hyperparameters
    assert np.isfinite(told["loss"]) and told["pictures"] == {"train": 10, "val": 4}


def test_networks_that_cannot_be_used_are_told_before_a_picture_is_read(mapped: Sets, tmp_path: Path) -> None:
    mapped.images = {"train": ImageFiles("none", [tmp_path / f"{n}.jpg" for n in range(10)])}

    class Detached(Stages):
        def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
            with torch.no_grad():
                return [images[:, :, ::4, ::4], images[:, :, ::8, ::8]]

    with pytest.raises(BackboneError, match="no gradient reaches its maps"):
        run(tmp_path, network=backbone(Detached(), "detached"))

    class Fixed(Stages):
        def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
            assert images.shape[-1] == 64, "64 pixels wide"
            return [self.layer1(self.stem(images)), self.layer2(self.layer1(self.stem(images)))]

    with pytest.raises(BackboneError, match=r"gives no maps of pictures of .* \(AssertionError: 64 pixels wide\)"):
        run(tmp_path, network=backbone(Fixed(), "fixed"))

    class Constant(Stages):
        def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [torch.nn.functional.adaptive_avg_pool2d(self.stem(images), 16)]

    with pytest.raises(
        BackboneError, match=r"it gives a map of 16 x 16; by what it gives of its own size 16 x 24 were"
    ):
        run(tmp_path, network=backbone(Constant(), "constant"), variant=f"{QUICK}+encoder=frozen")
    with pytest.raises(BackboneError, match="Pixels has no feature maps"):
        run(tmp_path, "normals", network=load_backbone("pixels"))


def test_unreadable_test_pictures_are_left_out(mapped: Sets, tmp_path: Path) -> None:
    from PIL import Image

    pixels, _ = scenes(7, 2)
    paths = []
    for number, each in enumerate(pixels):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(each).save(paths[-1])
    paths[2].write_bytes(b"no picture")
    mapped.images = {"test": ImageFiles("files", paths, "skip")}
    record = run(tmp_path / "cache")
    assert record.task["details"]["skipped_images"] == {"test": 1}
    assert record.scores["mean_iou"]["n"] == 6 and record.paired["images"] == 6


def test_classes_are_named_once(mapped: Sets, tmp_path: Path) -> None:
    """The number of logits is that of the classes, the background among them."""
    weights = run(tmp_path) and next((tmp_path / "trials").glob("*.safetensors"))
    assert load_file(weights)["head.classify.weight"].shape[0] == len(CLASSES)
