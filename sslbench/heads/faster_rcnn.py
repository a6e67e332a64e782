"""Faster R-CNN over a pyramid (Ren et al. 2015, Lin et al. 2017): torchvision's parts, as detectron2 configures them.

What torchvision does otherwise by default is set or replaced here: anchors are not rounded, box losses are absolute differences,
regions are pooled aligned and with as many samples as they have pixels, 1,000 proposals are trained on, and the linear layers
begin as detectron2's do. `docs/detection.md` lists what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import roi_align

Wanted = list[dict[str, Tensor]]
"""For each picture `boxes` float32 (M, 4) and `labels` int64 (M,), where 0 is the background."""


@dataclass(frozen=True)
class Design:
    """The numbers of a detector; the defaults are the study's (Ericsson et al. 2021, appendix A.4, on detectron2's defaults).

    channels: of the pyramid. hidden: width of the two linear layers. anchor: side of a square anchor by the stride of its map.
    ratios: height by width. region: side of a region by the stride of the map that it is pooled from, at least. pooled: side of a
    pooled region. before, after: proposals of each level before suppression, and of a picture after it, in (training, test).
    anchors, regions: that are sampled of a picture for the losses.
    """

    channels: int = 256
    hidden: int = 1024
    anchor: float = 8.0
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    region: float = 14.0
    pooled: int = 7
    before: tuple[int, int] = (2000, 1000)
    after: tuple[int, int] = (1000, 1000)
    anchors: int = 256
    regions: int = 512


# Nothing that has an area is too small to be proposed.
_SMALLEST = 1e-12


class FasterRCNN(nn.Module):
    """Proposals and their classification on pyramid maps.

    classes: of objects, without the background. strides: of the maps, fine to coarse; regions are pooled from all but the last.
    Initial weights come from torch's global generator.
    """

    def __init__(self, classes: int, strides: Sequence[float], design: Design) -> None:
        super().__init__()
        head = _Scorer(design.channels, len(design.ratios))
        before, after = (
            dict(zip(("training", "testing"), counts, strict=True)) for counts in (design.before, design.after)
        )
        self.rpn = _Proposals(
            _Anchors(strides, design), head, fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=design.anchors,
            positive_fraction=0.5, pre_nms_top_n=before, post_nms_top_n=after, nms_thresh=0.7,
        )  # fmt: skip
        self.roi_heads = _Regions(
            _Pooling(strides[:-1], design), TwoMLPHead(design.channels * design.pooled**2, design.hidden),
            FastRCNNPredictor(design.hidden, classes + 1), fg_iou_thresh=0.5, bg_iou_thresh=0.5,
            batch_size_per_image=design.regions, positive_fraction=0.25, bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=0.05, nms_thresh=0.5, detections_per_img=100,
        )  # fmt: skip
        self._initialise()

    def forward(
        self, images: Tensor, sizes: list[tuple[int, int]], maps: Sequence[Tensor], truth: Wanted | None = None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections of each picture, empty in training, and the four losses, empty elsewhere.

        Args:
            images: (B, 3, H, W), of which only the shape counts.
            sizes: height and width of each picture without its padding; detections end there.
            maps: float32 (B, C, h, w), fine to coarse.
            truth: of each picture, in training.
        """
        shown = ImageList(images, sizes)
        features = {str(number): each for number, each in enumerate(maps)}
        proposals, losses = self.rpn(shown, features, truth)
        detections, more = self.roi_heads(features, proposals, sizes, truth)
        return detections, {**losses, **more}

    def _initialise(self) -> None:
        for layer in (self.roi_heads.box_head.fc6, self.roi_heads.box_head.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        predictor = self.roi_heads.box_predictor
        for layer, spread in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)


class _Anchors(AnchorGenerator):  # type: ignore[misc]
    """Not rounded, and at the strides that are known: torchvision divides the sizes of picture and map, down to whole numbers."""

    def __init__(self, strides: Sequence[float], design: Design) -> None:
        super().__init__(tuple((design.anchor * stride,) for stride in strides), (design.ratios,) * len(strides))
        self._strides = strides

    def generate_anchors(
        self, scales: Any, aspect_ratios: Any, dtype: Any = torch.float32, device: Any = "cpu"
    ) -> Tensor:
        root = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        side = torch.as_tensor(scales, dtype=dtype, device=device)
        wide, high = (1 / root)[:, None] * side, root[:, None] * side
        return torch.stack([-wide, -high, wide, high], dim=-1).reshape(-1, 4) / 2

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        # Numbers of the CPU: what is made of a list on a GPU waits for it.
        strides = [[torch.tensor(stride)] * 2 for stride in self._strides]
        placed = torch.cat(self.grid_anchors([each.shape[-2:] for each in feature_maps], strides))
        return [placed] * len(image_list.image_sizes)


class _Scorer(RPNHead):  # type: ignore[misc]
    """In float32 whatever its layers compute in: proposals take the type of what they are decoded from."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        scores, deltas = super().forward(x)
        return [each.float() for each in scores], [each.float() for each in deltas]


class _Proposals(RegionProposalNetwork):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.min_size = _SMALLEST

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Both are sums over the sampled anchors, by the number that would be sampled where there are enough."""
        positive, negative = (torch.cat(masks).nonzero()[:, 0] for masks in self.fg_bg_sampler(labels))
        sampled = torch.cat([positive, negative])
        whole = self.fg_bg_sampler.batch_size_per_image * len(labels)
        truth = torch.cat(regression_targets)[positive]
        boxes = F.l1_loss(pred_bbox_deltas[positive], truth, reduction="sum")
        wanted = torch.cat(labels)[sampled]
        scores = F.binary_cross_entropy_with_logits(objectness.flatten()[sampled], wanted, reduction="sum")
        return scores / whole, boxes / whole


class _Pooling(nn.Module):
    """RoIAlign of each region from the map that fits its size; as torchvision's, but aligned, and sampled adaptively."""

    def __init__(self, strides: Sequence[float], design: Design) -> None:
        super().__init__()
        self._strides, self._size, self._region = strides, design.pooled, design.region

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: Any) -> Tensor:
        """(R, C, S, S) of the regions of all pictures, one after the other."""
        every = torch.cat(boxes)
        picture = torch.cat([own.new_full((len(own), 1), number) for number, own in enumerate(boxes)])
        regions = torch.cat([picture, every], dim=1)
        side = ((every[:, 2] - every[:, 0]) * (every[:, 3] - every[:, 1])).clamp(min=0).sqrt()
        # A region twice as large comes from the next map; those that are just as large as the limit do too, hence the small
        # number, which is detectron2's.
        level = torch.log2(side / (self._region * self._strides[0]) + 4e-8).floor().clamp(0, len(self._strides) - 1)
        first = features["0"]
        pooled = first.new_zeros(len(regions), first.shape[1], self._size, self._size)
        for number, stride in enumerate(self._strides):
            chosen = (level == number).nonzero()[:, 0]
            pooled[chosen] = roi_align(
                features[str(number)],
                regions[chosen],
                self._size,
                spatial_scale=1 / stride,
                sampling_ratio=0,
                aligned=True,
            )
        return pooled


class _Regions(RoIHeads):  # type: ignore[misc]
    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Wanted | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        if not self.training:
            scores, deltas = self._predicted(features, proposals, image_shapes)
            found = zip(*self.postprocess_detections(scores, deltas, proposals, image_shapes), strict=True)
            return [{"boxes": boxes, "scores": score, "labels": labels} for boxes, score, labels in found], {}
        proposals, _, labels, wanted = self.select_training_samples(proposals, targets)
        scores, deltas = self._predicted(features, proposals, image_shapes)
        label = torch.cat(labels)
        objects = (label > 0).nonzero()[:, 0]
        own = deltas.view(len(deltas), -1, 4)[objects, label[objects]]
        boxes = F.l1_loss(own, torch.cat(wanted)[objects], reduction="sum") / max(1, len(label))
        return [], {"loss_classifier": F.cross_entropy(scores, label), "loss_box_reg": boxes}

    def _predicted(self, features: Any, proposals: list[Tensor], image_shapes: Any) -> tuple[Tensor, Tensor]:
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        scores, deltas = self.box_predictor(self.box_head(pooled))
        return scores.float(), deltas.float()
