"""What a task of segmentation or normals can be asked for: what is trained by default, the recipes, the options of a variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from sslbench.errors import DataError, UnknownNameError
from sslbench.protocols._variant_options import named_option

if TYPE_CHECKING:
    from sslbench.datasets import Dataset

ENCODERS = ("frozen", "finetune")


@dataclass(frozen=True)
class Recipe:
    """How a network with a dense head is trained.

    source: where it is from. rate, decay: of the optimiser; the latter on matrices, not on biases and norms. power: of the
    polynomial that the rate falls by over the steps. lag: how many steps late that is. warmup: steps of a line up before.
    short: side lengths in pixels of which each batch gets one for its pictures' shorter sides. tested: the same in tests at a
    single scale. longest: what the longer side is at most. width: channels of the head.
    """

    name: str
    source: str
    rate: float
    decay: float
    steps: int
    batch: int
    optimiser: Literal["sgd", "adamw"] = "sgd"
    power: float = 0.9
    lag: int = 0
    warmup: int = 0
    short: tuple[int, ...] = (300, 375, 450, 525, 600)
    tested: int = 450
    longest: int = 1000
    width: int = 512

    def details(self) -> dict[str, Any]:
        """All that a training depends on: what it is called, and where it is from, aside."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "source")}

    def sized(self, size: int | None) -> Recipe:
        """In proportion to another shorter side in tests; as it is for None."""
        if size is None:
            return self
        short = tuple(round(each * size / self.tested) for each in self.short)
        return replace(self, short=short, tested=size, longest=round(self.longest * size / self.tested))


@dataclass(frozen=True)
class DenseTask:
    """What tells segmentation and normals apart, before anything is computed.

    name: of the protocol. recipes: by name, the study's first. encoder: what becomes of the network unless a variant says.
    pyramid: whether the head is UPerNet's over all maps, or pyramid pooling on the last one. flips: whether pictures are mirrored
    half of the time. multi: whether tests are at all side lengths of the training unless a variant says `scales=single`.
    """

    name: str
    recipes: Mapping[str, Recipe]
    encoder: str
    pyramid: bool
    flips: bool
    multi: bool

    @property
    def study(self) -> Recipe:
        """The study's recipe."""
        return self.recipes["study"]

    @property
    def help(self) -> str:
        """What a variant can be made of."""
        scales = ", scales=single or multi" if self.multi else ""
        return (
            f"nothing is the study's setting; a variant is made of these, joined by +: recipe={', '.join(self.recipes)}, "
            f"encoder=frozen or finetune ({self.encoder} if not given), steps=N, batch=N (at least 2), size=N (shorter side in "
            f"tests, pixels), precision=bfloat16{scales}"
        )

    def options(self, text: str) -> Options | None:
        """The options of a variant such as `recipe=small+steps=100`, None where none of its parts is one.

        Raises UnknownNameError for a value that cannot be, a part that stands twice, and parts of which only some are options.
        """
        choices = {"recipe": tuple(self.recipes), "encoder": ENCODERS, "precision": ("bfloat16",)}
        if self.multi:
            choices["scales"] = ("single", "multi")
        found: dict[str, Any] = {}
        foreign: list[str] = []
        for part in text.split("+") if text else ():
            option = named_option(part, choices, _NUMBERS)
            if option is None:
                foreign.append(part)
            elif option[0] in found:
                raise UnknownNameError(f"the variant {text!r} has {option[0]} twice")
            else:
                found.update([option])
        if foreign and (found or "=" in foreign[0]):
            raise UnknownNameError(f"{foreign[0]!r} of the variant {text!r} is no option of {self.name}; {self.help}")
        # What is the default anyway is no other task.
        defaults = {"encoder": self.encoder, "scales": "multi"}
        kept = {name: value for name, value in found.items() if defaults.get(name) != value}
        return None if foreign else Options(**kept)

    def canonical(self, text: str) -> str | None:
        """The one spelling of a variant, or None for what is none."""
        options = self.options(text)
        return None if options is None else str(options)


# One picture is too few for BatchNorm where it is averaged to one number.
_NUMBERS = {"steps": (1, 10_000_000), "batch": (2, 10_000), "size": (16, 10_000)}


@dataclass(frozen=True)
class Options:
    """The options of a variant, None where the task, the dataset or the network says."""

    recipe: str | None = None
    encoder: str | None = None
    steps: int | None = None
    batch: int | None = None
    size: int | None = None
    precision: str | None = None
    scales: str | None = None

    def __str__(self) -> str:
        """The one spelling; empty for the study's setting."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return "+".join(f"{name}={value}" for name, value in values.items() if value is not None)


def _recipes(study: Recipe, small: Recipe) -> dict[str, Recipe]:
    adamw = replace(
        study, name="adamw", rate=1e-4, decay=0.05, optimiser="adamw", warmup=1500,
        source="the study's, optimised by AdamW at the rate of BEiT's UPerNet (Bao et al. 2021, arXiv 2106.08254), for networks "
        "without BatchNorm that are trained themselves",
    )  # fmt: skip
    return {recipe.name: recipe for recipe in (study, adamw, small)}


def _small(rate: float, steps: int) -> Recipe:
    return Recipe(
        "small",
        "this project: schedule and head in proportion to pictures of 64 pixels, to be trained on a CPU",
        rate=rate,
        decay=0.05,
        optimiser="adamw",
        steps=steps,
        batch=8,
        warmup=20,
        short=(64,),
        tested=64,
        longest=128,
        width=64,
    )


SEGMENTATION = DenseTask(
    "segmentation",
    _recipes(
        Recipe(
            "study",
            "Ericsson et al. 2021, appendix A.6; ssl-transfer's selfsupconfig over CSAIL semantic-segmentation-pytorch (UPerNet)",
            rate=0.02,
            decay=1e-4,
            steps=150_000,
            batch=4,
        ),
        _small(rate=2e-3, steps=500),
    ),
    encoder="finetune",
    pyramid=True,
    flips=True,
    multi=True,
)
NORMALS = DenseTask(
    "normals",
    _recipes(
        Recipe(
            "study",
            "Ericsson et al. 2021, section 4.4 and appendix A.5; ssl-transfer surface-normal-estimation, after FAIR and CSAIL",
            rate=0.02,
            decay=1e-4,
            steps=13_500,
            batch=2,
            # The official code sets the rate after a step.
            lag=1,
        ),
        _small(rate=5e-3, steps=800),
    ),
    encoder="frozen",
    pyramid=False,
    flips=False,
    multi=False,
)


def check_masks(dataset: Dataset, task: str) -> None:
    """Raise DataError for masks of fewer than two classes, or that ignore one of their classes; others are as they are."""
    from sslbench.datasets import Masks

    masks = [split.targets for split in dataset.splits.values() if isinstance(split.targets, Masks)]
    if both := {each.ignore for each in masks} & set(range(len(dataset.classes))):
        raise DataError(
            f"{dataset.name} ignores pixels of the value {both.pop()}, which is one of its classes; correct either"
        )
    if masks and len(dataset.classes) < 2:
        raise DataError(f"{task} needs two classes at least, and {dataset.name} has {len(dataset.classes)}")
