"""Training steps of every kind beside the bare ones on batches that are there already; the CPU's losses, the same bits twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import compare_dense
import compare_detection
import compare_training
import numpy as np
import torch
from torch import Tensor
from training_steps import parts, rates

from gpu_checks.bench import Bench, Found
from sslbench.datasets import ImageArray
from sslbench.training.loop import Plan, Step, train

# Largest relative norm of the difference from the CPU's float32 outputs, and of the loss: convolutions may run in TF32, which
# keeps 10 bits. A loss is of other draws on a GPU where anchors, regions or dropped channels are drawn there.
APART, LOSS_APART, DRAWN_APART = 2e-2, 2e-2, 0.2
AIM = 0.85
# Of the two trainings that are to give the same bits.
STEPS = 3
SMALL = "random-init:test_resnet?size=64"

# A learner of pictures of some width and height, on a device, with its files in a folder; the text is of a variant.
Make = Callable[[str, ImageArray, tuple[int, int], str, str, Path], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of training.

    title: for the table of aims. make: gives a learner. outputs: what its network computes of a batch before anything is drawn.
    variants: at the size of the study, and tiny. source: width and height of the pictures. batch, small_batch: of a step. drawn:
    whether the loss depends on what is drawn on the device. same_bits: whether the loop promises them; the other kinds have
    resamplings of which it does not.
    """

    title: str
    make: Make
    outputs: Callable[[Any, Any], Tensor]
    variants: tuple[str, str]
    source: tuple[int, int]
    batch: int
    small_batch: int
    steps: int
    drawn: bool
    same_bits: bool

    def pictures(self, small: bool) -> tuple[ImageArray, tuple[int, int]]:
        """Noise, four batches of it, with its width and height."""
        wide, high = (80, 64) if small else self.source
        shape = (4 * (self.small_batch if small else self.batch), high, wide, 3)
        return ImageArray("noise", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)), (wide, high)


def finetuning(bench: Bench, found: Found) -> None:
    """A ResNet-50 at 224, batch 64."""

    def make(
        name: str, images: ImageArray, source: tuple[int, int], variant: str, device: str, folder: Path
    ) -> compare_training.Learner:
        return compare_training.learner_of(name, images, device, folder, batch=len(images) // 4, variant=variant)

    kind = Kind(
        "fine-tuning", make, lambda learner, batch: learner.model(batch[0]), ("", ""), (512, 512), 64, 4, 40,
        drawn=False, same_bits=True,
    )  # fmt: skip
    _check(bench, found, kind)


def detection(bench: Bench, found: Found) -> None:
    """Faster R-CNN over a ResNet-50 that is trained too, the study's batch of 2 at 800."""

    def outputs(learner: Any, batch: Any) -> Tensor:
        model = learner.model
        return torch.cat([each.flatten() for each in model.pyramid(model._network.feature_maps(batch[0]))])

    kind = Kind(
        "detection", compare_detection.learner_of, outputs,
        ("finetune+recipe=study+size=800", "finetune+recipe=small+size=64+batch=4"),
        (500, 375), 2, 4, 15, drawn=True, same_bits=False,
    )  # fmt: skip
    _check(bench, found, kind)


def segmentation(bench: Bench, found: Found) -> None:
    """UPerNet over a ResNet-50 that is trained too, the study's batch of 4 around 450."""
    _dense(bench, found, "segmentation", 4, 15)


def normals(bench: Bench, found: Found) -> None:
    """Pyramid pooling over a frozen, dilated ResNet-50, the study's batch of 2 around 450."""
    _dense(bench, found, "normals", 2, 15)


def _dense(bench: Bench, found: Found, task: str, batch: int, steps: int) -> None:
    kind = Kind(
        task, partial(compare_dense.learner_of, task), lambda learner, batch: learner.model(batch[0]),
        ("recipe=study+size=450", "recipe=small+size=64+batch=4"), (640, 480), batch, 4, steps, drawn=task == "normals",
        same_bits=False,
    )  # fmt: skip
    _check(bench, found, kind)


def _check(bench: Bench, found: Found, kind: Kind) -> None:
    name, batch = (SMALL, kind.small_batch) if bench.small else ("random-init:resnet50", kind.batch)
    variant, steps = kind.variants[bench.small], 1 if bench.small else kind.steps
    images, source = kind.pictures(bench.small)
    with tempfile.TemporaryDirectory() as below:

        def learner(device: str, precision: str = "") -> Any:
            text = "+".join(filter(None, [variant, precision]))
            return kind.make(name, images, source, text, device, Path(below) / "kept")

        first, again = learner(bench.device), learner(bench.device)
        _beside_the_cpu(found, kind, learner("cpu"), first, again)
        _twice(found, kind, first, again)
        del again
        _rates(bench, found, first, batch, steps, kind.title, "float32")
        if found.goes_on(bench, "bfloat16"):
            del first
            _rates(bench, found, learner(bench.device, "precision=bfloat16"), batch, steps, kind.title, "bfloat16")


def _beside_the_cpu(found: Found, kind: Kind, here: Any, *there: Any) -> None:
    outputs, losses = zip(*(_computed(kind, each) for each in (here, *there)), strict=True)
    apart = float((outputs[1] - outputs[0]).norm() / outputs[0].norm())
    found.row("outputs from the CPU's, relative norm", "1", [apart])
    found.expect(apart <= APART, f"outputs are {apart:.2g} from the CPU's")
    moved = abs(losses[1] / losses[0] - 1)
    found.row("first loss from the CPU's", "%", [100 * moved])
    found.expect(
        moved <= (DRAWN_APART if kind.drawn else LOSS_APART), f"the first loss is {losses[1]}, the CPU's {losses[0]}"
    )


@torch.no_grad()
def _computed(kind: Kind, learner: Any) -> tuple[Tensor, float]:
    """Outputs on the CPU, and the loss of the first batch."""
    batch = learner.batch(Step(0, 0.0, torch.Generator()))
    outputs = kind.outputs(learner, batch) if not learner.model.eval().training else torch.empty(0)
    torch.manual_seed(0)
    learner.model.train()
    return outputs.float().cpu(), float(learner.loss(batch))


def _twice(found: Found, kind: Kind, first: Any, again: Any) -> None:
    """Both have seen the same so far."""
    for learner in (first, again):
        train(learner, Plan(STEPS, STEPS), schedule=lambda progress: 1.0, begun_with={}, bfloat16=False)
    differ = different_tensors(first.model, again.model)
    found.row(f"tensors that differ after {STEPS} steps, twice", "1", [len(differ)])
    if kind.same_bits:
        found.expect(not differ, f"{len(differ)} tensors differ between two trainings, such as {', '.join(differ[:3])}")


def different_tensors(first: torch.nn.Module, other: torch.nn.Module) -> list[str]:
    """Names of parameters and buffers that have not the same bits."""
    theirs = other.state_dict()
    return [name for name, tensor in first.state_dict().items() if not torch.equal(tensor, theirs[name])]


def _rates(bench: Bench, found: Found, learner: Any, batch: int, steps: int, title: str, precision: str) -> None:
    # What the first steps wait for is not counted, and they tell the memory.
    found.memory(f"peak memory, {precision}", bench, parts(learner, steps if bench.small else 2)["whole step"])
    if not bench.small:
        rates(learner, batch, 1)
    every: dict[str, list[float]] = {}
    for _ in bench.rounds():
        for what, value in rates(learner, batch, steps, bench.seconds).items():
            every.setdefault(what, []).append(value)
    for what, values in every.items():
        found.row(f"{what}, {precision}", "pictures/s", values)
    share = found.ratio(f"whole step / bare step, {precision}", every["whole step"], every["bare step"])
    found.bar(f"{title}, whole step / bare step, {precision}", "x", share, at_least=AIM)
