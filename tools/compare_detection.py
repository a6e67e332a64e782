"""Detection training beside its bare step: pictures a second, and what drawing, resizing and padding cost.

    python tools/compare_detection.py [--backbone random-init:resnet50] [--recipe study] [--size 800] [--repeats 5]

The bare steps are forward, losses, backward and update on batches that are there already, the same that the whole ones draw;
these are what a case trains with. Both are asked in turn, so that what else the machine does meets both. Pictures, boxes and
weights are random.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from compare_extraction import make_pictures, source_of
from training_steps import part_of, print_table, rounds

from sslbench.backbones import load_backbone
from sslbench.datasets import Boxes, Images, Objects
from sslbench.features.allocator import keep_large_blocks
from sslbench.protocols._detection_options import RECIPES, Options
from sslbench.protocols._detection_pictures import Sizes, annotated
from sslbench.protocols._detection_training import DetectionLearner, Setting

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
    part = part_of(images, Boxes(boxes_of(len(images), *source)), folder, device)
    pictures = annotated(part, max(Sizes.of(recipe, options.size).short))
    setting = Setting(backbone, options, recipe, backbone.levels(), CLASSES, {})
    return setting.learner(pictures, seed=0)


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
    keep_large_blocks()
    with tempfile.TemporaryDirectory() as below:
        images = source_of(make_pictures(Path(below), 64, width, height))
        variant = f"{options.setting}+recipe={options.recipe}+size={options.size}"
        learner = learner_of(options.backbone, images, (width, height), variant, "cpu", Path(below) / "kept")
        batch = RECIPES[options.recipe].batch
        found = rounds(learner, batch, options.steps, options.repeats)
    print_table(
        found,
        f"{options.backbone}, {variant}, batch {batch}, JPEG of {options.source}, {options.repeats} rounds of "
        f"{options.steps} steps",
    )


if __name__ == "__main__":
    main()
