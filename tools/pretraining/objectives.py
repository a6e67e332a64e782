"""The objectives of the zoo: each turns two views of a batch into a loss. Losses and heads are lightly's."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, ClassVar

import timm
import torch
from lightly import loss as losses
from lightly.models import utils
from lightly.models.modules import (
    MaskedVisionTransformerTIMM,
    MoCoProjectionHead,
    SimCLRProjectionHead,
    SwaVProjectionHead,
    SwaVPrototypes,
)
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 256
PROJECTION = 128


class Objective(nn.Module):
    """A network with what its training needs beside it; only `backbone` is kept.

    arch, arch_options: what `timm.create_model` builds the network from; by default timm's smallest ResNet, 0.37 M
    parameters and 96 features.
    """

    arch: ClassVar[str] = "test_resnet"
    arch_options: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.backbone: nn.Module = timm.create_model(self.arch, num_classes=0, **self.arch_options)
        self.width: int = self.backbone.num_features

    @abstractmethod
    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """The loss of two views (B, 3, S, S) each; targets int64 (B,) are for the supervised objective alone."""

    def before_step(self, progress: float) -> None:
        """Called before each step; progress goes from 0 to 1 over the training."""


class Supervised(Objective):
    """Cross-entropy on both views."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(self.width, classes)

    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """Mean over both views."""
        return F.cross_entropy(self.classifier(self.backbone(torch.cat([first, second]))), targets.repeat(2))


class SimCLR(Objective):
    """Chen et al. 2020: NT-Xent on a two-layer projection, temperature 0.2."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = SimCLRProjectionHead(self.width, HIDDEN, PROJECTION)
        self.criterion = losses.NTXentLoss(temperature=0.2)

    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """The other pictures of the batch are the negatives."""
        return self.criterion(*self.head(self.backbone(torch.cat([first, second]))).chunk(2))


class MoCoV2(Objective):
    """Chen et al. 2020b: a queue of 4096 keys, temperature 0.2, key encoder with momentum 0.99, symmetric loss.

    Its published momentum of 0.999 is for a hundred times as many steps. Symmetric, so that both views are trained on
    as in the other objectives.
    """

    momentum = 0.99
    queue = 4096

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = MoCoProjectionHead(self.width, HIDDEN, PROJECTION)
        self.keys = copy.deepcopy(nn.Sequential(self.backbone, self.head)).requires_grad_(False)
        self.criterion = losses.NTXentLoss(temperature=0.2, memory_bank_size=(self.queue, PROJECTION))

    def before_step(self, progress: float) -> None:
        """Move the key encoder."""
        utils.update_momentum(nn.Sequential(self.backbone, self.head), self.keys, self.momentum)

    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """Queries of each view against keys of the other."""
        queries = self.head(self.backbone(torch.cat([first, second]))).chunk(2)
        keys = self._keys(torch.cat([second, first])).chunk(2)
        return (self.criterion(queries[0], keys[0]) + self.criterion(queries[1], keys[1])) / 2

    @torch.no_grad()
    def _keys(self, views: Tensor) -> Tensor:
        # Shuffled into other groups than the queries' (MoCo's shuffling BN), lest batch statistics give the pair away.
        order = torch.randperm(len(views), device=views.device)
        groups = views[order].chunk(4)
        return torch.cat([self.keys(group) for group in groups])[order.argsort()]


class SwAV(Objective):
    """Caron et al. 2020: swapped cluster codes, 256 prototypes, temperature 0.1, epsilon 0.05, no multi-crop."""

    prototypes_count = 256
    frozen_share = 0.04

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = SwaVProjectionHead(self.width, HIDDEN, PROJECTION)
        self.prototypes = SwaVPrototypes(PROJECTION, self.prototypes_count)
        self.criterion = losses.SwaVLoss(temperature=0.1, sinkhorn_epsilon=0.05)

    def before_step(self, progress: float) -> None:
        """Prototypes stay on the sphere, and still at first."""
        self.prototypes.normalize()
        self.prototypes.requires_grad_(progress >= self.frozen_share)

    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """Each view predicts the code of the other."""
        features = F.normalize(self.head(self.backbone(torch.cat([first, second]))), dim=1)
        return self.criterion(list(self.prototypes(features).chunk(2)), []).squeeze()


class VICReg(Objective):
    """Bardes et al. 2022: variance, invariance and covariance 25, 25 and 1 on a three-layer expander."""

    expander = 512

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = VICRegProjectionHead(self.width, self.expander, self.expander)
        self.criterion = losses.VICRegLoss()

    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """No negatives; the variance term prevents collapse."""
        return self.criterion(*self.head(self.backbone(torch.cat([first, second]))).chunk(2))


class MAE(Objective):
    """He et al. 2022: three quarters of the patches of a ViT are masked; a decoder predicts their normalised pixels.

    timm's test_vit with patches of 8 pixels, 0.27 M parameters, 64 features.
    """

    patch = 8
    mask_ratio = 0.75
    decoder_depth = 2
    arch = "test_vit"
    # The mean of the patches, each normalised: nothing trains the class token of a masked autoencoder.
    arch_options: ClassVar = {"img_size": 64, "patch_size": patch, "global_pool": "avg", "fc_norm": False}

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = MaskedVisionTransformerTIMM(self.backbone)
        self.bridge = nn.Linear(self.width, self.width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            self.backbone.patch_embed.num_patches, self.width, self.decoder_depth, num_heads=2
        )
        self.pixels = nn.Linear(self.width, self.patch**2 * 3)

    def loss(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error on the masked patches of both views, which are two separate pictures here."""
        images = torch.cat([first, second])
        size = (len(images), self.encoder.sequence_length)
        keep, masked = utils.random_token_mask(size, self.mask_ratio, device=images.device)
        visible = self.bridge(self.encoder.encode(images, idx_keep=keep))
        tokens = utils.set_at_index(visible.new_zeros(*size, visible.shape[-1]), keep, visible)
        # Not the decoder's idx_keep, which would drop the visible patches before its blocks see them.
        predicted = self.pixels(utils.get_at_index(self.decoder(tokens, idx_mask=masked), masked))
        patches = utils.get_at_index(utils.patchify(images, self.patch), masked - 1)
        return F.mse_loss(predicted, utils.normalize_mean_var(patches))
