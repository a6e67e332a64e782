"""Fine-tuning as in the study: all layers, rate and decay chosen on validation, trained once more and tested."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.compat import parse_compat
from sslbench.datasets import Labels, LabelSets
from sslbench.errors import DataError, TrainingError, UnknownNameError
from sslbench.protocols import _finetune_options as options
from sslbench.protocols._finetune_options import Options
from sslbench.protocols._over_seeds import over_seeds
from sslbench.protocols.base import Development, HeldOut, Predictor, label_values
from sslbench.protocols.classification import Recognition, check_every_class, check_scored, known_metric
from sslbench.protocols.outcome import Outcome
from sslbench.protocols.registry import ProtocolSpec
from sslbench.training.curves import curve_arrays, trial_curve_arrays
from sslbench.training.seeds import seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from sslbench.backbones import Backbone
    from sslbench.protocols._finetune_training import Setting, TrainingSet
    from sslbench.training.progress import GridBar
    from sslbench.training.trial_result import TrialResult
    from sslbench.training.trials import Trials

# Of the grid that goes on from one round of successive halving to the next, and how much longer each trains then.
HALVING = 4
_ROUNDS = 3

Grid = list[dict[str, Any]]


class Tuned(Predictor):
    """weights: of the network, of each seed. validation: what the chosen trial decided on val, and the targets there.

    curves: samples of the learning curves.
    """

    def __init__(
        self, setting: Setting, weights: Sequence[Mapping[str, Tensor]], hyperparameters: Mapping[str, Any],
        validation: tuple[npt.NDArray[np.float64], npt.NDArray[Any]], curves: Mapping[str, npt.NDArray[Any]],
    ) -> None:  # fmt: skip
        self.setting, self.weights = setting, weights
        self.hyperparameters, self.validation, self.curves = hyperparameters, validation, curves


class Finetune(Recognition[Tuned]):
    """Trained on train with each rate and decay, the best on val trained again on train and val, tested once.

    A variant is made of options, see `sslbench.protocols._finetune_options`. The switches finetune-weight-decay,
    finetune-decayed and finetune-last-batch choose where official code and good practice differ.
    """

    trains = True

    def __init__(self, variant: str = "", compat: Mapping[str, str] | None = None) -> None:
        parsed = Options.parse(variant)
        if parsed is None:
            raise UnknownNameError(f"unknown variant of finetune {variant!r}; {options.HELP}")
        self.options = parsed
        self.compat = parse_compat(compat or {})

    def check_targets(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:
        """Something of every class to train on."""
        check_every_class(train, classes)

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Tuned:
        """Search the grid on train and val, then train with the best on both."""
        from sslbench.protocols._finetune_training import kept_side, last_trial, search_trial, training_set
        from sslbench.training.progress import grid_bar

        way, classes = self.options.way, development.classes
        setting = self._setting(development, backbone, trials)
        network = setting.network(seed=0)
        network.train()
        # For its errors, before a picture is decoded; so are the next ones.
        network.groups(way, way.rates[0], way.decays[0], decayed="all")
        rows = {name: self._rows(part.targets, name) for name, part in development.parts.items()}
        used = {name: label_values(part.targets)[rows[name]] for name, part in development.parts.items()}
        self.check_development(used["train"], used["val"], classes, setting.metric)
        self._check_batch(len(rows["train"]), setting.batch, whole=network.whole_batch)
        side = kept_side(backbone.preprocessing)
        # From here on of those that could be read.
        train, val = (training_set(development.parts[name], rows[name], side) for name in ("train", "val"))
        self.check_development(train.targets, val.targets, classes, setting.metric)
        batch = self._check_batch(len(train), setting.batch, whole=network.whole_batch)
        setting = replace(setting, batch=batch)
        facts = {"trained": self._try(network, backbone, train, val, batch)}
        del network
        grid = [{"rate": rate, "decay": decay, "seed": 0} for rate in way.rates for decay in way.decays]
        steps = self.options.steps or way.steps
        rounds = _halving(len(grid), steps) if self.options.search == "halving" else [(len(grid), steps)]
        total = sum(count * length for count, length in rounds) + self.options.seeds * steps
        trainings = sum(count for count, _ in rounds) + self.options.seeds
        with grid_bar(f"{backbone.name} fine-tuned", steps=total, trainings=trainings) as bar:
            search = partial(
                search_trial, setting=setting, pictures=train, val=development.val, rows=rows["val"], bar=bar
            )
            best, result, table = _search(grid, rounds, partial(trials.map, search, stage="search"), bar)
            chosen = {**grid[best], "steps": steps}
            last = partial(last_trial, setting=setting, pictures=train + val, bar=bar)
            found = trials.map(
                last, [{**chosen, "seed": seed} for seed in range(self.options.seeds)], stage="last",
                watch=bar.watch(steps, "val_score"),
            )  # fmt: skip
        _all_trained(found, chosen)
        # Beside the record, not in it.
        curves = trial_curve_arrays([row.pop("curve", None) for row in table])
        curves |= curve_arrays([each.values for each in found])
        validation = result.tensors["val_decision"].double().numpy(), result.tensors["val_targets"].numpy()
        hyperparameters = {
            "rate": chosen["rate"], "decay": chosen["decay"], "steps": steps, "batch": batch, "recipe": way.name,
            "val_score": result.values["val_score"], "trials": table, "pictures": {"train": len(train), "val": len(val)}, **facts,
        }  # fmt: skip
        return Tuned(setting, [each.tensors for each in found], hyperparameters, validation, curves)

    def score(self, predictor: Tuned, held_out: HeldOut) -> Outcome:
        """The test split is decided once by each seed's network."""
        outcomes = []
        for weights in predictor.weights:
            network = predictor.setting.network(seed=0)
            network.load_state_dict(dict(weights))
            decision, targets = predictor.setting.decide(network, held_out.test)
            check_scored(known_metric(held_out.metric), "test", targets, held_out.classes)
            if not np.isfinite(decision).all():
                raise TrainingError(
                    "what the chosen network decides on test pictures is not finite; choose smaller rates, by another recipe"
                )
            outcomes.append(self.outcome(decision, targets, held_out, validation=predictor.validation))
        outcome = outcomes[0] if len(outcomes) == 1 else over_seeds(outcomes, known_metric(held_out.metric))
        return replace(outcome, samples={**outcome.samples, **predictor.curves})

    def _setting(self, development: Development, backbone: Backbone, trials: Trials) -> Setting:
        from sslbench.protocols._finetune_training import Setting

        batch = self.options.batch or self.options.way.batch
        metric = known_metric(development.metric)
        return Setting(backbone, self.options, len(development.classes), metric, batch, self.compat, trials.case)

    def _rows(self, targets: Any, split: str) -> npt.NDArray[np.int64]:
        """The rows of a split that are used: all, or a seeded part, of one label a picture the same part of each class."""
        values = label_values(targets)
        if self.options.percent is None:
            return np.arange(len(values))
        return labelled_part(values, self.options.percent, split)

    def _check_batch(self, pictures: int, batch: int, *, whole: bool) -> int:
        """The batch that is trained with. Raises DataError where BatchNorm would see fewer pictures than one."""
        if pictures >= batch:
            return batch
        if whole:
            raise DataError(
                f"{pictures} training pictures are fewer than one batch of {batch}, and BatchNorm takes its statistics from "
                f"a batch; add pictures, or name a smaller batch, such as finetune/DATASET/batch={max(2, pictures // 2)}"
            )
        return pictures

    def _try(self, network: Any, backbone: Backbone, train: TrainingSet, val: TrainingSet, batch: int) -> str:
        from sslbench.protocols._finetune_network import check_training

        rests = {len(pictures) % batch for pictures in (train, train + val)}
        alone = 1 in rests and self.compat["finetune-last-batch"] == "keep"
        return check_training(network, backbone, [2, 1] if alone else [2])


def labelled_part(values: npt.NDArray[Any], percent: int, split: str) -> npt.NDArray[np.int64]:
    """Sorted rows of `percent` of the pictures: of one label a picture that part of each class, at least one of each.

    values: (N,) labels, or (N, K). Drawn by NumPy's default generator from a seed that depends on the split's name alone.
    """
    generator = np.random.default_rng(seed_of("labelled part", split))
    groups = [np.arange(len(values))] if values.ndim == 2 else [np.flatnonzero(values == c) for c in np.unique(values)]
    parts = [generator.permutation(rows)[: max(1, round(len(rows) * percent / 100))] for rows in groups]
    return np.sort(np.concatenate(parts))


def _halving(count: int, steps: int) -> list[tuple[int, int]]:
    """Trainings and steps of each round of successive halving (Jamieson and Talwalkar 2016), the last with all steps."""
    rounds = []
    for number in range(_ROUNDS):
        rounds.append((math.ceil(count / HALVING**number), max(1, steps // HALVING ** (_ROUNDS - 1 - number))))
    return rounds


def _search(grid: Grid, rounds: list[tuple[int, int]], train: Any, bar: GridBar) -> tuple[int, TrialResult, Grid]:
    """The place of the best in the grid, its result, and a table of all trials. Equal scores go to the first."""
    places, table = list(range(len(grid))), []
    for count, steps in rounds:
        places = sorted(places[:count])
        trialled = [{**grid[place], "steps": steps} for place in places]
        found = dict(zip(places, train(trialled, watch=bar.watch(steps, "val_score")), strict=True))
        for place, result in found.items():
            told = {"diverged_at": result.diverged_at} if result.values is None else dict(result.values)
            table.append({"rate": grid[place]["rate"], "decay": grid[place]["decay"], "steps": steps, **told})
        sound = [place for place in places if found[place].values is not None]
        if not sound:
            raise TrainingError(
                f"all {len(places)} trainings with {steps} steps diverged, the first one at step "
                f"{found[places[0]].diverged_at}; check the network and its preprocessing, or choose another recipe"
            )
        places = sorted(sound, key=lambda place: (-found[place].values["val_score"], place))
    return places[0], found[places[0]], table


def _all_trained(found: Sequence[TrialResult], chosen: Mapping[str, Any]) -> None:
    for result in found:
        if result.diverged_at is not None:
            raise TrainingError(
                f"trained on train and val with the best rate {chosen['rate']:g} and decay {chosen['decay']:g}, the network "
                f"diverged at step {result.diverged_at}, which it did not on train alone; use another recipe or batch"
            )


SPEC = ProtocolSpec(
    "finetune",
    1,
    Finetune,
    "all layers trained, rate and decay by validation",
    takes=(Labels, LabelSets),
    other_variant=options.canonical,
    variant_help=options.HELP,
    by_name=True,
    switches=("finetune-weight-decay", "finetune-decayed", "finetune-last-batch"),
)
