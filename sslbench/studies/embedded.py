"""This project's own suite: offline, on data and backbones that come with the installation.

Its references are the committed records of an own run (`sslbench.results.references`).
"""

from __future__ import annotations

from sslbench.studies.study import Study, Suite

STUDY = Study(
    name="embedded",
    citation="this project",
    networks=(),
    datasets=(),
    suites=(
        Suite(
            name="embedded",
            tasks=(
                "linear/digits", "linear/world-colour", "linear/world-count", "linear/world-shape", "linear/world-texture",
                "knn/digits", "knn/world-colour", "knn/world-count", "knn/world-shape", "knn/world-texture",
                "fewshot/world-objects/*",
                "finetune/digits/recipe=quick", "finetune/world-shape/recipe=quick",
                "detection/world-boxes/frozen", "detection/world-boxes/finetune",
                "segmentation/world-masks/linear", "normals/world-normals/linear",
                "segmentation/world-masks", "normals/world-normals",
                "inversion/world-colour/recipe=quick",
                "occlusion/world-masks/recipe=quick",
            ),
            # At the pictures' own size, since at 96 pixels it takes twice as long. First, because it takes longest.
            backbones=(
                "wheel:efficientnet-lite0?size=64", "zoo:*", "random-init:zoo:simclr", "random-init:zoo:mae", "pixels",
                "colour-histogram",
            ),
            summary="offline, on data and backbones that come with the installation; minutes on two CPU cores",
            # A quick run has linear probes, neighbours and few-shot; a network's fine-tuning and detection would double its time.
            slow=(
                # Its pictures are no other task's, so that leaving it out spares over a fifth of the extraction.
                "*/world-count",
                "*|finetune/*",
                "*|detection/*",
                "*|segmentation/*",
                "*|normals/*",
                "*|inversion/*",
                "*|occlusion/*",
            ),
            # On a CPU, minutes to hours for anything larger; the other controls have nothing to train, no maps and no attention.
            limited=dict.fromkeys(
                (
                    "finetune/*", "detection/*", "segmentation/*", "normals/*", "inversion/*", "occlusion/*",
                ),
                ("zoo:*", "random-init:zoo:*"),
            ),
        ),
    ),
)  # fmt: skip
