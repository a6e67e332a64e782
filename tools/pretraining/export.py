"""From a finished training to the two files of a zoo backbone: weights in float16, and a card of facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pretraining.judge import effective_rank, features
from pretraining.photographs import SIZE, Photographs
from pretraining.recipes import Budget, Recipe
from sslbench import __version__
from sslbench.backbones.checkpoint import load_weights
from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from sslbench.backbones.zoo import Card, build_card
from sslbench.datasets.splits import stratified
from sslbench.environment import cpu_model
from sslbench.errors import SslbenchError
from sslbench.files import write_atomic
from sslbench.metrics import METRICS, top1
from sslbench.metrics.score import Score
from sslbench.protocols.base import Labelled
from sslbench.protocols.linear import Linear

LICENCE = "MIT for code and weights; trained on a subset of ImageNet photographs, whose terms are research use only"
# A collapsed network keeps a handful of directions; the untrained ResNet has 31 of 96, the untrained ViT 25 of 64.
MIN_EFFECTIVE_RANK = 12.0


@dataclass(frozen=True)
class InDomain:
    """The probe on the held-out pictures of the pretraining classes: accuracy in % of the network and of its initial
    weights, and the effective rank of the network's features.
    """

    linear: Score
    untrained: Score
    effective_rank: float


def half(weights: Mapping[str, Tensor]) -> bytes:
    """The safetensors file: every tensor in float16, without BatchNorm's counters, which no frozen network reads."""
    tensors = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise SslbenchError(f"not finite in float16: {', '.join(broken)}")
    return save(tensors)


def rebuild(recipe: Recipe, content: bytes) -> nn.Module:
    """The network as a user of the zoo gets it, by the same steps: float32 from the float16 file."""
    objective, name = recipe.objective, "the exported file"
    preprocessing = Preprocessing(input_size=(SIZE, SIZE), resize=SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    card = Card(name, objective.arch, objective.arch_options, preprocessing, _sha256(content), {})
    network = build_card(name, card, Options(name, {}), {}).network.module
    load_weights(network, load(content), prefix="", drop=[], where=name)
    return network.to(memory_format=torch.channels_last)


def made_with(device: str) -> dict[str, str]:
    """What a training on `device` in this process runs on and with, for the card."""
    return {
        "hardware": hardware(device),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "sslbench": __version__,
    }


def hardware(device: str) -> str:
    """The processor and its threads, or the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{cpu_model()}, {torch.get_num_threads()} threads"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def probe(network: nn.Module, splits: dict[str, Photographs]) -> tuple[Score, Tensor]:
    """Top-1 in % of the study's linear probe on the val pictures, and their features.

    The penalty is selected on a stratified fifth of the train pictures, as for any folder without a split of its own.
    """
    train, val = splits["train"], splits["val"]
    x, held_out = features(network, train.images), features(network, val.images)
    targets = train.targets.numpy()
    keep, select = stratified(targets, (0.8, 0.2), 0)
    classes = int(targets.max()) + 1
    parts = [Labelled(x[rows], targets[rows]) for rows in (np.asarray(keep), np.asarray(select))]
    predictor = Linear(compat={"linear-solver": "sklearn"}).learn(
        parts[0], parts[1], num_classes=classes, metric=METRICS["top1"]
    )
    return top1(predictor.decide(held_out), val.targets.numpy()), held_out


def in_domain(recipe: Recipe, seed: int, content: bytes, splits: dict[str, Photographs]) -> InDomain:
    """The probe of the finished and of the initial network."""
    trained, x = probe(rebuild(recipe, content), splits)
    torch.manual_seed(seed)
    initial = recipe.objective(int(splits["train"].targets.max()) + 1).backbone
    untrained, _ = probe(initial.to(memory_format=torch.channels_last), splits)
    return InDomain(trained, untrained, effective_rank(x))


def check(log: list[dict[str, Any]], found: InDomain) -> None:
    """Raise SslbenchError for a network that must not ship: loss not fallen, features collapsed, nothing learned."""
    problems = []
    if not log[-1]["loss"] < log[0]["loss"]:
        problems.append(f"the loss went from {log[0]['loss']:.4f} to {log[-1]['loss']:.4f}")
    if found.effective_rank < MIN_EFFECTIVE_RANK:
        problems.append(f"the effective rank {found.effective_rank:.1f} is below {MIN_EFFECTIVE_RANK:g}")
    if found.linear.value <= found.untrained.value + 2 * found.linear.stderr:
        problems.append(
            f"linear accuracy {found.linear.value:.2f} % is not above the untrained {found.untrained.value:.2f} %"
        )
    if problems:
        raise SslbenchError(f"not exported: {'; '.join(problems)}")


def write(
    name: str, recipe: Recipe, budget: Budget, data: str, log: list[dict[str, Any]], found: InDomain, content: bytes,
    made_with: Mapping[str, str], folder: Path,
) -> list[Path]:  # fmt: skip
    """Write `NAME.safetensors` and `NAME.json`; returns their paths. made_with: of the process that trained."""
    objective = recipe.objective
    doc = objective.__doc__ or ""
    card = {
        "name": name,
        "arch": objective.arch,
        "arch_options": objective.arch_options,
        "size": SIZE,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "sha256": _sha256(content),
        "objective": name,
        "source": recipe.paper,
        "recipe": " ".join(doc.split()),
        "data": data,
        "views": asdict(recipe.views),
        "budget": {**asdict(budget), "views_per_picture_and_epoch": 2, "optimiser": "AdamW", "betas": recipe.betas},
        "training": {
            "first_loss": log[0]["loss"],
            "last_loss": log[-1]["loss"],
            "seconds": sum(line["seconds"] for line in log),
            "views_per_second": sum(line["views_per_second"] for line in log) / len(log),
            "losses": [round(line["loss"], 4) for line in log],
            **made_with,
        },
        "in_domain": {
            "effective_rank": found.effective_rank,
            "linear_top1": found.linear.to_json(),
            "untrained_linear_top1": found.untrained.to_json(),
        },
        "licence": LICENCE,
    }
    paths = [folder / f"{name}.safetensors", folder / f"{name}.json"]
    write_atomic(paths[0], content)
    write_atomic(paths[1], (json.dumps(card, indent=1) + "\n").encode())
    return paths
