"""Steps of an inversion beside those that one would write: the deep image prior layer by layer, Adam's usual loop.

    python tools/compare_inversion.py [--backbone random-init:resnet50] [--recipe study] [--repeats 5] [--threads 2]

Both are asked in turn, so that what else the machine does meets both. Processor time is told beside the time that passed, since
on a machine with other work the latter is mostly theirs. Picture and weights are random; both ways take the same, and the
difference of their losses is told too.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from sslbench.backbones import load_backbone
from sslbench.environment import cpu_model
from sslbench.features.allocator import keep_large_blocks
from sslbench.protocols._inversion_options import RECIPES
from sslbench.protocols._inversion_training import InversionLearner, last_map
from sslbench.threads import share_cores


def step(learner: InversionLearner) -> torch.Tensor:
    """One update; the loss before it."""
    learner.optimiser.zero_grad()
    loss = learner.loss(None)
    loss.backward()
    learner.optimiser.step()
    return loss.detach()


def timed(learner: InversionLearner, steps: int) -> tuple[float, float]:
    """Seconds of a step, passed and of the processor."""
    passed, spent = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step(learner)
    return (time.perf_counter() - passed) / steps, (time.process_time() - spent) / steps


def learners_of(name: str, recipe: str, device: str) -> dict[str, InversionLearner]:
    """The inversion of a random picture as a case makes it, and as one would write it."""
    chosen, backbone = RECIPES[recipe], load_backbone(name).to(device)
    pixels = np.random.default_rng(0).integers(0, 256, (chosen.size, chosen.size, 3), dtype=np.uint8)
    last = last_map(backbone)
    shipped, usual = (
        InversionLearner(
            last,
            backbone.preprocessing,
            pixels,
            chosen,
            output="normalised",
            seed=0,
            device=backbone.device,
            plain=plain,
        )
        for plain in (False, True)
    )
    usual.model.to(memory_format=torch.contiguous_format)
    usual._noise = usual._noise.contiguous()
    usual.optimiser = torch.optim.Adam(usual.model.parameters(), chosen.rate)
    return {"as shipped": shipped, "plain loop": usual}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="random-init:resnet50")
    parser.add_argument("--recipe", default="study", choices=tuple(RECIPES))
    parser.add_argument("--steps", type=int, default=2, help="of each round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    share_cores()
    keep_large_blocks()
    ways = learners_of(options.backbone, options.recipe, "cpu")
    losses = [float(step(learner)) for learner in ways.values()]
    found = {what: list[tuple[float, float]]() for what in ways}
    for _ in range(options.repeats):
        for what, learner in ways.items():
            found[what].append(timed(learner, options.steps))
    print(
        f"{options.recipe}, {options.backbone}, {options.repeats} rounds of {options.steps} steps; {cpu_model()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"first losses differ by {abs(losses[0] / losses[1] - 1):.1g}\n"
    )
    print("| what | ms/step, median (least to most) | ms/step of the processor |\n| --- | ---: | ---: |")
    for what, values in found.items():
        told = [[1000 * pair[place] for pair in values] for place in (0, 1)]
        cells = (f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in told)
        print(f"| {what} | {' | '.join(cells)} |")
    both = list(zip(found["plain loop"], found["as shipped"], strict=True))
    ratios = [[plain[place] / shipped[place] for plain, shipped in both] for place in (0, 1)]
    cells = (f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in ratios)
    print(f"| plain loop / as shipped | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
