"""The supervised baseline: torchvision's first ResNet-50 weights (76.13 % top-1), not the later V2."""

from __future__ import annotations

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.sources import Source

# The file the study's torchvision fetched (resnet50-19c8e357.pth) is in a container that cannot be read safely; this one
# has the same accuracy and is taken to hold the same weights.
URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"

SUPERVISED = CheckpointSpec(
    name="supervised",
    # torchvision writes the first eight digits of the SHA-256 into the name.
    sources=(Source("resnet50-0676ba61.pth", (URL,), sha256="0676ba61"),),
    page="https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet50.html",
    licence="BSD-3-Clause",
    citation="He et al. 2016, arXiv 1512.03385",
    epochs=120,
    containers=("state_dict",),
    drop=("fc.weight", "fc.bias"),
)

SPECS = (SUPERVISED,)
