"""Is a network trained, and is it collapsed? Effective rank and nearest neighbours on held-out pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretraining.normalisation import normalise
from pretraining.photographs import Photographs
from sslbench.metrics import METRICS, representation, top1
from sslbench.protocols.base import Labelled
from sslbench.protocols.knn import NearestNeighbours

CHUNK = 500


@dataclass(frozen=True)
class Judgement:
    """effective_rank: of the features of the validation pictures. knn: their accuracy in % with train as the bank."""

    effective_rank: float
    knn: float


@torch.inference_mode()
def features(network: nn.Module, images: Tensor) -> Tensor:
    """float32 (N, D) on the CPU from uint8 (N, 3, 64, 64), whole pictures."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    for part in images.split(CHUNK):
        tensor = normalise(part.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
        parts.append(network(tensor).float().cpu())
    return torch.cat(parts)


def effective_rank(x: Tensor) -> float:
    """`sslbench.metrics.representation.effective_rank` of features (N, D)."""
    return representation.effective_rank(x.numpy())


def judge(network: nn.Module, splits: dict[str, Photographs]) -> Judgement:
    """Both measures, of whole pictures without augmentation."""
    train, val = splits["train"], splits["val"]
    x = features(network, val.images)
    if not bool(torch.isfinite(x).all()):
        return Judgement(effective_rank=0.0, knn=0.0)
    classes = int(train.targets.max()) + 1
    bank = Labelled(features(network, train.images), train.targets.cpu().numpy())
    nothing = Labelled(x[:0], val.targets[:0].cpu().numpy())
    predictor = NearestNeighbours().learn(bank, nothing, num_classes=classes, metric=METRICS["top1"])
    score = top1(predictor.decide(x), val.targets.cpu().numpy())
    return Judgement(effective_rank(x), score.value)
