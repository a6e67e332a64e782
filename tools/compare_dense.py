"""Training of dense heads beside its bare step: pictures a second, and what drawing, resizing, padding and labels cost.

    python tools/compare_dense.py [--task normals] [--backbone random-init:resnet50] [--size 450] [--repeats 5] [--first-pass]

The bare steps are forward, loss, backward and update on batches that are there already, the same that the whole ones draw;
these are what a case trains with: pictures from decoded files, masks from PNG files or normals from an array. Maps of classes are
kept once they were read, or with --first-pass each is read for every step. Both are asked in turn, so that what else the machine
does meets both. Pictures, masks and weights are random.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from compare_extraction import make_pictures, source_of
from PIL import Image
from training_steps import part_of, print_table, rounds

from sslbench.backbones import load_backbone
from sslbench.datasets import Images, Masks, Normals, Targets
from sslbench.features.allocator import keep_large_blocks
from sslbench.protocols import _dense_training
from sslbench.protocols._codewords import clustered
from sslbench.protocols._dense_coding import Classes, Codewords, Coding
from sslbench.protocols._dense_options import NORMALS, SEGMENTATION
from sslbench.protocols._dense_pictures import pictures_of
from sslbench.protocols._dense_training import DenseLearner, Setting

CLASSES = 150
TASKS = {task.name: task for task in (SEGMENTATION, NORMALS)}


def targets_of(task: str, count: int, source: tuple[int, int], folder: Path) -> tuple[Targets, Coding]:
    """Masks in PNG files, or normals in an array: areas of 16 pixels, each of one class or direction."""
    generator, (wide, high) = np.random.default_rng(0), source
    coarse = generator.integers(0, CLASSES, (count, -(-high // 16), -(-wide // 16))).astype(np.uint8)
    fine = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :high, :wide]
    if task == "segmentation":
        for number, mask in enumerate(fine):
            Image.fromarray(mask).save(folder / f"{number}.png")
        return Masks(lambda row: np.asarray(Image.open(folder / f"{row}.png")), "made", np.arange(count)), Classes(
            CLASSES
        )
    directions = generator.normal(size=(CLASSES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # As float16 on disk would be: to be converted and encoded.
    kept = directions.astype(np.float16)[fine]
    made = Normals(lambda row: kept[row].astype(np.float32), "made", np.arange(count))
    return made, Codewords(clustered(directions), "made")


def learner_of(
    task: str, name: str, images: Images, source: tuple[int, int], variant: str, device: str, folder: Path
) -> DenseLearner:
    """What a case of some variant trains with, its pictures kept below `folder`. source: width and height."""
    backbone, options = load_backbone(name).to(device), TASKS[task].options(variant)
    assert options is not None and options.recipe is not None
    recipe = TASKS[task].recipes[options.recipe].sized(options.size)
    folder.mkdir(parents=True, exist_ok=True)
    targets, coding = targets_of(task, len(images), source, folder)
    part = part_of(images, targets, folder, device)
    setting = Setting(backbone, TASKS[task], options, recipe, coding, backbone.levels(), {}, {})
    return setting.learner(pictures_of({"train": part}, max(recipe.short), coding), seed=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="segmentation", choices=tuple(TASKS))
    parser.add_argument("--backbone", default="random-init:resnet50")
    parser.add_argument("--recipe", default="study", choices=("study", "adamw", "small"))
    parser.add_argument("--size", type=int, default=450)
    parser.add_argument("--source", default="640x480", help="width x height of the pictures")
    parser.add_argument("--steps", type=int, default=2, help="of each round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--first-pass", action="store_true", help="keep no map of classes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    width, height = map(int, options.source.split("x"))
    keep_large_blocks()
    if options.first_pass:
        _dense_training._KEPT_BYTES = 0
    with tempfile.TemporaryDirectory() as below:
        images = source_of(make_pictures(Path(below), 64, width, height))
        variant = f"recipe={options.recipe}+size={options.size}"
        learner = learner_of(
            options.task, options.backbone, images, (width, height), variant, options.device, Path(below) / "kept"
        )
        batch = TASKS[options.task].recipes[options.recipe].batch
        found = rounds(learner, batch, options.steps, options.repeats)
    passes = ", first pass" if options.first_pass else ""
    print_table(
        found,
        f"{options.task}, {options.backbone}, {variant}, batch {batch}, JPEG of {options.source}, {options.repeats} rounds of "
        f"{options.steps} steps{passes}, {options.device}",
    )


if __name__ == "__main__":
    main()
