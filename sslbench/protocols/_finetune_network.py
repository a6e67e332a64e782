"""A backbone with a new classifier on top, of which all or the last layers are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sslbench.backbones.undisturbed import UNSUITABLE
from sslbench.errors import BackboneError, tell
from sslbench.protocols._network_parts import batch_norms, frozen_modules, last_groups, matcher_of

if TYPE_CHECKING:
    from sslbench.backbones import Backbone
    from sslbench.backbones.backbone import Network
    from sslbench.protocols._finetune_options import Recipe


class TunedNetwork(nn.Module):
    """A trainable copy of a backbone behind a linear layer of torch's default initialisation.

    last: how many of the last stages or blocks are trained, None for all; what lies before them stays in evaluation mode, so
    that its BatchNorm statistics stay as they are. classes: outputs. seed: of the linear layer's weights.

    Raises BackboneError for a network without parameters, that cannot be copied, or without so many stages.
    """

    def __init__(self, backbone: Backbone, classes: int, *, last: int | None, seed: int) -> None:
        super().__init__()
        self._network: Network = backbone.trainable()
        self.body = self._network.module.to(memory_format=torch.channels_last)
        if last is not None:
            kept = {name for group in last_groups(self.body, last, backbone.name) for name in group}
            for name, parameter in self.body.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and name in kept)
        self._frozen = frozen_modules(self.body)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would reseed the GPUs too.
            torch.default_generator.manual_seed(seed)
            self.head = nn.Linear(_width(backbone), classes)
        self.head.to(backbone.device)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of normalised images (B, 3, H, W)."""
        return self.head(self._network.embed(images))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> TunedNetwork:
        """The frozen part stays in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    @property
    def whole_batch(self) -> bool:
        """Whether its training needs a whole batch at once: BatchNorm takes its statistics from it."""
        return any(part.training for part in batch_norms(self.body))

    def groups(self, recipe: Recipe, rate: float, decay: float, *, decayed: str) -> list[dict[str, Any]]:
        """Parameters for the optimiser, each group with `lr` and `weight_decay`.

        decayed: `all` parameters, or `weights`, which leaves biases, norms and other vectors without decay. With the recipe's
        `layer_decay` each block has its own rate, and vectors have no decay.
        """
        if recipe.layer_decay is None:
            plain = {"lr": rate, "weight_decay": decay}
            own = [parameter for parameter in self.parameters() if parameter.requires_grad]
            if decayed == "all":
                return [{"params": own, **plain}]
            sides = [[p for p in own if (p.ndim > 1) == matrix] for matrix in (True, False)]
            return [{"params": sides[0], **plain}, {"params": sides[1], **plain, "weight_decay": 0.0}]
        return _by_layer(self, recipe.layer_decay, rate, decay)


def check_training(network: TunedNetwork, backbone: Backbone, batches: Sequence[int]) -> str:
    """Try a step on batches of some sizes, which leaves statistics and gradients changed; how much of the network is trained.

    Tells of tensors that are to be trained and get no gradient. Raises BackboneError where the network does not run in training
    mode, or no gradient reaches it.
    """
    network.train()
    for batch in batches:
        images = torch.zeros(batch, 3, *backbone.preprocessing.input_size, device=backbone.device)
        try:
            network(images.contiguous(memory_format=torch.channels_last)).square().sum().backward()
        except UNSUITABLE as error:
            told = next(iter(str(error).splitlines()), "")
            advice = (
                "; the last batch of each pass has a single picture, which BatchNorm cannot take: choose another batch size "
                "(batch=N), or --sslbench-compat finetune-last-batch=drop"
                if batch == 1
                else "; evaluate it frozen, by linear, knn or fewshot, or give a network whose forward pass can be trained"
            )
            pictures = f"{batch} picture{'s' * (batch > 1)}"
            raise BackboneError(
                f"{backbone.name}: a training step on {pictures} fails ({type(error).__name__}: {told}){advice}"
            ) from error
    body = [parameter for parameter in network.body.parameters() if parameter.requires_grad]
    if all(parameter.grad is None for parameter in body):
        raise BackboneError(
            f"{backbone.name}: no gradient reaches the network, so that only the classifier would be trained; its forward pass "
            "detaches what it computes, runs without gradients, or checkpoints with use_reentrant=True"
        )
    named = list(network.named_parameters())
    missed = [name for name, parameter in named if parameter.requires_grad and parameter.grad is None]
    if missed:
        shown = ", ".join(name.removeprefix("body.") for name in missed[:3]) + (", ..." if len(missed) > 3 else "")
        tell(
            f"{backbone.name}: no gradient reaches {len(missed)} of the {len(named)} tensors that fine-tuning trains ({shown}); "
            "they stay as they are"
        )
    trained = sum(parameter.requires_grad and parameter.grad is not None for _, parameter in named)
    return f"{trained} of {len(named)} tensors"


def _by_layer(network: TunedNetwork, factor: float, rate: float, decay: float) -> list[dict[str, Any]]:
    if (matcher := matcher_of(network.body)) is None:
        raise BackboneError(
            f"recipe=vit needs a network of timm's, which tells its blocks, got {type(network.body).__name__}; "
            "leave the recipe out"
        )
    from timm.models import group_parameters

    groups: dict[int, list[str]] = group_parameters(network.body, matcher(coarse=False))
    parameters = dict(network.body.named_parameters())
    skip: Any = getattr(network.body, "no_weight_decay", None)
    without = set(skip()) if callable(skip) else set()
    deepest = max(groups)
    made = []
    for layer, names in groups.items():
        for vector in (False, True):
            chosen = [
                parameters[name]
                for name in names
                if parameters[name].requires_grad and (parameters[name].ndim <= 1 or name in without) == vector
            ]
            if chosen:
                scaled = rate * factor ** (deepest + 1 - layer)
                made.append({"params": chosen, "lr": scaled, "weight_decay": 0.0 if vector else decay})
    return [
        *made,
        {"params": [network.head.weight], "lr": rate, "weight_decay": decay},
        {"params": [network.head.bias], "lr": rate, "weight_decay": 0.0},
    ]


def _width(backbone: Backbone) -> int:
    height, width = backbone.preprocessing.input_size
    return backbone.embed(torch.zeros(2, 3, height, width, device=backbone.device)).shape[1]
