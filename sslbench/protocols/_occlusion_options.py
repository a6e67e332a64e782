"""What a task of occlusion can be asked for: which pictures, how large, and which windows cover them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sslbench.errors import BackboneError
from sslbench.protocols._variant_options import named_options


@dataclass(frozen=True)
class Recipe:
    """How pictures are covered.

    source: where it is from. pictures: the first ones of the test split. side: pixels of the picture that the network is shown;
    None for the size that the network has. window, stride: in pixels, or as fractions of the shorter side. framed: whether the
    outermost `window - 1` pixels, which fewer windows cover than the others, are no part of the map.
    """

    name: str
    source: str
    pictures: int
    side: int | None
    window: int | float
    stride: int | float
    framed: bool = False

    def details(self) -> dict[str, Any]:
        """All that a map depends on: what the recipe is called, and where it is from, aside."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "source")}


STUDY = Recipe("study", "Ericsson et al. 2021, appendix A.9", pictures=1, side=242, window=10, stride=1, framed=True)
OWN = Recipe(
    "own", "the study's windows in proportion, for networks that take one size alone", pictures=1, side=None,
    window=10 / 224, stride=1,
)  # fmt: skip
QUICK = Recipe(
    "quick", "this project: windows that a CPU goes through in seconds", pictures=16, side=None, window=1 / 16, stride=1 / 32
)  # fmt: skip
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (STUDY, OWN, QUICK)}
HELP = (
    "nothing is the study's setting; a variant is made of these, joined by +: recipe=study, own (the network's own picture "
    "size) or quick (that, and fewer windows of more pictures), pictures=N (the first of the test split), stride=N (pixels from "
    "one window to the next)"
)
_CHOICES = {"recipe": tuple(RECIPES)}
_NUMBERS = {"pictures": (1, 1_000_000), "stride": (1, 1024)}


@dataclass(frozen=True)
class Options:
    """The options of a variant; None for what the recipe says."""

    recipe: str = STUDY.name
    pictures: int | None = None
    stride: int | None = None

    @classmethod
    def parse(cls, text: str) -> Options:
        """From a variant such as `recipe=quick+pictures=4`. Raises UnknownNameError for what is none."""
        return cls(**named_options(text.split("+") if text else (), text, _CHOICES, _NUMBERS, "occlusion", HELP))

    def __str__(self) -> str:
        """The one spelling: what differs from the recipe alone."""
        recipe = RECIPES[self.recipe]
        named = {
            "recipe": self.recipe if self.recipe != STUDY.name else None,
            "pictures": self.pictures if self.pictures != recipe.pictures else None,
            "stride": self.stride if self.stride != recipe.stride else None,
        }
        return "+".join(f"{name}={value}" for name, value in named.items() if value is not None)


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for a part of an id in which nothing is an option."""
    return str(Options.parse(text)) if "=" in text else None


@dataclass(frozen=True)
class Windows:
    """The windows on one picture, in pixels: the product of tops and lefts.

    size: (H, W) of the picture. side, stride: of the windows. margin: what is cut off each side of the map.
    """

    size: tuple[int, int]
    side: int
    stride: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    margin: int

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the map lies in the picture."""
        height, width = self.size
        return slice(self.margin, height - self.margin), slice(self.margin, width - self.margin)


def windows_of(recipe: Recipe, stride: int | None, size: tuple[int, int]) -> Windows:
    """The windows of a recipe on a picture of (H, W) pixels; the last one ends at the border whatever the stride.

    Raises BackboneError for a picture that is too small, and for a stride at which pixels would lie between the windows.
    """
    window, step = (_pixels(value, min(size)) for value in (recipe.window, recipe.stride))
    step = stride or step
    margin = window - 1 if recipe.framed else 0
    if min(size) <= 2 * max(margin, window):
        raise BackboneError(
            f"the picture that the network is shown has {size[0]} x {size[1]} pixels, too few for windows of {window}"
        )
    if step > window:
        raise BackboneError(
            f"stride={step}: the windows have {window} pixels here, so that some pixels would never be covered; choose "
            f"stride=1 to stride={window}"
        )
    return Windows(size, window, step, _starts(size[0], window, step), _starts(size[1], window, step), margin)


def _pixels(value: int | float, side: int) -> int:
    return value if isinstance(value, int) else max(1, round(value * side))


def _starts(side: int, window: int, step: int) -> tuple[int, ...]:
    starts: Sequence[int] = range(0, side - window + 1, step)
    return tuple(starts) if starts[-1] == side - window else (*starts, side - window)
