"""What a case has to compute: multiplications, steps, pictures and bytes, from its network, its pictures and its options.

Convolutions and matrix products are counted, and nothing else. A step of a training multiplies three times as much as a forward
pass: one for it, one for the gradient by the maps, one for that by the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from sslbench.engine.costs.networks import Network
from sslbench.engine.costs.pictures import Counted
from sslbench.tasks import Task

# Forward, and backward by what comes in and by the weights.
TRAINED, THROUGH, FORWARD = 3.0, 2.0, 1.0
# Of a network's multiplications, what its last stage has: a fifth of a ResNet-50's, and the detector trains that alone.
_LAST_STAGE = 0.2
# Of `sslbench.heads.faster_rcnn.Design`, whose import takes seconds; a test compares them.
DETECTOR = {"channels": 256, "hidden": 1024, "pooled": 7, "regions": 512}
# A ResNet-50 whose last two stages keep the map of stride 8 multiplies five times as much.
_DILATED = 5.0
_FLOAT = 4


@dataclass(frozen=True)
class Training:
    """One training of a case, which can run beside others of the same round.

    stage: as `Trials.map` is told. round: those of one wait for those before. steps: of its optimiser. macs: multiplications,
    with what is scored behind it. kept: bytes of its result on disk.
    """

    stage: str
    round: int
    steps: int
    macs: float
    kept: int = 0


@dataclass(frozen=True)
class Work:
    """All of a case.

    extracted: pictures whose frozen features are asked for. extract_macs: of these. trainings: those that may run side by side.
    macs: of all else. batches: steps of all else, each with the same cost whatever its size. decoded: pictures that are read and
    decoded when nothing is kept, of `pixels` each. originals: whether they are kept at their own size, for training. held: bytes
    of features on disk; resident: in memory. activations: numbers of the largest batch on the way. states: numbers of the weights
    with gradients and momentum. trains: as `Protocol.trains`. geometry: pictures shown alike have the same.
    """

    extracted: int = 0
    extract_macs: float = 0.0
    trainings: tuple[Training, ...] = ()
    macs: float = 0.0
    batches: float = 0.0
    decoded: int = 0
    pixels: float = 0.0
    held: int = 0
    resident: int = 0
    originals: bool = False
    activations: float = 0.0
    states: float = 0.0
    trains: bool = False
    geometry: str = "own"


def work_of(task: Task, network: Network, pictures: Counted, geometry: str = "own") -> Work | str:
    """The work of a case, or why it is not known. geometry: names what the network is shown."""
    from sslbench.protocols.linear import PENALTIES

    known: Mapping[str, Callable[[Task, Network, Counted], Work | str]] = {
        "knn": _knn, "linear": partial(_linear, penalties=len(PENALTIES)), "fewshot": _fewshot, "features": _features,
        "finetune": _finetune, "detection": _detection, "segmentation": _dense, "normals": _dense, "depth": _dense,
        "inversion": _inversion, "occlusion": _occlusion,
    }  # fmt: skip
    if task.protocol not in known:
        return f"{task.protocol} is no protocol of this package, and what it computes is not known"
    found = known[task.protocol](task, network, pictures)
    if isinstance(found, str):
        return found
    shown = geometry if found.geometry == "own" else found.geometry
    # Small pictures are enlarged to what the network is shown.
    pixels = float(max(pictures.size[0] * pictures.size[1], network.size**2))
    return replace(found, geometry=shown, pixels=pixels)


def _extraction(network: Network, count: int) -> Work:
    batch = min(256, max(1, count))
    # Only what two neighbouring layers give is there at a time: about a sixth of all.
    return Work(
        extracted=count, extract_macs=count * network.macs, decoded=count, held=count * network.width * _FLOAT,
        resident=count * network.width * _FLOAT,
        activations=batch * network.activations / 6, states=network.params,
    )  # fmt: skip


def _knn(task: Task, network: Network, pictures: Counted) -> Work:
    test, bank = pictures.of("test"), pictures.of("train", "val")
    return replace(_extraction(network, pictures.all), macs=float(test) * bank * network.width, batches=10)


# Products with all rows, forward and back, that a certified fit takes for one penalty after the one before.
_PRODUCTS = 30
# Of what a step of a training costs beside its multiplications, what such a product does.
_PRODUCT = 0.05


def _linear(task: Task, network: Network, pictures: Counted, *, penalties: int) -> Work:
    train, every = pictures.of("train"), pictures.of("train", "val")
    classes = max(1, pictures.classes)
    one = _PRODUCTS * 2 * network.width * classes
    macs = penalties * (train * one + pictures.of("val") * network.width * classes) + every * one
    return replace(_extraction(network, pictures.all), macs=float(macs), batches=(penalties + 1) * _PRODUCTS * _PRODUCT)


def _fewshot(task: Task, network: Network, pictures: Counted) -> Work:
    from sslbench.protocols.fewshot import EPISODES, QUERY, WAY

    shot = int(task.variant.removesuffix("shot"))
    macs = EPISODES * WAY * (shot + QUERY * WAY) * network.width
    return replace(_extraction(network, pictures.all), macs=float(macs), batches=EPISODES / 50)


def _features(task: Task, network: Network, pictures: Counted) -> Work:
    count = pictures.of("test") or pictures.all
    # Products of features with themselves, and their singular values without each of some groups of pictures.
    return replace(_extraction(network, count), macs=float(count) * network.width**2 * 20, batches=100)


def _finetune(task: Task, network: Network, pictures: Counted) -> Work:
    from sslbench.protocols import finetune
    from sslbench.protocols._finetune_options import Options

    options = Options.parse(task.variant) or Options()
    way, part = options.way, (options.percent or 100) / 100
    steps = options.steps or way.steps
    train, val = round(pictures.of("train") * part), round(pictures.of("val") * part)
    batch = min(options.batch or way.batch, max(1, train))
    # How much of the network a last stage or block is depends on which; its share of them stands for it.
    passes = TRAINED if options.last is None else FORWARD + _LAST_STAGE * 2 * min(options.last, 4)
    one = batch * passes * network.macs
    grid = len(way.rates) * len(way.decays)
    rounds = finetune._halving(grid, steps) if options.search == "halving" else [(grid, steps)]
    decided = val * max(1, pictures.classes) * 8
    trainings = [
        Training("search", number, length, length * one + val * network.macs, decided)
        for number, (count, length) in enumerate(rounds)
        for _ in range(count)
    ]
    weights = network.params * _FLOAT
    trainings += [Training("last", len(rounds), steps, steps * one, weights) for _ in range(options.seeds)]
    test = pictures.of("test")
    return Work(
        trainings=tuple(trainings), macs=options.seeds * test * network.macs, batches=options.seeds * test / 64,
        decoded=train + val + test, originals=True, activations=2 * batch * network.activations,
        states=network.params * (4 if way.optimiser == "adamw" else 3), trains=True,
    )  # fmt: skip


def _detection(task: Task, network: Network, pictures: Counted) -> Work | str:
    from sslbench.protocols._detection_options import RECIPES, STUDY, Options
    from sslbench.protocols.detection import SPEC

    options = Options.parse(task.variant)
    if options is None:
        return f"{task.variant!r} is no variant of detection"
    recipe = RECIPES[options.recipe or pictures.recipes.get(SPEC.name, STUDY.name)]
    design = DETECTOR | recipe.design
    channels, hidden, pooled = design["channels"], design["hidden"], design["pooled"]
    steps, batch = options.steps or recipe.steps, options.batch or recipe.batch
    short = options.size or recipe.size
    # In training sides are drawn evenly, so that their mean square counts.
    sides = [
        short * (recipe.smallest + (1 - recipe.smallest) * each / max(1, recipe.sizes - 1))
        for each in range(recipe.sizes)
    ]
    if recipe.sizes == 1:
        sides = [short]
    ratio = min(recipe.longest, pictures.size[1] / pictures.size[0] or 1.0)

    def passes(side: float) -> tuple[float, float]:
        """Multiplications of network, and of pyramid and heads, on one picture."""
        cells = side * side * ratio * (1 / 16 + 1 / 64 + 1 / 256 + 1 / 1024)
        # The pyramid's lateral and output convolutions, and the one that proposals share.
        pyramid = cells * channels * (network.width / 4 + 9 * channels + 9 * channels)
        box = pooled**2 * channels * hidden + hidden**2
        return network.at(side, side * ratio), pyramid + design["regions"] * box

    body, heads = (sum(values) / len(sides) for values in zip(*map(passes, sides), strict=True))
    own = TRAINED if options.setting == "finetune" else FORWARD + 2 * _LAST_STAGE
    macs = steps * batch * (own * body + TRAINED * heads)
    tested = sum(passes(short)) * pictures.of("test")
    weights = network.params + 8 * 9 * channels**2 + pooled**2 * channels * hidden
    adam = recipe.optimiser == "adamw"
    return Work(
        trainings=(Training("detector", 0, steps, macs, weights * _FLOAT),), macs=tested, batches=pictures.of("test"),
        decoded=pictures.all, originals=True, activations=2.5 * batch * network.activations_at(short, short * ratio),
        states=weights * (4 if adam else 3), trains=True,
    )  # fmt: skip


def _dense(task: Task, network: Network, pictures: Counted) -> Work | str:
    from sslbench.protocols._dense_options import NORMALS, SEGMENTATION

    kind = task.variant.partition("+")[0]
    if kind in ("linear", "knn"):
        return _dense_probe(task, network, pictures)
    which = {"segmentation": SEGMENTATION, "normals": NORMALS}.get(task.protocol)
    options = which.options(task.variant) if which is not None else None
    if which is None or options is None:
        return f"{task.variant!r} is no variant of {task.protocol}"
    recipe = which.recipes[options.recipe or pictures.recipes.get(task.protocol, "study")].sized(options.size)
    steps, batch = options.steps or recipe.steps, options.batch or recipe.batch
    frozen, pyramid = (options.encoder or which.encoder) == "frozen", which.pyramid
    ratio = min(recipe.longest / max(recipe.short), pictures.size[1] / pictures.size[0])

    def passes(side: float) -> tuple[float, float]:
        """Multiplications of network and of head on one picture."""
        area, width = side * side * ratio, recipe.width
        if not pyramid:
            # One 3 x 3 convolution over the map of stride 8 and what pyramid pooling adds to it.
            return network.at(side, side * ratio) * _DILATED, area / 64 * 9 * (network.width + 4 * width) * width
        levels = area * (1 / 16 + 1 / 64 + 1 / 256)
        pooled = area / 1024 * 9 * (network.width + 4 * width) * width
        return network.at(side, side * ratio), levels * 9 * width**2 + area / 16 * 9 * 4 * width**2 + pooled

    body, heads = (sum(values) / len(recipe.short) for values in zip(*map(passes, recipe.short), strict=True))
    macs = steps * batch * ((FORWARD if frozen else TRAINED) * body + TRAINED * heads)
    scales = recipe.short if which.multi and options.scales != "single" else (recipe.tested,)
    tested = pictures.of("test") * sum(sum(passes(side)) for side in scales)
    weights = (0 if frozen else network.params) + 9 * recipe.width * (network.width + 12 * recipe.width)
    largest = max(recipe.short)
    grown = 1.0 if pyramid else _DILATED
    return Work(
        trainings=(Training("dense", 0, steps, macs, weights * _FLOAT),), macs=tested, batches=pictures.of("test") * len(scales),
        decoded=pictures.all, originals=True,
        activations=(0.5 if frozen else 3.0) * grown * batch * network.activations_at(largest, largest * ratio),
        states=network.params + weights * (4 if recipe.optimiser == "adamw" else 3), trains=True,
    )  # fmt: skip


# Passes over all rows that the certified path of a dense probe takes for one of its penalties.
_DENSE_PRODUCTS = 60


def _dense_probe(task: Task, network: Network, pictures: Counted) -> Work:
    from sslbench.protocols._dense_fits import PENALTIES
    from sslbench.protocols._dense_probe_options import ProbeOptions, parse

    options = parse(task.variant, ("linear", "knn")) or ProbeOptions("linear")
    learned = pictures.of("train", "val")
    # As the probe draws: 16 cells of a picture or more, until there are enough rows.
    rows = learned * (options.cells or max(16, math.ceil((1 << 14) / max(1, learned))))
    grid = min(options.grid, max(1, network.size // 4))
    # All levels of a network whose last map has `width` channels have about twice as many.
    channels = network.width * (2 if options.levels == 4 else 1)
    outputs = pictures.classes or 3
    if options.kind == "knn":
        macs = float(pictures.of("test")) * grid * grid * rows * channels
    elif task.protocol == "segmentation":
        macs = float(len(PENALTIES)) * rows * _DENSE_PRODUCTS * 2 * channels * outputs
    else:
        macs = float(rows) * channels**2
    scored = pictures.of("val") * (len(PENALTIES) if options.kind == "linear" else 0) + pictures.of("test")
    answered = scored * (grid * grid * channels * outputs + pictures.size[0] * pictures.size[1] * outputs * 10)
    found = _extraction(network, pictures.all)
    # Maps of all levels, no finer than the grid, are a tenth of what a network gives on the way: 0.09 of a ResNet-50's, 0.14 of a
    # small one's.
    held = int(pictures.all * network.activations * 0.1 * _FLOAT)
    return replace(
        found, macs=macs + answered, batches=scored / 3, held=held, resident=rows * channels * _FLOAT, geometry="whole"
    )


def _inversion(task: Task, network: Network, pictures: Counted) -> Work:
    from sslbench.protocols._inversion_options import RECIPES, Options

    options = Options.parse(task.variant) or Options()
    recipe = RECIPES[options.recipe]
    steps, count = options.steps or recipe.steps, options.pictures or recipe.pictures
    prior, inputs, side = 0.0, recipe.inputs, recipe.noise
    for number, (width, kernel) in enumerate(zip(recipe.channels, recipe.kernels, strict=True)):
        below = recipe.channels[number + 1] if number + 1 < len(recipe.channels) else width
        half = (side // 2) ** 2
        prior += half * width * ((kernel + 1) ** 2 * inputs + kernel**2 * width)
        # Behind an enlargement a convolution is a transpose over the smaller map.
        prior += side**2 * width * (kernel**2 * recipe.skip + width) + half * width * (kernel + 1) ** 2 * below
        inputs, side = width, side // 2
    one = steps * (TRAINED * prior + THROUGH * network.at(recipe.size))
    kept = recipe.size**2 * 3 * _FLOAT
    return Work(
        trainings=tuple(Training("inversion", 0, steps, one, kept) for _ in range(count)), decoded=count,
        activations=2 * network.activations_at(recipe.size) + recipe.noise**2 * sum(recipe.channels) * 2,
        states=network.params, trains=True,
    )  # fmt: skip


def _occlusion(task: Task, network: Network, pictures: Counted) -> Work:
    from sslbench.protocols._occlusion_options import RECIPES, Options, windows_of

    options = Options.parse(task.variant)
    recipe = RECIPES[options.recipe]
    count, side = options.pictures or recipe.pictures, recipe.side or network.size
    windows = len(windows_of(recipe, options.stride, (side, side)))
    return Work(
        macs=count * (windows + 1) * network.at(side), batches=count * windows / 64, decoded=count,
        activations=256 * network.activations_at(side) / 6, states=network.params, trains=True,
    )  # fmt: skip
