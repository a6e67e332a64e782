"""Pretrain one backbone of the zoo and write its weights and card.

    python tools/pretrain_zoo.py simclr --data tiny-imagenet-20k.zip

An interrupted training goes on where it stopped. Needs the dev dependency group (`lightly`).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import sys
from pathlib import Path

import torch
from pretraining import export, photographs
from pretraining.judge import judge
from pretraining.recipes import RECIPES, Budget
from pretraining.train import Training

from sslbench.errors import SslbenchError
from sslbench.features.device import resolve_device

ZOO = Path(__file__).parents[1] / "sslbench" / "zoo"


def parser() -> argparse.ArgumentParser:
    """The options; the budget's defaults are what the committed backbones were trained with."""
    made = argparse.ArgumentParser(description="Pretrain one backbone of the zoo and write its weights and card.")
    made.add_argument("name", choices=RECIPES)
    made.add_argument("--data", type=Path, required=True, help="zip or folder with train/CLASS/ and val/CLASS/, 64x64")
    made.add_argument("--work", type=Path, default=Path("build/zoo"), help="where state and log are kept")
    made.add_argument("--out", type=Path, default=ZOO, help="where weights and card go (default %(default)s)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    for field in dataclasses.fields(Budget):
        flag = f"--{field.name.replace('_', '-')}"
        made.add_argument(flag, type=type(field.default), default=field.default, help="default %(default)s")
    return made


def main() -> int:
    """Train, judge, export; 2 for bad input or a network that must not ship."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    recipe = RECIPES[options.name]
    try:
        budget = Budget(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Budget)})
        device = resolve_device(options.device)
        splits = photographs.load(options.data)
        training = Training(options.name, budget, splits["train"], options.work / options.name, device)
        log = training.run(lambda network: judge(network, splits), lambda line: print(line, flush=True))
        content = export.half(training.objective.backbone)
        found = export.in_domain(recipe, budget.seed, content, splits)
        print(
            f"in-domain linear {found.linear.value:.2f}±{found.linear.stderr:.2f} %, untrained "
            f"{found.untrained.value:.2f} %, effective rank {found.effective_rank:.1f}"
        )
        export.check(log, found)
        data = f"{options.data.name}, {len(splits['train'].images)} train and {len(splits['val'].images)} val pictures"
        if options.data.is_file():
            data += f", sha256 {hashlib.sha256(options.data.read_bytes()).hexdigest()}"
        for path in export.write(options.name, recipe, budget, data, log, found, content, device, options.out):
            print(path)
    except SslbenchError as error:
        print(f"pretrain_zoo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
