"""ResNet-50s outside the study: the files behind torch.hub entries, and MoCo v3, read without running hub code."""

from __future__ import annotations

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.sources import Source

_FILES = "https://dl.fbaipublicfiles.com"


def _renamed(filename: str, url: str) -> Source:
    # Two hosts call their file resnet50.pth.
    return Source(filename, (url,), manual=f"download {url} as {filename}")


def _spec(
    name: str,
    source: Source,
    page: str,
    licence: str,
    citation: str,
    epochs: int,
    containers: tuple[str, ...] = (),
    prefix: str = "",
    drop: tuple[str, ...] = ("fc.weight", "fc.bias"),
) -> CheckpointSpec:
    return CheckpointSpec(
        name=name,
        sources=(source,),
        page=page,
        licence=licence,
        citation=citation,
        epochs=epochs,
        containers=containers,
        prefix=prefix,
        drop=drop,
    )


VICREG = _spec(
    "vicreg", _renamed("vicreg_resnet50.pth", f"{_FILES}/vicreg/resnet50.pth"),
    "https://github.com/facebookresearch/vicreg", "MIT", "Bardes et al. 2022, arXiv 2105.04906", 1000,
)  # fmt: skip
BARLOWTWINS = _spec(
    "barlowtwins",
    _renamed(
        "barlowtwins_resnet50.pth", f"{_FILES}/barlowtwins/ep1000_bs2048_lrw0.2_lrb0.0048_lambd0.0051/resnet50.pth"
    ),
    "https://github.com/facebookresearch/barlowtwins", "MIT", "Zbontar et al. 2021, arXiv 2103.03230", 1000,
)  # fmt: skip
DINO = _spec(
    "dino-resnet50",
    Source(
        "dino_resnet50_pretrain.pth", (f"{_FILES}/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",)
    ),
    "https://github.com/facebookresearch/dino", "Apache-2.0", "Caron et al. 2021, arXiv 2104.14294", 800,
)  # fmt: skip
MOCO_V3 = _spec(
    "moco-v3", Source("r-50-1000ep.pth.tar", (f"{_FILES}/moco-v3/r-50-1000ep/r-50-1000ep.pth.tar",)),
    "https://github.com/facebookresearch/moco-v3", "CC-BY-NC-4.0", "Chen et al. 2021, arXiv 2104.02057", 1000,
    ("state_dict",), "module.base_encoder.",
    ("module.base_encoder.fc.*", "module.momentum_encoder.*", "module.predictor.*"),
)  # fmt: skip

SPECS = (VICREG, BARLOWTWINS, DINO, MOCO_V3)
