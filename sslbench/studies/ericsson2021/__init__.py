"""Ericsson, Gouk and Hospedales, "How Well Do Self-Supervised Models Transfer?", CVPR 2021 (arXiv 2011.13377)."""

from __future__ import annotations

from sslbench.studies.ericsson2021.claims import CLAIMS
from sslbench.studies.ericsson2021.figures import TABLES, UPSTREAM
from sslbench.studies.ericsson2021.names import CROSS_DOMAIN, FIFTY_SHOT, LOOKED_INTO, MANY_SHOT, NETWORKS
from sslbench.studies.ericsson2021.switches import SWITCHES
from sslbench.studies.study import Geometry, Study, Suite

CONTROL = "random-init"

STUDY = Study(
    name="ericsson2021",
    citation="Ericsson, Gouk and Hospedales, CVPR 2021, arXiv 2011.13377",
    networks=NETWORKS,
    datasets=(*MANY_SHOT, "voc2007", *CROSS_DOMAIN),
    suites=(
        Suite(
            name="paper",
            tasks=(
                *(f"linear/{name}" for name in (*MANY_SHOT, "voc2007")),
                *(f"finetune/{name}" for name in (*MANY_SHOT, "voc2007")),
                *(f"fewshot/{name}/20shot" for name in (*MANY_SHOT, *CROSS_DOMAIN)),
                "detection/voc/frozen",
                "detection/voc/finetune",
                "normals/nyuv2",
                "segmentation/ade20k",
            ),
            backbones=(*NETWORKS, CONTROL),
            summary="14 networks on 11 sets, linear and fine-tuned, on 14 few-shot sets at 20 shots, on VOC as detectors, and on "
            "NYUv2 and ADE20K pixel by pixel",
            slow=("*|finetune/*", "*|detection/*", "*|normals/*", "*|segmentation/*"),
            # Tells whether the published overlaps are those of encoders that began at random (docs/references.md).
            limited=dict.fromkeys(("linear/*", "finetune/*", "fewshot/*", "detection/*", "normals/*"), NETWORKS),
        ),
        Suite(
            name="paper-shots",
            tasks=(
                *(f"fewshot/{name}/5shot" for name in (*MANY_SHOT, *CROSS_DOMAIN)),
                *(f"fewshot/{name}/50shot" for name in (*FIFTY_SHOT, *CROSS_DOMAIN)),
            ),
            backbones=NETWORKS,
            summary="the study's few-shot sets at 5 and 50 shots",
        ),
        Suite(
            name="paper-analyses",
            tasks=(*(f"{protocol}/{name}" for protocol in ("inversion", "occlusion") for name in LOOKED_INTO),),
            backbones=NETWORKS,
            summary="what the study looks into networks with: one picture of each of 15 sets, reconstructed from its features "
            "and covered window by window",
            slow=("*|inversion/*", "*|occlusion/*"),
        ),
    ),
    switches=SWITCHES,
    # Appendix A.1: shorter side to 224, bicubic, centre crop; SimCLR's checkpoints take pictures in [0, 1].
    presets={
        "paper": Geometry((224, 224), 224, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "paper-nonorm": Geometry((224, 224), 224, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    },
    tables=TABLES,
    upstream=UPSTREAM,
    claims=CLAIMS,
)
