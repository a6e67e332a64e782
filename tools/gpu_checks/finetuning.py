"""Fine-tuning steps beside the bare training step on a batch that is on the device already, in float32 and in bfloat16."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from compare_training import PARTS, learner_of, whole_steps

from gpu_checks.bench import Bench, Found
from sslbench.datasets import ImageArray


def finetuning(bench: Bench, found: Found) -> None:
    """Pictures a second of a ResNet-50 at 224, batch 64: whole steps, bare ones, drawing and cropping alone."""
    size, side, batch, steps = (64, 96, 8, 2) if bench.small else (224, 512, 64, 40)
    name = f"random-init:{'test_resnet' if bench.small else 'resnet50'}?size={size}"
    pixels = np.random.default_rng(0).integers(0, 256, (4 * batch, side, side, 3), dtype=np.uint8)
    for precision, variant in (("float32", ""), ("bfloat16", "precision=bfloat16")):
        with tempfile.TemporaryDirectory() as folder:
            images = ImageArray("noise", pixels)
            learner = learner_of(name, images, bench.device, Path(folder), batch=batch, variant=variant)
        whole_steps(learner, 2)
        rates: dict[str, list[float]] = {what: [] for what in PARTS}
        for _ in bench.rounds():
            for what, part in PARTS.items():
                rates[what].append(batch * steps / bench.seconds(partial(part, learner, steps)))
        for what, values in rates.items():
            found.row(f"{what}, {precision}", "pictures/s", values)
        share = found.ratio(f"ours / bare step, {precision}", rates["ours"], rates["bare step"])
        found.bar(f"ours / bare fine-tuning step, {precision}", "x", share, at_least=0.85)
