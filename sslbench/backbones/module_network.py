"""Networks that are any nn.Module: from torch.hub or a user's own factory."""

from __future__ import annotations

from torch import Tensor, nn

from sslbench.backbones.backbone import Network
from sslbench.backbones.dry_run import tensor_output
from sslbench.backbones.heads import take_off_by_name
from sslbench.backbones.pooling import check_pooling, pool_map, pool_tokens
from sslbench.errors import BackboneError

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class ModuleNetwork(Network):
    """An nn.Module whose call gives (B, D), a map (B, C, H, W) or tokens (B, N, C) with the class token first.

    removed_head: the classifier that was taken off already, if somebody has looked for it. By default a linear layer at the
    top level that is called `fc`, `head`, `heads` or `classifier` is replaced by the identity: hub entries of
    self-supervised ResNets come with a random one.
    """

    def __init__(self, module: nn.Module, pooling: str = "model", removed_head: str | None = None) -> None:
        self.module = module
        self.pooling = check_pooling(pooling)
        if pooling.startswith("last-"):
            raise BackboneError("pooling last-N needs a timm model; use model, avg, cls, patch-mean or cls+patch-mean")
        self.removed_head = take_off_by_name(module) if removed_head is None else removed_head

    def embed(self, images: Tensor) -> Tensor:
        """(B, D)."""
        output = tensor_output(self.module(images), self.module)
        if output.ndim == 4:
            return pool_map(output, self.pooling)
        if output.ndim == 3:
            return pool_tokens(output, 1, "cls" if self.pooling == "model" else self.pooling)
        if self.pooling != "model":
            raise BackboneError(f"pooling {self.pooling!r} asked for, but the network already gives pooled features")
        return output

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The module's own `feature_maps`, or the outputs of layer1..layer4 of a torchvision-style ResNet."""
        own = getattr(self.module, "feature_maps", None)
        if callable(own):
            return list(own(images))
        stages = [getattr(self.module, name, None) for name in _STAGES]
        maps: list[Tensor] = []
        handles = [
            stage.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
            for stage in stages
            if isinstance(stage, nn.Module)
        ]
        try:
            if len(handles) != len(_STAGES):
                raise BackboneError(
                    f"{type(self.module).__name__} gives no feature maps: it has neither a feature_maps(images) method "
                    "nor layer1..layer4"
                )
            self.module(images)
        finally:
            for handle in handles:
                handle.remove()
        return maps
