"""Time and memory of one case at the size of the study's largest datasets, on made-up features, through the runner.

python tools/large_features.py linear/large --stored float16

The first run writes the features into the cache directory that is named; measure with a second one.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import sslbench
from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, ImageArray, Labels, Split, register_dataset

# Food-101's: a fifth of train is held out for selection.
IMAGES, CLASSES, WIDTH = {"train": 60_600, "val": 15_150, "test": 25_250}, 101, 2048


def load(settings: Settings) -> Dataset:
    """Pictures of four pixels: the first holds the class, and numbers that set them apart."""
    splits = {}
    for seed, (name, count) in enumerate(IMAGES.items()):
        targets = np.random.default_rng(seed).permutation(np.arange(count) % CLASSES)
        pixels = np.zeros((count, 2, 2, 3), np.uint8)
        pixels[:, 0, 0] = np.stack([targets, np.arange(count) % 256, np.arange(count) // 256 % 256], axis=1)
        splits[name] = Split(name, ImageArray(f"large:{name}", pixels), Labels(targets))
    return Dataset("large", tuple(map(str, range(CLASSES))), splits, "top1")


class MadeUp(nn.Module):
    """Rectified sums of a class's centre, noise that features share, and noise of their own."""

    input_size, mean, std = 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        decay = torch.arange(1, WIDTH + 1) ** -0.5
        self.register_buffer("centres", 1.5 * torch.randn(CLASSES, WIDTH, generator=generator) * decay)
        self.register_buffer("shared", torch.randn(64, WIDTH, generator=generator) / 8)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2048) from (B, 3, 2, 2); noise follows from the first picture of a batch."""
        told = (images[:, :, 0, 0] * 255).round().long()
        label, low, high = told[0].tolist()
        generator = torch.Generator().manual_seed(low * 70_000 + high * 300 + label)
        noise = torch.randn(len(images), 64, generator=generator) @ self.shared
        return (self.centres[told[:, 0]] + noise + 0.6 * torch.randn(noise.shape, generator=generator)).relu()


class Peak(threading.Thread):
    """The highest resident and anonymous memory (GiB) of this process, sampled every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.gib = {"VmRSS": 0.0, "RssAnon": 0.0}

    def run(self) -> None:
        """Until the process ends."""
        while True:
            status = Path("/proc/self/status").read_text()
            for name in self.gib:
                self.gib[name] = max(self.gib[name], int(status.partition(f"{name}:")[2].split()[0]) / 2**20)
            time.sleep(0.02)


def main() -> None:
    """Run one case and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="linear/large, knn/large or fewshot/large/20shot")
    parser.add_argument("--stored", choices=("float32", "float16"), default="float32")
    parser.add_argument("--cache", type=Path, default=Path("large-features"))
    options = parser.parse_args()
    register_dataset(DatasetSpec("large", load, CLASSES, "made-up features", "none", "made up here"))
    sslbench.register_backbone("made-up", MadeUp)
    peak, start = Peak(), time.perf_counter()
    peak.start()
    table = sslbench.evaluate(
        "made-up", options.task, settings=Settings(cache_dir=options.cache, stored=options.stored)
    )
    took = time.perf_counter() - start
    row = table.iloc[0]
    print(
        f"{options.task}, {options.stored}: {row['value']:.1f} %, {took:.1f} s in all; "
        f"resident {peak.gib['VmRSS']:.2f} GiB, of which anonymous {peak.gib['RssAnon']:.2f} GiB"
    )
    print("  " + ", ".join(f"{name} {row[f'{name}_s']:.2f} s" for name in ("extract", "fit", "score")))


if __name__ == "__main__":
    main()
