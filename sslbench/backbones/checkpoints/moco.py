"""MoCo v1 and v2, and PCL v1 and v2, which are trained with MoCo's code.

Their files hold `epoch`, `arch` and `state_dict`; the trainers would also save the momentum encoder and the queue.
"""

from __future__ import annotations

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.sources import Source

_MOCO = "https://dl.fbaipublicfiles.com/moco/moco_checkpoints"
_MOCO_PAGE = "https://github.com/facebookresearch/moco"
_PCL = "https://storage.googleapis.com/sfr-pcl-data-research/PCL_checkpoint"
_PCL_PAGE = "https://github.com/salesforce/PCL"

_PREFIX = "module.encoder_q."
_TRAINING = ("module.encoder_k.*", "module.queue", "module.queue_ptr")
_LINEAR_HEAD = tuple(f"{_PREFIX}fc.{what}" for what in ("weight", "bias"))
_MLP_HEAD = tuple(f"{_PREFIX}fc.{layer}.{what}" for layer in (0, 2) for what in ("weight", "bias"))


def _spec(
    name: str, source: Source, head: tuple[str, ...], page: str, licence: str, cite: str, epochs: int
) -> CheckpointSpec:
    return CheckpointSpec(
        name=name,
        sources=(source,),
        page=page,
        licence=licence,
        citation=cite,
        epochs=epochs,
        containers=("state_dict",),
        prefix=_PREFIX,
        drop=(*head, *_TRAINING),
    )


# The readme of MoCo's repository gives the first eight digits of the MD5.
MOCO_V1 = _spec(
    "moco-v1",
    Source(
        "moco_v1_200ep_pretrain.pth.tar", (f"{_MOCO}/moco_v1_200ep/moco_v1_200ep_pretrain.pth.tar",), md5="b251726a"
    ),
    _LINEAR_HEAD, _MOCO_PAGE, "CC-BY-NC-4.0", "He et al. 2020, arXiv 1911.05722", 200,
)  # fmt: skip
MOCO_V2 = _spec(
    "moco-v2",
    Source(
        "moco_v2_800ep_pretrain.pth.tar", (f"{_MOCO}/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",), md5="a04e12f8"
    ),
    _MLP_HEAD, _MOCO_PAGE, "CC-BY-NC-4.0", "Chen et al. 2020, arXiv 2003.04297", 800,
)  # fmt: skip
PCL_V1 = _spec(
    "pcl-v1", Source("PCL_v1_epoch200.pth.tar", (f"{_PCL}/PCL_v1_epoch200.pth.tar",)),
    _LINEAR_HEAD, _PCL_PAGE, "MIT", "Li et al. 2021, arXiv 2005.04966", 200,
)  # fmt: skip
PCL_V2 = _spec(
    "pcl-v2", Source("PCL_v2_epoch200.pth.tar", (f"{_PCL}/PCL_v2_epoch200.pth.tar",)),
    _MLP_HEAD, _PCL_PAGE, "MIT", "Li et al. 2021, arXiv 2005.04966", 200,
)  # fmt: skip

SPECS = (MOCO_V1, MOCO_V2, PCL_V1, PCL_V2)
