"""What a fine-tuning task can be asked for: the recipes, and the options that make up a variant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from sslbench.errors import UnknownNameError
from sslbench.protocols._variant_options import named_option


@dataclass(frozen=True)
class Recipe:
    """How a network is fine-tuned.

    rates, decays: of the grid, in the order in which it is tried. layer_decay: what the rate is multiplied by from one block to
    the one below, None for one rate. warmup: fraction of the steps over which the rate rises from 0. source: where it is from.
    """

    name: str
    source: str
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    optimiser: Literal["sgd", "adamw"] = "sgd"
    steps: int = 5000
    batch: int = 64
    layer_decay: float | None = None
    warmup: float = 0.0


STUDY = Recipe(
    "study",
    "Ericsson et al. 2021, appendix A.3; ssl-transfer finetune.py",
    rates=(0.1, 0.01, 0.001, 0.0001),
    decays=(0.0, 1e-6, 1e-5, 1e-4, 1e-3),
)
RECIPES = {
    recipe.name: recipe
    for recipe in (
        STUDY,
        Recipe(
            "quick",
            "this project: the study's way with few steps and a grid of 2 x 2, to be tried on a CPU",
            rates=(0.1, 0.01),
            decays=(0.0, 1e-4),
            steps=80,
            batch=32,
        ),
        # Steps and batch are the study's, so that only how it is optimised differs.
        Recipe(
            "vit",
            "AdamW with layer-wise decay of the rate, as in MAE (He et al. 2022, appendix A.1) and BEiT",
            rates=(1e-3, 3e-4, 1e-4, 3e-5),
            decays=(0.05, 0.3),
            optimiser="adamw",
            layer_decay=0.75,
            warmup=0.1,
        ),
    )
}
HELP = (
    "it is made of these, joined by +: last-N, Npct (such as 10pct), recipe=quick or vit, search=halving, steps=N, batch=N, "
    "seeds=N, precision=bfloat16"
)
_LAST, _PERCENT = re.compile(r"last-([1-9]\d*)"), re.compile(r"([1-9]\d?)pct")
_CHOICES = {"recipe": tuple(RECIPES)[1:], "search": ("halving",), "precision": ("bfloat16",)}
# Steps by what the loop's seeds take.
_NUMBERS = {"steps": (1, 100_000), "batch": (2, 1_000_000), "seeds": (2, 100)}


@dataclass(frozen=True)
class Options:
    """The options of a variant; the defaults are the study's.

    last: how many of the last stages or blocks are trained, None for all. percent: of the pictures of train and of val that are
    used. search: the whole grid, or successive halving. steps, batch: None as the recipe says. seeds: how many times the chosen
    hyperparameters are trained for the test. precision: of the forward pass.
    """

    last: int | None = None
    percent: int | None = None
    recipe: str = STUDY.name
    search: str = "grid"
    steps: int | None = None
    batch: int | None = None
    seeds: int = 1
    precision: str = "float32"

    @classmethod
    def parse(cls, text: str) -> Options | None:
        """The options of a variant such as `last-1+10pct`, None where none of its parts is one.

        Raises UnknownNameError for a value that cannot be, a part that stands twice, and parts of which only some are options.
        """
        if not text:
            return cls()
        found: dict[str, Any] = {}
        foreign: list[str] = []
        for part in text.split("+"):
            option = _option(part)
            if option is None:
                foreign.append(part)
                continue
            name, value = option
            if name in found:
                raise UnknownNameError(f"the variant {text!r} has {name} twice")
            found[name] = value
        if foreign and found:
            raise UnknownNameError(f"{foreign[0]!r} of the variant {text!r} is no option of fine-tuning; {HELP}")
        return cls(**found) if found else None

    def __str__(self) -> str:
        """The one spelling."""
        parts = [f"last-{self.last}"] if self.last else []
        parts += [f"{self.percent}pct"] if self.percent else []
        default = Options()
        for name in ("recipe", "search", "steps", "batch", "seeds", "precision"):
            value = getattr(self, name)
            parts += [f"{name}={value}"] if value != getattr(default, name) else []
        return "+".join(parts)

    @property
    def way(self) -> Recipe:
        """The recipe."""
        return RECIPES[self.recipe]


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for what is none."""
    options = Options.parse(text)
    return None if options is None else str(options)


def _option(part: str) -> tuple[str, Any] | None:
    if match := _LAST.fullmatch(part):
        return "last", int(match[1])
    if match := _PERCENT.fullmatch(part):
        return "percent", int(match[1])
    return named_option(part, _CHOICES, _NUMBERS)
