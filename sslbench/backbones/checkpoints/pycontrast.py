"""InsDis, PIRL and InfoMin, trained again and published by PyContrast.

The files hold `model` and perhaps `contrast`, `optimizer`, `epoch`, `model_ema` and `amp`; `model` is what the study
used. Every link is into one shared Dropbox folder, and no mirror is known.
"""

from __future__ import annotations

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.sources import Source

_FOLDER = "https://www.dropbox.com/sh/87d24jqsl6ra7t2"
_PAGE = f"{_FOLDER}/AABdDXZZBTnMQCBrg1yrQKVCa?dl=0"
_PREFIX = "module.encoder."


def _spec(name: str, link: str, head: tuple[str, ...], citation: str, epochs: int) -> CheckpointSpec:
    filename = link.rpartition("/")[2]
    return CheckpointSpec(
        name=name,
        # Without dl=1 Dropbox answers with a page about the file.
        sources=(
            Source(filename, (f"{_FOLDER}/{link}?dl=1",), manual=f"open {_PAGE} in a browser and download {filename}"),
        ),
        page=_PAGE,
        licence="BSD-2-Clause",
        citation=citation,
        epochs=epochs,
        containers=("model",),
        prefix=_PREFIX,
        drop=tuple(f"module.{layer}.{what}" for layer in head for what in ("weight", "bias")),
    )


INSDIS = _spec("insdis", "AACcsSIt1_Njv7GsmsuzZ6Sta/InsDis.pth", ("head.0",), "Wu et al. 2018, arXiv 1805.01978", 200)
PIRL = _spec(
    "pirl", "AADN4jKnvTI0U5oT6hTmQZz8a/PIRL.pth", ("head.0", "head_jig.fc1", "head_jig.fc2"),
    "Misra and van der Maaten 2020, arXiv 1912.01991", 200,
)  # fmt: skip
INFOMIN = _spec(
    "infomin", "AAAzMTynP3Qc8mIE4XWkgILUa/InfoMin_800.pth",
    ("head.0", "head.2", "head_jig.fc1.0", "head_jig.fc1.2", "head_jig.fc2"), "Tian et al. 2020, arXiv 2005.10243", 800,
)  # fmt: skip

SPECS = (INSDIS, PIRL, INFOMIN)
