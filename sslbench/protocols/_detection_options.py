"""What a detection task can be asked for: the recipes, and the options that make up a variant."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from sslbench.protocols._variant_options import named_options

if TYPE_CHECKING:
    from sslbench.heads.faster_rcnn import Design


@dataclass(frozen=True)
class Recipe:
    """How a detector is trained.

    source: where it is from. rate, decay: of the optimiser. warmup: steps over which the rate rises on a line from `first` of it.
    drops: fractions of the steps at which it becomes a tenth. size: of the shorter side in tests, pixels; smallest: of that, what
    the smallest of `sizes` side lengths in training is, evenly spaced up to it; longest: what the longer side is at most.
    design: what the heads have otherwise than in the study, the arguments of `sslbench.heads.faster_rcnn.Design`.
    """

    name: str
    source: str
    rate: float
    decay: float
    optimiser: Literal["sgd", "adamw"] = "sgd"
    steps: int = 144_000
    batch: int = 2
    warmup: int = 100
    first: float = 0.001
    drops: tuple[float, ...] = (2 / 3, 8 / 9)
    size: int = 800
    smallest: float = 0.6
    sizes: int = 11
    longest: float = 1333 / 800
    design: dict[str, Any] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """All that a training depends on: what it is called, and where it is from, aside."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "source")}

    def heads(self) -> Design:
        """The numbers of the heads."""
        from sslbench.heads.faster_rcnn import Design

        return Design(**self.design)


STUDY = Recipe(
    "study",
    "Ericsson et al. 2021, appendix A.4; ssl-transfer detectron2-configs over detectron2's Base-RCNN-FPN",
    rate=0.0025,
    decay=1e-4,
)
ADAMW = Recipe(
    "adamw",
    "the study's, optimised by AdamW at the rate of ViTDet (Li et al. 2022, arXiv 2203.16527), for networks without BatchNorm",
    rate=1e-4,
    decay=0.1,
    optimiser="adamw",
    warmup=250,
)
SMALL = Recipe(
    "small",
    "this project: heads and schedule in proportion to pictures of 64 pixels, to be trained on a CPU",
    rate=2e-3,
    decay=0.05,
    optimiser="adamw",
    steps=250,
    batch=16,
    warmup=30,
    size=64,
    smallest=1.0,
    sizes=1,
    longest=2.0,
    design={
        "channels": 64,
        "hidden": 128,
        "anchor": 3.0,
        "region": 4.0,
        "pooled": 4,
        "before": (200, 100),
        "after": (100, 50),
        "anchors": 64,
        "regions": 32,
    },
)
RECIPES = {recipe.name: recipe for recipe in (STUDY, ADAMW, SMALL)}
SETTINGS = ("frozen", "finetune")
HELP = (
    f"it begins with {' or '.join(SETTINGS)}; after it may come, joined by +: recipe={', '.join(RECIPES)}, steps=N, batch=N, "
    "size=N (shorter side in pixels), precision=bfloat16"
)
_CHOICES = {"recipe": tuple(RECIPES), "precision": ("bfloat16",)}
_NUMBERS = {"steps": (1, 10_000_000), "batch": (1, 10_000), "size": (16, 10_000)}


@dataclass(frozen=True)
class Options:
    """The options of a variant.

    setting: `frozen`, all but the network's last stage, or `finetune`, none of it, BatchNorm aside. recipe: None for the one that
    the dataset or the network asks for. steps, batch, size: None as the recipe says. precision: of the forward pass.
    """

    setting: str
    recipe: str | None = None
    steps: int | None = None
    batch: int | None = None
    size: int | None = None
    precision: str = "float32"

    @classmethod
    def parse(cls, text: str) -> Options | None:
        """The options of a variant such as `frozen+steps=1000`, None where its first part is no setting.

        Raises UnknownNameError for a part that is no option, a value that cannot be, or a part that stands twice.
        """
        setting, *rest = text.split("+")
        if setting not in SETTINGS:
            return None
        return cls(setting, **named_options(rest, text, _CHOICES, _NUMBERS, "detection", HELP))

    def __str__(self) -> str:
        """The one spelling."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)[1:]}
        return "+".join(
            [self.setting, *(f"{name}={value}" for name, (value, default) in values.items() if value != default)]
        )


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for what is none."""
    options = Options.parse(text)
    return None if options is None else str(options)
