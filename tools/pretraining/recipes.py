"""The backbones of the zoo, as data: objective and views. Everything else is the same for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pretraining import objectives
from pretraining.objectives import Objective
from sslbench.errors import SslbenchError
from sslbench.training.augment import Views

# Crops of 48 pixels cover 0.76 of a 64-pixel side on average, so that things look as large as in the whole picture at
# 64 pixels that the network is judged on (Touvron et al. 2019), and a step costs half of one at 64.
CROP = 48
CROPS = Views(CROP)
COLOURED = Views(CROP, jitter=0.4, grey=0.2)


@dataclass(frozen=True)
class Recipe:
    """How one backbone is trained. betas: AdamW's; those of the masked autoencoder are its paper's."""

    objective: type[Objective]
    views: Views
    paper: str
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Budget:
    """What every backbone may spend: passes over the pictures, two views of each picture in a pass.

    Raises SslbenchError for values that nothing can be trained with.
    """

    epochs: int = 24
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 1 / 24
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch": (self.batch >= 2, "at least 2"),
            "learning_rate": (0 < self.learning_rate < math.inf, "a positive number"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "not a negative number"),
            "warmup": (0 <= self.warmup < 1, "a fraction of the training below 1"),
            "seed": (self.seed >= 0, "not a negative number"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise SslbenchError(f"{name} is {getattr(self, name)}; expected {expected}")


RECIPES: dict[str, Recipe] = {
    "supervised": Recipe(objectives.Supervised, CROPS, "cross-entropy on the labels"),
    "simclr": Recipe(objectives.SimCLR, COLOURED, "Chen et al. 2020, arXiv 2002.05709"),
    "simclr-nocolour": Recipe(
        objectives.SimCLR, CROPS, "Chen et al. 2020, arXiv 2002.05709, without colour jitter and greyscale"
    ),
    "moco-v2": Recipe(objectives.MoCoV2, COLOURED, "Chen et al. 2020, arXiv 2003.04297"),
    "swav": Recipe(objectives.SwAV, COLOURED, "Caron et al. 2020, arXiv 2006.09882"),
    "vicreg": Recipe(objectives.VICReg, COLOURED, "Bardes et al. 2022, arXiv 2105.04906"),
    "mae": Recipe(objectives.MAE, Views(64), "He et al. 2022, arXiv 2111.06377", betas=(0.9, 0.95)),
}
