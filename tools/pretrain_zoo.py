"""Pretrain backbones of the zoo and write their weights and cards.

    python tools/pretrain_zoo.py simclr mae --data tiny-imagenet-20k.zip

An interrupted training goes on where it stopped, and a finished one is not trained again; the same command a second time,
beside the first, takes a part of the names. Needs the dev dependency group (`lightly`).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import sys
from functools import partial
from pathlib import Path

import torch
from pretraining import export, photographs
from pretraining.judge import judge
from pretraining.photographs import Photographs
from pretraining.recipes import RECIPES, Budget
from pretraining.train import VERSION, Say, ingredients, pretrain

from sslbench.errors import SslbenchError
from sslbench.features.device import resolve_device
from sslbench.training.trial_result import TrialResult
from sslbench.training.trials import Trials

ZOO = Path(__file__).parents[1] / "sslbench" / "zoo"


def parser() -> argparse.ArgumentParser:
    """The options; the budget's defaults are what the committed backbones were trained with."""
    made = argparse.ArgumentParser(description="Pretrain backbones of the zoo and write their weights and cards.")
    made.add_argument("names", nargs="+", choices=RECIPES, metavar="NAME", help=", ".join(RECIPES))
    made.add_argument("--data", type=Path, required=True, help="zip or folder with train/CLASS/ and val/CLASS/, 64x64")
    made.add_argument("--work", type=Path, default=Path("build/zoo"), help="where states, logs and results are kept")
    made.add_argument("--out", type=Path, default=ZOO, help="where weights and cards go (default %(default)s)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    for field in dataclasses.fields(Budget):
        flag = f"--{field.name.replace('_', '-')}"
        made.add_argument(flag, type=type(field.default), default=field.default, help="default %(default)s")
    return made


def main() -> int:
    """Train, judge, export; 2 for bad input or a network that must not ship, after the others have been exported."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    say = partial(tell, len(options.names) > 1)
    try:
        budget = Budget(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Budget)})
        device = resolve_device(options.device)
        splits = photographs.load(options.data)
        trained = Trials(options.work, {"pretraining": VERSION}).map(
            partial(pretrain, data=splits["train"], device=device, judge=partial(judge, splits=splits), say=say),
            [ingredients(name, budget, splits["train"]) for name in options.names],
            stage="pretraining",
        )
        data = f"{options.data.name}, {len(splits['train'].images)} train and {len(splits['val'].images)} val pictures"
        if options.data.is_file():
            data += f", sha256 {hashlib.sha256(options.data.read_bytes()).hexdigest()}"
    except SslbenchError as error:
        return refused(str(error))
    status = 0
    for name, result in zip(options.names, trained, strict=True):
        try:
            export_one(name, result, budget, splits, data, options.out, partial(say, name))
        except SslbenchError as error:
            status = refused(f"{name}: {error}" if len(options.names) > 1 else str(error))
    return status


def export_one(
    name: str, result: TrialResult, budget: Budget, splits: dict[str, Photographs], data: str, out: Path, say: Say
) -> None:
    """Probe the trained network and write its files. Raises SslbenchError for one that must not ship."""
    if result.diverged_at is not None:
        raise SslbenchError(f"diverged at step {result.diverged_at}; lower --learning-rate")
    recipe, log = RECIPES[name], result.values["log"]
    content = export.half(result.tensors)
    found = export.in_domain(recipe, budget.seed, content, splits)
    say(
        f"in-domain linear {found.linear.value:.2f}±{found.linear.stderr:.2f} %, untrained "
        f"{found.untrained.value:.2f} %, effective rank {found.effective_rank:.1f}"
    )
    export.check(log, found)
    for path in export.write(name, recipe, budget, data, log, found, content, result.values["made_with"], out):
        say(str(path))


def tell(named: bool, name: str, line: str) -> None:
    """Print at once, also into a pipe. named: say of which backbone it is."""
    print(f"{name}  {line}" if named else line, flush=True)


def refused(why: str) -> int:
    """Tell it and return the exit status."""
    print(f"pretrain_zoo: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
