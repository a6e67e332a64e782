"""Extraction beside the bare forward pass of the same network on pictures that are on the device already."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from compare_extraction import make_pictures, source_of

from gpu_checks.bench import Bench, Found
from sslbench.backbones import Backbone, load_backbone
from sslbench.datasets import Images
from sslbench.features.execution import choose_execution
from sslbench.features.extract import DTYPES, extract_features
from sslbench.features.pictures import Pictures

AIM = 0.95
# Length of a measurement: beside it the first batch, which nothing overlaps, hardly counts.
SECONDS, MOST_BATCHES = 2.0, 32
# Largest relative norm of the difference from the CPU's float32 features on PIL's pixels: the resize rounds, convolutions
# may run in TF32, and bfloat16 keeps 8 bits.
APART = {"bfloat16": 5e-2, "float32": 1e-2}


def resnet50(bench: Bench, found: Found) -> None:
    """The study's network."""
    _extraction(bench, found, "test_resnet?size=64" if bench.small else "resnet50")


def vit_b16(bench: Bench, found: Found) -> None:
    """ViT-B/16 at 224."""
    _extraction(bench, found, "test_vit?size=64" if bench.small else "vit_base_patch16_224")


def _extraction(bench: Bench, found: Found, arch: str) -> None:
    backbone = load_backbone(f"random-init:{arch}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_pictures(folder, 4 if bench.small else 64)
        expected = extract_features(backbone, source_of(files), extraction="exact")["x"]
        pictures = Pictures(folder / "kept", 1 << 34)
        for dtype in APART:
            _Extraction(bench, backbone, files, pictures, dtype).measure(found, expected)


@dataclass(frozen=True)
class _Extraction:
    """One network in one dtype."""

    bench: Bench
    backbone: Backbone
    files: list[Path]
    pictures: Pictures
    dtype: str

    @property
    def batch(self) -> int:
        return 8 if self.bench.small else 256

    def measure(self, found: Found, expected: np.ndarray) -> None:
        name, dtype = self.backbone.name, self.dtype
        bare = self.bare()
        took = min(self.bench.seconds(lambda: bare(1)) for _ in range(3))
        batches = 2 if self.bench.small else min(MOST_BATCHES, max(4, round(SECONDS / took)))
        # The same files again and again: no disk is measured.
        source = source_of(list(itertools.islice(itertools.cycle(self.files), batches * self.batch)))
        x = self.extract(source, self.pictures)[: len(self.files)]
        found.expect(any(self.pictures.root.glob("*.npy")), "decoded pictures were not kept: is the disk full?")
        error = float(np.linalg.norm(x - expected[: len(x)]) / np.linalg.norm(expected[: len(x)]))
        found.row(f"{dtype}: features from the CPU's, relative norm", "1", [error])
        found.expect(error <= APART[dtype], f"{name}, {dtype}: features {error:.2g} from the CPU's float32 ones")
        runs: dict[str, Callable[[], object]] = {
            "bare forward": lambda: bare(batches),
            "from JPEG": lambda: self.extract(source, None),
            "from kept pictures": lambda: self.extract(source, self.pictures),
        }
        rates: dict[str, list[float]] = {what: [] for what in runs}
        for _ in self.bench.rounds(3):
            for what, run in runs.items():
                rates[what].append(len(source) / self.bench.seconds(run))
        for what, values in rates.items():
            found.row(f"{dtype}: {what}", "images/s", values)
        for what in ("from JPEG", "from kept pictures"):
            share = found.ratio(f"{dtype}: {what} / bare forward", rates[what], rates["bare forward"])
            found.bar(f"{name}, {dtype}, {what} / bare forward", "x", share, at_least=AIM)

    def extract(self, source: Images, pictures: Pictures | None) -> np.ndarray:
        return extract_features(
            self.backbone, source, device=self.bench.device, dtype=self.dtype, batch_size=self.batch, pictures=pictures
        )["x"]

    def bare(self) -> Callable[[int], None]:
        """A function that embeds one ready batch so many times."""
        device, autocast = self.bench.device, DTYPES[self.dtype]
        context = torch.autocast(torch.device(device).type, autocast, enabled=autocast is not None)
        self.backbone.to(device)
        pictures = source_of(self.files).load(range(len(self.files)))
        pixels = list(itertools.islice(itertools.cycle(pictures), self.batch))
        with torch.inference_mode(), context:
            ready = self.backbone.preprocess(pixels).to(device).contiguous(memory_format=torch.channels_last)
            execution = choose_execution(
                self.backbone, images=self.batch, batch=self.batch, device=device, dtype=autocast
            )

        def run(count: int) -> None:
            with torch.inference_mode(), context:
                for _ in range(count):
                    execution.embed(ready)

        return run
