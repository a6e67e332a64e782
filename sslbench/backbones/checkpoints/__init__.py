"""Published ResNet-50s by name: where their files are, what is in them, and how they become torchvision's tensors.

Importing the declarations needs no torch.
"""

from sslbench.backbones.checkpoints.catalogue import CHECKPOINTS, checkpoint_spec
from sslbench.backbones.checkpoints.declaration import CheckpointSpec

__all__ = ["CHECKPOINTS", "CheckpointSpec", "checkpoint_spec"]
