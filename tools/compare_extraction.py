"""Extraction beside the loop that one would write: images a second, ratios, and the machine's own limits.

    python tools/compare_extraction.py [--images 64] [--repeats 5] [--arch resnet50] [--size 224] [--dtype bfloat16] [--long]

With --long the network is compiled first where that pays in a run long enough. Pictures and weights are random, made on
the spot. The plain loop runs in a process of its own, because the allocator's settings belong to a process; both are
asked in turn, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from sslbench.backbones import Backbone, load_backbone
from sslbench.datasets import ImageFiles
from sslbench.datasets.decoding import read_image
from sslbench.datasets.jpeg import decode_colour_jpeg
from sslbench.environment import cpu_model
from sslbench.features.execution import choose_execution
from sslbench.features.extract import CPU_BATCH, DTYPES, Collected, extract_features
from sslbench.features.pictures import Pictures

GEMM_SIZE = 2048
MANY = 10**7


def make_pictures(folder: Path, count: int, width: int = 500, height: int = 375) -> list[Path]:
    """JPEG at quality 90 with the 1/f spectrum of photographs, of 128 kB each at 500 x 375."""
    rng, paths = np.random.default_rng(0), []
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    for number in range(count):
        noise = np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency
        channels = np.fft.irfft2(noise, s=(height, width))
        picture = 120 + 55 * (channels - channels.mean()) / channels.std()
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0)).save(paths[-1], quality=90)
    return paths


def source_of(paths: list[Path]) -> ImageFiles:
    """The files as a source."""
    return ImageFiles(f"generated:{len(paths)}", paths)


@torch.inference_mode()
def plain_loop(backbone: Backbone, source: ImageFiles, dtype: torch.dtype | None) -> np.ndarray:
    """What one would write: read with PIL, transform, forward, collect."""
    parts = []
    for start in range(0, len(source), CPU_BATCH):
        images = backbone.preprocess(source.load(range(start, min(start + CPU_BATCH, len(source)))))
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            parts.append(backbone.embed(images).float().numpy())
    return np.concatenate(parts)


def rate(count: int, work: Callable[[], object]) -> float:
    """Images a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def plain_process(pipe: Connection, name: str, paths: list[Path]) -> None:
    """Answers each question, the name of a type, with the plain loop's rate and features."""
    backbone, source, got = load_backbone(name), source_of(paths), [np.empty(0)]

    def run(dtype: str = "float32") -> None:
        got[0] = plain_loop(backbone, source, DTYPES[dtype])

    run()
    while dtype := pipe.recv():
        pipe.send((rate(len(paths), lambda dtype=dtype: run(dtype)), got[0]))


def our_rates(
    backbone: Backbone, source: ImageFiles, pictures: Pictures, dtype: str, *, long: bool
) -> dict[str, float]:
    """The rates of one round; the first one fills `pictures`."""
    count, images = len(source), MANY if long else len(source)
    with torch.inference_mode(), torch.autocast("cpu", DTYPES[dtype], enabled=dtype != "float32"):
        execution = choose_execution(backbone, images=images, batch=CPU_BATCH, device="cpu", dtype=DTYPES[dtype])
        first = source.load(range(0, min(CPU_BATCH, count)))
        ready = backbone.preprocess(first).contiguous(memory_format=torch.channels_last)
        bare = rate(len(first), lambda: Collected("", source, "float32").add([], execution.embed(ready)))
    matrix = torch.rand(GEMM_SIZE, GEMM_SIZE, dtype=DTYPES[dtype])
    return {
        "ours, exact": rate(count, lambda: extract_features(backbone, source, dtype=dtype, extraction="exact")),
        "ours": rate(count, lambda: extract_features(backbone, source, dtype=dtype)),
        "ours, pictures kept": rate(count, lambda: extract_features(backbone, source, dtype=dtype, pictures=pictures)),
        f"bare forward ({execution.name})": bare,
        "GEMM, GFLOP/s": 2 * GEMM_SIZE**3 / 1e9 * rate(1, lambda: matrix @ matrix),
    }


def decode_rates(backbone: Backbone, paths: list[Path]) -> tuple[float, float, np.ndarray]:
    """Pictures a second on one core through PIL and without it, and the difference of their pixels."""
    exact, fast = [], []

    def by_pil() -> None:
        exact[:] = [np.asarray(backbone.preprocessing.geometry(read_image(path))) for path in paths]

    def by_tensors() -> None:
        # One after the other, as both ways run in an extraction.
        fast[:] = [
            backbone.preprocessing.tensor_geometry(picture)
            for picture in map(decode_colour_jpeg, paths)
            if picture is not None
        ]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = rate(len(paths), by_pil), rate(len(paths), by_tensors)
    torch.set_num_threads(threads)
    pixels = torch.stack(fast).permute(0, 2, 3, 1).numpy().astype(int)
    return *rates, np.abs(pixels - np.stack(exact))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of ours; the plain loop is asked in float32 too"
    )
    parser.add_argument("--long", action="store_true", help="as in a run long enough to compile the network for")
    options = parser.parse_args()
    name = f"random-init:{options.arch}?size={options.size}"
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(Path(folder), options.images)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=plain_process, args=(theirs, name, paths), daemon=True
        )
        process.start()
        backbone, source = load_backbone(name), source_of(paths)
        pictures = Pictures(Path(folder) / "kept", 1 << 32)
        our_rates(backbone, source, pictures, options.dtype, long=options.long)
        features = extract_features(backbone, source, dtype=options.dtype)
        for _ in range(options.repeats):
            measured = {}
            for dtype in dict.fromkeys([options.dtype, "float32"]):
                ours.send(dtype)
                measured[f"plain loop, {dtype}"], expected = ours.recv()
            by_pil, by_tensors, apart = decode_rates(backbone, paths)
            measured |= our_rates(backbone, source, pictures, options.dtype, long=options.long)
            measured |= {"decode a core, PIL": by_pil, "decode a core": by_tensors}
            for what, value in measured.items():
                found.setdefault(what, []).append(value)
        ours.send("")
        process.join()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        backbone.network.embed(torch.zeros(1, 3, options.size, options.size))
    operations = counter.get_total_flops() / 1e9
    print(f"{name}, {options.dtype}, {options.images} pictures, {options.repeats} rounds; {cpu_model()}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")  # fmt: skip
    print("| images/s | median | lowest | highest | x plain float32, median of rounds |")
    print("|---|---:|---:|---:|---:|")
    for what, values in found.items():
        ratio = statistics.median(
            value / plain for value, plain in zip(values, found["plain loop, float32"], strict=True)
        )
        shown = f"{ratio:.2f}" if what.startswith(("ours", "bare", "plain")) else ""
        print(f"| {what} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} | {shown} |")
    limit = statistics.median(found["GEMM, GFLOP/s"]) / operations
    print(f"| limit at the GEMM rate ({operations:.1f} GFLOP an image) | {limit:.1f} | | | |\n")
    decode = statistics.median(
        fast / pil for fast, pil in zip(found["decode a core"], found["decode a core, PIL"], strict=True)
    )
    print(
        f"decode: {decode:.2f} x PIL, pixels at most {apart.max()} of 255 levels apart, {apart.mean():.4f} on average"
    )
    error = np.abs(features["x"] - expected)
    print(f"features: at most {error.max() / np.abs(expected).max():.2g} of the largest apart, "
          f"relative norm {np.linalg.norm(error) / np.linalg.norm(expected):.2g}")  # fmt: skip


if __name__ == "__main__":
    main()
