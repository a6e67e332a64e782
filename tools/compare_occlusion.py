"""Occlusion beside captum's own and a loop: windows a second on one picture, and how far the maps are apart.

    python tools/compare_occlusion.py [--backbone zoo:simclr] [--recipe quick] [--stride N] [--at-once 1 64] [--repeats 3]

Both are given the same network, picture, windows and score. captum's gets the network as it is, one window at a time by default
and as many at once as --at-once says, and so does the loop that one would write; the package's is run as a case runs it. They are
asked in turn, so that what else the machine does meets all, and the best of the repeats counts. The picture is random.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from sslbench.backbones import Backbone, load_backbone
from sslbench.features.execution import choose_execution
from sslbench.features.extract import default_batch
from sslbench.metrics.attention import attention_map, attentive_diffusion
from sslbench.protocols._occlusion_options import RECIPES, Windows, windows_of
from sslbench.protocols._occlusion_windows import relative_distances
from sslbench.protocols.occlusion import SPEC

Array = np.ndarray


def by_captum(backbone: Backbone, picture: torch.Tensor, windows: Windows, at_once: int) -> Array:
    """The map, which is the attribution with its sign turned."""
    # Here, so that the others need no captum.
    from captum.attr import Occlusion as Captum

    clean = backbone.embed(picture[None])[0]

    def score(images: torch.Tensor) -> torch.Tensor:
        return (backbone.embed(images) - clean).norm(dim=1) / clean.norm()

    found = Captum(score).attribute(
        picture[None],
        sliding_window_shapes=(3, windows.side, windows.side),
        strides=(3, windows.stride, windows.stride),
        baselines=0,
        perturbations_per_eval=at_once,
    )
    return -found[0, 0].cpu().numpy()[windows.inner]


@torch.inference_mode()
def by_loop(backbone: Backbone, picture: torch.Tensor, windows: Windows, at_once: int) -> Array:
    """The map as one would write it: copies of the picture with a window each, so many of them at once."""
    size, side = windows.size, windows.side
    clean = backbone.embed(picture[None])[0]
    sums, counts = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    corners = [(top, left) for top in windows.tops for left in windows.lefts]
    for start in range(0, len(corners), at_once):
        some = corners[start : start + at_once]
        copies = picture.repeat(len(some), 1, 1, 1)
        for copy, (top, left) in zip(copies, some, strict=True):
            copy[:, top : top + side, left : left + side] = 0
        moved = ((backbone.embed(copies) - clean).norm(dim=1) / clean.norm()).tolist()
        for distance, (top, left) in zip(moved, some, strict=True):
            sums[top : top + side, left : left + side] += distance
            counts[top : top + side, left : left + side] += 1
    return (sums / counts).numpy()[windows.inner]


def by_package(backbone: Backbone, picture: torch.Tensor, windows: Windows, pictures: int) -> Array:
    """The map as a case of so many pictures makes it."""
    device = str(picture.device)
    batch = default_batch(picture.device.type)
    with torch.inference_mode():
        execution = choose_execution(
            backbone, images=pictures * (len(windows) + 1), batch=batch, device=device, dtype=None
        )
    distances = relative_distances(
        execution.embed, picture, windows, torch.zeros(3, device=picture.device), batch=batch
    )
    return attention_map(distances, windows.tops, windows.lefts, windows.side, windows.size)[windows.inner]


def shown(name: str, recipe: str, stride: int | None, device: str) -> tuple[Backbone, torch.Tensor, Windows]:
    """A backbone, a random picture as it is shown it, and the windows of a recipe on that."""
    protocol = SPEC.build(f"recipe={recipe}")
    backbone = load_backbone(name).to(device)
    backbone = backbone.seeing(protocol.preprocessing(backbone.preprocessing, {}))
    size = backbone.preprocessing.input_size
    picture = torch.randn(3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    return backbone, picture, windows_of(RECIPES[recipe], stride, size)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="zoo:simclr")
    parser.add_argument("--recipe", default="quick", choices=tuple(RECIPES))
    parser.add_argument("--stride", type=int, help="pixels from one window to the next, if not the recipe's")
    parser.add_argument(
        "--at-once", type=int, nargs="*", default=[1, 64], help="windows that captum is to embed at once"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    backbone, picture, windows = shown(options.backbone, options.recipe, options.stride, options.device)
    pictures, size = RECIPES[options.recipe].pictures, windows.size
    ways: dict[str, Callable[[], Array]] = {
        f"captum, {at_once} at once": lambda at_once=at_once: by_captum(backbone, picture, windows, at_once)
        for at_once in options.at_once
    }
    for at_once in options.at_once:
        ways[f"loop, {at_once} at once"] = lambda at_once=at_once: by_loop(backbone, picture, windows, at_once)
    ways["sslbench"] = lambda: by_package(backbone, picture, windows, pictures)
    seconds, maps = dict.fromkeys(ways, float("inf")), {}
    # The first round warms up.
    for number in range(options.repeats + 1):
        for name, make in ways.items():
            start = time.perf_counter()
            maps[name] = make()
            if number:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    own = maps["sslbench"]
    print(
        f"{options.backbone}, {options.recipe}, {len(windows)} windows of {windows.side} pixels on {size[0]} x {size[1]}, "
        f"{torch.get_num_threads()} threads, {options.device}; the best of {options.repeats}"
    )
    print(
        f"{'':24}{'windows/s':>10}{'times':>8}{'diffusion':>11}  largest difference of the maps / their largest value"
    )
    for name, found in maps.items():
        apart = np.abs(found - own).max() / own.max()
        print(
            f"{name:24}{len(windows) / seconds[name]:10.0f}{seconds[name] / seconds['sslbench']:8.2f}"
            f"{attentive_diffusion(found):11.2f}  {apart:.1e}"
        )


if __name__ == "__main__":
    main()
