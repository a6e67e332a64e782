"""SwAV, and DeepCluster v2 and SeLa v2, which its authors trained with the same code.

The files are flat state dicts. The training code divided by a standard deviation of 0.228 in the red channel; the study
used 0.229 for every backbone, and so does the preset.
"""

from __future__ import annotations

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.sources import Source

_URL = "https://dl.fbaipublicfiles.com/deepcluster"
_VISSL = "https://dl.fbaipublicfiles.com/vissl/model_zoo"
_PREFIX = "module."

# Linear, BatchNorm, Linear.
_HEAD = tuple(
    f"{_PREFIX}projection_head.{what}"
    for what in (
        *("0.weight", "0.bias", "3.weight", "3.bias"),
        *(f"1.{what}" for what in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    )
)


def _spec(name: str, filename: str, prototypes: tuple[str, ...], epochs: int, *mirrors: str) -> CheckpointSpec:
    return CheckpointSpec(
        name=name,
        sources=(Source(filename, (f"{_URL}/{filename}", *mirrors)),),
        page="https://github.com/facebookresearch/swav",
        licence="CC-BY-NC-4.0",
        citation="Caron et al. 2020, arXiv 2006.09882",
        epochs=epochs,
        containers=("state_dict",),
        prefix=_PREFIX,
        drop=(*_HEAD, *(f"{_PREFIX}prototypes.{what}" for what in prototypes)),
    )


SWAV = _spec("swav", "swav_800ep_pretrain.pth.tar", ("weight",), 800)
DEEPCLUSTER_V2 = _spec(
    "deepcluster-v2", "deepclusterv2_800ep_pretrain.pth.tar", tuple(f"prototypes{head}.weight" for head in range(3)), 800,
    f"{_VISSL}/deepclusterv2_800ep_pretrain.pth.tar",
)  # fmt: skip
# How many prototype layers SeLa v2 has is not published.
SELA_V2 = _spec("sela-v2", "selav2_400ep_pretrain.pth.tar", ("*",), 400)

SPECS = (SWAV, DEEPCLUSTER_V2, SELA_V2)
