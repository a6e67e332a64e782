"""Fine-tuning steps beside the bare training step on a batch that is on the device already, in float32 and in bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gpu_checks.bench import Bench, Found
from sslbench.backbones import load_backbone
from sslbench.compat import parse_compat
from sslbench.datasets import ImageArray
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.metrics import METRICS
from sslbench.protocols._finetune_options import Options
from sslbench.protocols._finetune_training import KEPT, Learner, Setting, TrainingSet
from sslbench.training.loop import Plan, Step, train
from sslbench.training.schedules import cosine

CLASSES = 10


def finetuning(bench: Bench, found: Found) -> None:
    """Pictures a second of a ResNet-50 at 224, batch 64: whole steps, drawing and cropping alone, bare steps."""
    size, side, batch, steps = (64, 96, 8, 2) if bench.small else (224, 512, 64, 40)
    name = f"random-init:{'test_resnet' if bench.small else 'resnet50'}?size={size}"
    rng = np.random.default_rng(0)
    images = ImageArray("noise", rng.integers(0, 256, (4 * batch, side, side, 3), dtype=np.uint8))
    for precision in ("float32", "bfloat16"):
        options = Options() if precision == "float32" else Options(precision=precision)
        backbone = load_backbone(name).to(bench.device)
        originals = open_originals(
            images, int(KEPT * size), extraction="fast", pictures=Pictures(Path("unused"), 0), device=bench.device
        )
        pictures = TrainingSet(
            [originals], [(0, row) for row in range(len(images))], np.arange(len(images), dtype=np.int64) % CLASSES
        )
        setting = Setting(backbone, options, CLASSES, METRICS["top1"], batch, parse_compat({}), {})
        learner = setting.learner(pictures, {"rate": 0.01, "decay": 1e-4, "seed": 0}, seed=0)
        _whole(learner, 2)
        rates: dict[str, list[float]] = {"whole steps": [], "bare steps": [], "drawing and cropping": []}
        for _ in bench.rounds():
            rates["whole steps"].append(batch * steps / bench.seconds(lambda learner=learner: _whole(learner, steps)))
            rates["bare steps"].append(batch * steps / bench.seconds(lambda learner=learner: _bare(learner, steps)))
            rates["drawing and cropping"].append(
                batch * steps / bench.seconds(lambda learner=learner: _drawn(learner, steps))
            )
        for what, values in rates.items():
            found.row(f"{what}, {precision}", "pictures/s", values)
        share = found.ratio(f"whole / bare, {precision}", rates["whole steps"], rates["bare steps"])
        found.bar(f"whole / bare fine-tuning steps, {precision}", "x", share, at_least=0.85)


def _whole(learner: Learner, steps: int) -> None:
    train(learner, Plan(steps, min(10, steps)), schedule=cosine, begun_with={}, bfloat16=False, advance=lambda *_: None)


def _drawn(learner: Learner, steps: int) -> None:
    for number in range(steps):
        learner.batch(Step(number, 0.0, torch.Generator()))


def _bare(learner: Learner, steps: int) -> None:
    batch = learner.batch(Step(0, 0.0, torch.Generator()))
    for _ in range(steps):
        learner.optimiser.zero_grad()
        learner.loss(batch).backward()  # type: ignore[no-untyped-call]
        learner.optimiser.step()
