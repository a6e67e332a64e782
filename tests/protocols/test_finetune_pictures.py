"""What a fine-tuning is shown: random crops in training, else whole pictures in evaluation mode; and which ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import hflip, resized_crop

from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, ImageFiles, Labels, Split
from sslbench.datasets.registry import register_dataset
from sslbench.features.joined import JoinedOriginals
from sslbench.protocols._finetune_training import Learner, Setting, TrainingSet, training_set
from sslbench.results.runs import Run
from sslbench.training.crops import draw_boxes
from sslbench.training.loop import Step
from sslbench.training.seeds import seed_of
from tests.conftest import Registries
from tests.protocols.tuning import SIZE, Sets, backbone, part, run, setting

pytestmark = pytest.mark.usefixtures("one_thread")


def learner(pictures: TrainingSet, shared: Setting, batch: int) -> Learner:
    network = shared.network(0)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    return Learner(
        network,
        optimiser,
        pictures,
        shared.backbone.preprocessing,
        batch=batch,
        drop_last=False,
        seed=7,
        bfloat16=False,
    )


def test_a_batch_is_torchvisions_random_resized_crops_and_flips() -> None:
    """On boxes and flips drawn once more from the step's seed; levels within two."""
    pictures = training_set(part(40, size=24), np.arange(40), 64)
    shared = setting()
    drawn, shown = learner(pictures, shared, 16), shared.backbone.preprocessing
    flipped, areas = 0, []
    for number in range(4):
        images, targets = drawn.batch(Step(number, 0.0, torch.Generator()))
        items = drawn._items(number)
        generator = torch.Generator().manual_seed(seed_of(7, "step", number))
        boxes = draw_boxes(torch.tensor([[24, 24]] * len(items)), generator)
        flips = torch.rand(len(items), generator=generator) < 0.5
        for place, (item, box, flip) in enumerate(zip(items, boxes.tolist(), flips.tolist(), strict=True)):
            crop = resized_crop(
                pictures.pictures.take([item])[0], *box, [SIZE, SIZE], InterpolationMode.BICUBIC, antialias=True
            )
            expected = shown.normalise((hflip(crop) if flip else crop).permute(1, 2, 0)[None])[0]
            levels = (images[place] - expected) * 255 * torch.tensor(shown.std).view(3, 1, 1)
            assert float(levels.abs().max()) <= 2
            assert int(targets[place]) == pictures.targets[item]
        flipped += int(flips.sum())
        areas += [box[2] * box[3] / 24**2 for box in boxes.tolist()]
    assert 10 < flipped < 46 and min(areas) < 0.2 and max(areas) > 0.8


def test_test_pictures_are_decided_whole_and_in_evaluation_mode(tuned: Sets, tmp_path: Path) -> None:
    """By hand, one picture at a time, from the weights that were kept."""
    own = backbone()
    run(tmp_path, network=own, results=Run(tmp_path / "results"))
    kept = [load_file(path) for path in (tmp_path / "trials").glob("*.safetensors")]
    (weights,) = [tensors for tensors in kept if "head.weight" in tensors]
    network = setting(network=own.network.module).network(0)
    network.load_state_dict(weights)
    network.eval()
    images = tuned.load(Settings()).splits["test"].images.load(range(40))
    with torch.no_grad():
        single = torch.cat([network(own.preprocess(images[row : row + 1])) for row in range(40)])
    (samples,) = [load_file(path) for path in (tmp_path / "results").rglob("*.safetensors")]
    torch.testing.assert_close(samples["decision"], single, rtol=1e-4, atol=1e-5)


def test_the_last_training_sees_train_and_val(tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[int]]] = []
    trained = Setting.trained

    def noted(self: Setting, pictures: TrainingSet, given: Any, stage: str, *rest: Any) -> Any:
        seen.append((stage, pictures.targets.tolist()))
        assert len(pictures) == len(pictures.targets)
        return trained(self, pictures, given, stage, *rest)

    monkeypatch.setattr(Setting, "trained", noted)
    run(tmp_path)
    splits = tuned.load(Settings()).splits
    train, val = (splits[name].targets.values.tolist() for name in ("train", "val"))
    assert seen == [("search", train)] * 4 + [("last", train + val)]


def test_both_splits_are_taken_from_in_any_order() -> None:
    first, second = (training_set(part(count), np.arange(count), 64) for count in (6, 4))
    both = first + second
    for item, picture in enumerate(both.pictures.take(range(10))):
        source = first.pictures.take([item]) if item < 6 else second.pictures.take([item - 6])
        assert torch.equal(picture, source[0])
    mixed = [9, 0, 7, 5]
    assert all(map(torch.equal, both.pictures.take(mixed), (both.pictures.take([item])[0] for item in mixed)))


class Noted:
    """Notes what is to come."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.rows = np.arange(10)

    def take(self, places: Sequence[int]) -> list[Tensor]:
        return [torch.zeros(3, SIZE, SIZE, dtype=torch.uint8) for _ in places]

    def prefetch(self, places: Sequence[int]) -> None:
        self.asked.append(list(places))


def test_the_next_batch_is_asked_for_while_this_one_is_trained_on() -> None:
    source = Noted()
    pictures = TrainingSet(JoinedOriginals([source], [(0, place) for place in range(10)]), np.zeros(10, dtype=np.int64))  # type: ignore[list-item]
    drawn = learner(pictures, setting(), 4)
    for number in range(4):
        drawn.batch(Step(number, 0.0, torch.Generator()))
    assert source.asked == [drawn._items(number) for number in range(1, 5)]


def write(folder: Path, count: int, seed: int, odd: dict[int, str]) -> tuple[list[Path], np.ndarray]:
    """PNG of two colours. odd: rows that are `thin` (900 x 1), or `broken`."""
    rng, paths = np.random.default_rng(seed), []
    folder.mkdir(parents=True)
    labels = np.arange(count, dtype=np.int64) % 2
    for row in range(count):
        paths.append(folder / f"{row}.png")
        shape = (1, 900, 3) if odd.get(row) == "thin" else (20, 24, 3)
        pixels = rng.integers(0, 90, shape) + 120 * labels[row]
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
        if odd.get(row) == "broken":
            paths[-1].write_bytes(paths[-1].read_bytes()[:60])
    return paths, labels


def test_pictures_left_out_leave_no_label_behind(registries: Registries, tmp_path: Path) -> None:
    """A broken picture, and one that only the network's own size leaves out."""
    parts = {
        name: write(tmp_path / name, count, seed, odd)
        for seed, (name, count, odd) in enumerate(
            [("train", 40, {3: "broken"}), ("val", 20, {4: "thin", 7: "broken"}), ("test", 20, {5: "thin"})]
        )
    }

    def load(settings: Settings) -> Dataset:
        splits = {
            name: Split(name, ImageFiles(f"files-{name}", paths, "skip"), Labels(labels))
            for name, (paths, labels) in parts.items()
        }
        return Dataset("files", ("dark", "bright"), splits, "top1")

    register_dataset(DatasetSpec("files", load, 2, "files", "own", "made here"))
    record = run(tmp_path / "cache", dataset="files", bad_images="skip")
    assert record.hyperparameters["pictures"] == {"train": 39, "val": 19}
    assert record.task["details"]["skipped_images"] == {"train": 1, "val": 1}
    assert record.scores["top1"]["n"] == 20 and record.scores["top1"]["value"] > 60
    assert "ece_scaled_val" in record.scores
