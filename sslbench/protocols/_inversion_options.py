"""What an inversion can be asked for: the recipes, and the options that make up a variant."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sslbench.protocols._variant_options import named_options


@dataclass(frozen=True)
class Recipe:
    """How pictures are reconstructed.

    source: where it is from. size: pixels a side of what the network is shown, noise: of what the prior starts from, a multiple
    of 2 for each scale; the upper left corner of what it paints is taken. amplitude: of the uniform noise, from 0. channels,
    kernels, skip, inputs: of the prior, see `sslbench.protocols._inversion_network.Shape`. rate: Adam's. pictures: of the test
    split.
    """

    name: str
    source: str
    size: int = 224
    noise: int = 256
    amplitude: float = 0.1
    channels: tuple[int, ...] = (16, 32, 64, 128, 128, 128)
    kernels: tuple[int, ...] = (7, 7, 5, 5, 3, 3)
    skip: int = 4
    inputs: int = 32
    rate: float = 1e-3
    steps: int = 3000
    pictures: int = 1

    def details(self) -> dict[str, Any]:
        """All that a reconstruction depends on: what it is called, where it is from, and how many there are, aside."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "source", "pictures")}


STUDY = Recipe("study", "Ericsson et al. 2021, appendix A.8, with the network of Zhao et al. 2020 (arXiv 2006.06606)")
QUICK = Recipe(
    "quick",
    "this project: pictures of 64 pixels, seconds on a CPU",
    size=64,
    noise=64,
    channels=(16, 32, 64),
    kernels=(3, 3, 3),
    inputs=8,
    rate=3e-2,
    steps=50,
    pictures=8,
)
RECIPES = {recipe.name: recipe for recipe in (STUDY, QUICK)}
HELP = (
    "it is made of options joined by +, or nothing for the study's setting: recipe=quick (pictures of 64 pixels, seconds on a "
    "CPU), pictures=N (of the test split), steps=N"
)
_CHOICES = {"recipe": tuple(RECIPES)}
_NUMBERS = {"pictures": (1, 10_000), "steps": (1, 1_000_000)}


@dataclass(frozen=True)
class Options:
    """The options of a variant. pictures, steps: None as the recipe says."""

    recipe: str = STUDY.name
    pictures: int | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, text: str) -> Options | None:
        """The options of a variant such as `recipe=quick+pictures=4`, None for what has no option at its beginning.

        Raises UnknownNameError for a part that is no option, a value that cannot be, or a part that stands twice.
        """
        if not text:
            return cls()
        first = text.partition("=")[0]
        if first not in (*_CHOICES, *_NUMBERS) or "=" not in text:
            return None
        return cls(**named_options(text.split("+"), text, _CHOICES, _NUMBERS, "inversion", HELP))

    def __str__(self) -> str:
        """The one spelling: what differs from the recipe alone."""
        recipe = RECIPES[self.recipe]
        named = {
            "recipe": self.recipe if self.recipe != STUDY.name else None,
            "pictures": self.pictures if self.pictures != recipe.pictures else None,
            "steps": self.steps if self.steps != recipe.steps else None,
        }
        return "+".join(f"{name}={value}" for name, value in named.items() if value is not None)


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for what is none."""
    options = Options.parse(text)
    return None if options is None else str(options)
