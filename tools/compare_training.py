"""Fine-tuning beside the loop that one would write: pictures a second, ratios, and what all but the bare step costs.

    python tools/compare_training.py [--arch resnet18] [--size 64] [--source 96x72] [--steps 8] [--repeats 5]

The plain loop is torch's DataLoader with two workers, torchvision's transforms on PIL pictures, and SGD in float32, in a
process of its own, because the allocator's settings belong to a process; both are asked in turn, so that what else the
machine does meets both. The bare step is forward, backward and update on batches that are there already. Pictures and
weights are random.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from compare_extraction import make_pictures, source_of
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from training_steps import rates

from sslbench.backbones import load_backbone
from sslbench.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from sslbench.compat import parse_compat
from sslbench.datasets import Images
from sslbench.environment import cpu_model
from sslbench.features.allocator import keep_large_blocks
from sslbench.features.joined import JoinedOriginals
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.metrics import METRICS
from sslbench.protocols._finetune_options import Options
from sslbench.protocols._finetune_training import Learner, Setting, TrainingSet, kept_side

BATCH, CLASSES = 64, 10


class Files(Dataset[tuple[torch.Tensor, int]]):
    """Files with transforms, as everybody writes them."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, interpolation=v2.InterpolationMode.BICUBIC),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.paths[row]).convert("RGB")), row % CLASSES


def plain_process(pipe: Connection, arch: str, size: int, paths: list[Path]) -> None:
    """Answers each question, a number of steps, with pictures a second, the workers' start not counted."""
    model = timm.create_model(arch, num_classes=CLASSES)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    loader = DataLoader(Files(paths, size), BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    model.train()

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    endless = batches()
    while steps := pipe.recv():
        start = time.perf_counter()
        for _ in range(steps):
            images, targets = next(endless)
            loss = cross_entropy(model(images), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        pipe.send(BATCH * steps / (time.perf_counter() - start))


def learner_of(
    name: str, images: Images, device: str, folder: Path, *, batch: int = BATCH, variant: str = ""
) -> Learner:
    """What a fine-tuning case of some variant trains with, its pictures kept below `folder`."""
    backbone = load_backbone(name).to(device)
    kept = Pictures(folder, 1 << 33)
    originals = open_originals(
        images, kept_side(backbone.preprocessing), extraction="fast", pictures=kept, device=device
    )
    targets = np.arange(len(images), dtype=np.int64) % CLASSES
    pictures = TrainingSet(JoinedOriginals([originals], [(0, place) for place in range(len(images))]), targets)
    options = Options.parse(variant) or Options()
    setting = Setting(backbone, options, CLASSES, METRICS["top1"], batch, parse_compat({}), {})
    return setting.learner(pictures, {"rate": 0.01, "decay": 1e-4}, seed=0)


def our_rates(learner: Learner, steps: int) -> dict[str, float]:
    """Pictures a second of each part."""
    return rates(learner, BATCH, steps)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--source", default="96x72", help="width x height of the pictures")
    parser.add_argument("--steps", type=int, default=8, help="of each round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-ours", action="store_true", help="leave the plain loop out")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    width, height = map(int, options.source.split("x"))
    with tempfile.TemporaryDirectory() as below, contextlib.ExitStack() as stack:
        paths = make_pictures(Path(below), 4 * BATCH, width, height)
        asked, answers = multiprocessing.Pipe()
        if not options.only_ours:
            process = multiprocessing.get_context("spawn").Process(
                target=plain_process, args=(answers, options.arch, options.size, paths)
            )
            process.start()
            stack.callback(process.join)
            stack.callback(asked.send, 0)
            asked.send(2)
            asked.recv()
        keep_large_blocks()
        name = f"random-init:{options.arch}?size={options.size}"
        learner = learner_of(name, source_of(paths), "cpu", Path(below) / "kept")
        our_rates(learner, 2)
        for _ in range(options.repeats):
            if not options.only_ours:
                asked.send(options.steps)
                found.setdefault("plain loop", []).append(asked.recv())
            for what, value in our_rates(learner, options.steps).items():
                found.setdefault(what, []).append(value)
    print(
        f"{options.arch} at {options.size}, batch {BATCH}, JPEG of {options.source}, {options.repeats} rounds of "
        f"{options.steps} steps; {cpu_model()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print("| what | pictures/s, median (least to most) |\n| --- | ---: |")
    for what, values in found.items():
        print(f"| {what} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) |")
    pairs = [("whole step", "plain loop")] if "plain loop" in found else []
    for first, second in [*pairs, ("whole step", "bare step"), ("bare step", "batches alone")]:
        ratios = [a / b for a, b in zip(found[first], found[second], strict=True)]
        print(f"| {first} / {second} | {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |")


if __name__ == "__main__":
    main()
