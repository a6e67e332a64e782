"""Detection training beside its bare step: pictures a second, and what drawing, resizing and padding cost.

    python tools/compare_detection.py [--backbone random-init:resnet50] [--recipe study] [--size 800] [--repeats 5]

The bare steps are forward, losses, backward and update on batches that are there already, the same that the whole ones draw;
these are what a case trains with. Both are asked in turn, so that what else the machine does meets both. Pictures, boxes and
weights are random.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from compare_extraction import make_pictures, rate, source_of

from sslbench.backbones import load_backbone
from sslbench.datasets import Boxes, Images, Objects
from sslbench.environment import cpu_model
from sslbench.features.allocator import keep_large_blocks
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.protocols._detection_options import RECIPES, Options
from sslbench.protocols._detection_pictures import Sizes, annotated
from sslbench.protocols._detection_training import DetectionLearner, Setting
from sslbench.protocols.base import Part
from sslbench.training.loop import Plan, Step, train

CLASSES = 20


def boxes_of(count: int, width: int, height: int) -> list[Objects]:
    """One to six random objects a picture."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        number = int(generator.integers(1, 7))
        sides = generator.uniform(0.1, 0.6, (number, 2)) * [width, height]
        corner = generator.uniform(0, 1, (number, 2)) * ([width, height] - sides)
        boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        found.append(Objects(boxes, generator.integers(0, CLASSES, number), np.zeros(number, dtype=bool)))
    return found


def learner_of(
    name: str, images: Images, source: tuple[int, int], variant: str, device: str, folder: Path
) -> DetectionLearner:
    """What a detection case of some variant trains with, its pictures kept below `folder`. source: width and height."""
    backbone, options = load_backbone(name).to(device), Options.parse(variant)
    assert options is not None and options.recipe is not None
    recipe = RECIPES[options.recipe]
    part = Part(
        images, Boxes(boxes_of(len(images), *source)), features=None, unreadable=lambda rows: None, shown=None,
        originals=lambda side: open_originals(
            images, side, extraction="fast", pictures=Pictures(folder, 1 << 33), device=device
        ),
    )  # type: ignore[arg-type]  # fmt: skip
    pictures = annotated(part, max(Sizes.of(recipe, options.size).short))
    setting = Setting(backbone, options, recipe, backbone.levels(), CLASSES, {})
    return setting.learner(pictures, seed=0)


def whole_steps(learner: DetectionLearner, steps: int) -> None:
    """As a case has them, but that nothing is kept."""
    plan = Plan(steps, min(10, steps))
    train(learner, plan, schedule=lambda progress: 1.0, begun_with={}, bfloat16=False, advance=lambda *_: None)


def bare_steps(learner: DetectionLearner, steps: int) -> Callable[[], None]:
    """The same steps on batches that are there already: those that `whole_steps` draws."""
    batches = [learner.batch(Step(number, 0.0, torch.Generator())) for number in range(steps)]
    learner.model.train()

    def run() -> None:
        for batch in batches:
            learner.optimiser.zero_grad()
            learner.loss(batch).backward()  # type: ignore[no-untyped-call]
            learner.optimiser.step()

    return run


def batches_alone(learner: DetectionLearner, steps: int) -> None:
    """Drawn, resized, padded and normalised."""
    for number in range(steps):
        learner.batch(Step(number, 0.0, torch.Generator()))


def our_rates(learner: DetectionLearner, batch: int, steps: int) -> dict[str, float]:
    """Pictures a second of each part."""
    parts: dict[str, Callable[[], None]] = {
        "whole step": partial(whole_steps, learner, steps),
        "bare step": bare_steps(learner, steps),
        "drawing and resizing alone": partial(batches_alone, learner, steps),
    }
    return {what: rate(batch * steps, part) for what, part in parts.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="random-init:resnet50")
    parser.add_argument("--recipe", default="study", choices=tuple(RECIPES))
    parser.add_argument("--setting", default="frozen", choices=("frozen", "finetune"))
    parser.add_argument("--size", type=int, default=800)
    parser.add_argument("--source", default="500x375", help="width x height of the pictures")
    parser.add_argument("--steps", type=int, default=2, help="of each round")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    width, height = map(int, options.source.split("x"))
    found: dict[str, list[float]] = {}
    keep_large_blocks()
    with tempfile.TemporaryDirectory() as below:
        images = source_of(make_pictures(Path(below), 64, width, height))
        variant = f"{options.setting}+recipe={options.recipe}+size={options.size}"
        learner = learner_of(options.backbone, images, (width, height), variant, "cpu", Path(below) / "kept")
        batch = RECIPES[options.recipe].batch
        our_rates(learner, batch, 1)
        for _ in range(options.repeats):
            for what, value in our_rates(learner, batch, options.steps).items():
                found.setdefault(what, []).append(value)
    print(
        f"{options.backbone}, {variant}, batch {batch}, JPEG of {options.source}, {options.repeats} rounds of {options.steps} "
        f"steps; {cpu_model()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print("| what | pictures/s, median (least to most) |\n| --- | ---: |")
    for what, values in found.items():
        print(f"| {what} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) |")
    ratios = [bare / whole for bare, whole in zip(found["bare step"], found["whole step"], strict=True)]
    print(
        f"| time of a whole step / bare step | {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
    )


if __name__ == "__main__":
    main()
