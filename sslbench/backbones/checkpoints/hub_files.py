"""ResNet-50s outside the study: the files behind torch.hub entries, and MoCo v3, read without running hub code."""

from __future__ import annotations

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.sources import Source

_FILES = "https://dl.fbaipublicfiles.com"


def _renamed(filename: str, url: str) -> Source:
    # Two hosts call their file resnet50.pth.
    return Source(filename, (url,), manual=f"download {url} as {filename}")


_CLASSIFIER = ("fc.weight", "fc.bias")

VICREG = CheckpointSpec(
    name="vicreg",
    sources=(_renamed("vicreg_resnet50.pth", f"{_FILES}/vicreg/resnet50.pth"),),
    page="https://github.com/facebookresearch/vicreg",
    licence="MIT",
    citation="Bardes et al. 2022, arXiv 2105.04906",
    epochs=1000,
    drop=_CLASSIFIER,
)
BARLOWTWINS = CheckpointSpec(
    name="barlowtwins",
    sources=(
        _renamed(
            "barlowtwins_resnet50.pth", f"{_FILES}/barlowtwins/ep1000_bs2048_lrw0.2_lrb0.0048_lambd0.0051/resnet50.pth"
        ),
    ),
    page="https://github.com/facebookresearch/barlowtwins",
    licence="MIT",
    citation="Zbontar et al. 2021, arXiv 2103.03230",
    epochs=1000,
    drop=_CLASSIFIER,
)
DINO = CheckpointSpec(
    name="dino-resnet50",
    sources=(
        Source("dino_resnet50_pretrain.pth", (f"{_FILES}/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",)),
    ),
    page="https://github.com/facebookresearch/dino",
    licence="Apache-2.0",
    citation="Caron et al. 2021, arXiv 2104.14294",
    epochs=800,
    drop=_CLASSIFIER,
)
MOCO_V3 = CheckpointSpec(
    name="moco-v3",
    sources=(Source("r-50-1000ep.pth.tar", (f"{_FILES}/moco-v3/r-50-1000ep/r-50-1000ep.pth.tar",)),),
    page="https://github.com/facebookresearch/moco-v3",
    licence="CC-BY-NC-4.0",
    citation="Chen et al. 2021, arXiv 2104.02057",
    epochs=1000,
    containers=("state_dict",),
    prefix="module.base_encoder.",
    drop=("module.base_encoder.fc.*", "module.momentum_encoder.*", "module.predictor.*"),
)

SPECS = (VICREG, BARLOWTWINS, DINO, MOCO_V3)
