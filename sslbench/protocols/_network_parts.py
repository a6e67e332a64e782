"""Which parts of a network are trained, and what has to stand still beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from sslbench.backbones.undisturbed import UNSUITABLE
from sslbench.errors import BackboneError, DeviceError

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Network

BatchNorm = nn.modules.batchnorm._BatchNorm
T = TypeVar("T")


def last_groups(body: nn.Module, count: int, name: str, among: Collection[str] | None = None) -> list[list[str]]:
    """Names of the parameters of the last stages or blocks, one list each, as timm groups them; otherwise of the last children.

    A group without a matrix, such as a last norm, belongs to the one before. among: the only parameters that count.
    """
    merged = groups(body, among)
    if count >= len(merged):
        raise BackboneError(
            f"{name} has {len(merged) - 1} stages or blocks behind its first layer, so that last-{count}, to train these "
            "alone, is not possible; train all of it"
        )
    return merged[-count:]


def groups(body: nn.Module, among: Collection[str] | None = None) -> list[list[str]]:
    """All stages or blocks, as in `last_groups`, the first layer first."""
    parameters = dict(body.named_parameters())
    merged: list[list[str]] = []
    for group in _groups(body).values():
        own = [each for each in group if among is None or each in among]
        if merged and not any(parameters[each].ndim > 1 for each in own):
            merged[-1] += own
        elif own:
            merged.append(own)
    return merged


def _groups(body: nn.Module) -> Mapping[Any, list[str]]:
    if (matcher := matcher_of(body)) is not None:
        from timm.models import group_parameters

        found: dict[Any, list[str]] = group_parameters(body, matcher(coarse=True))
        return {key: found[key] for key in sorted(found)}
    children: dict[str, list[str]] = {}
    for parameter, _ in body.named_parameters():
        children.setdefault(parameter.partition(".")[0], []).append(parameter)
    return children


def matcher_of(body: nn.Module) -> Any:
    """What timm's networks tell their stages and blocks by, None for others."""
    return getattr(body, "group_matcher", None)


def frozen_modules(body: nn.Module) -> list[nn.Module]:
    """The modules without a trained parameter; of those without any, such as dropout, the ones before the first trained one.

    None where all of the network is trained.
    """
    if all(parameter.requires_grad for parameter in body.parameters()):
        return []
    frozen, begun = [], False
    for part in body.modules():
        own = list(part.parameters())
        if not any(parameter.requires_grad for parameter in own) and (own or not begun):
            frozen.append(part)
        begun |= any(parameter.requires_grad for parameter in part.parameters(recurse=False))
    return frozen


def batch_norms(body: nn.Module) -> list[nn.Module]:
    """Every BatchNorm."""
    return [part for part in body.modules() if isinstance(part, BatchNorm)]


def behind_maps(network: Network, size: tuple[int, int], name: str) -> set[str]:
    """Names of the parameters that the network's maps depend on; gradients are left behind as they were, without any.

    size: height and width of the picture that is tried. Raises BackboneError for maps that no gradient reaches.
    """
    body: Any = network.module
    device = next(body.parameters()).device
    body.eval()
    try:
        maps = network.feature_maps(torch.zeros(1, 3, *size, device=device))
        torch.autograd.backward([each.float().square().mean() for each in maps if each.requires_grad])
    except UNSUITABLE as error:
        told = next(iter(str(error).splitlines()), "")
        raise BackboneError(
            f"{name}: nothing can be trained on its maps ({type(error).__name__}: {told}); give a network whose "
            "feature_maps(images) can be trained"
        ) from error
    used = {key for key, parameter in body.named_parameters() if parameter.grad is not None}
    for parameter in body.parameters():
        parameter.grad = None
    if not used:
        raise BackboneError(f"{name}: no gradient reaches its maps, so that nothing of it could be trained")
    return used


def tried(run: Callable[[Tensor], T], shape: tuple[int, int], device: torch.device, name: str, task: str) -> T:
    """What a network gives for an empty picture of a height and width, before pictures are decoded for it.

    Raises BackboneError where it gives nothing, DeviceError where memory does not suffice. name, task: for messages.
    """
    try:
        with torch.no_grad():
            return run(torch.zeros(1, 3, *shape, device=device))
    except torch.cuda.OutOfMemoryError as error:
        raise DeviceError(
            f"{name}: the device has not enough memory for one picture of {shape[0]} x {shape[1]} pixels; "
            "choose a smaller size (size=N), precision=bfloat16 or another device"
        ) from error
    except UNSUITABLE as error:
        told = next(iter(str(error).splitlines()), "")
        raise BackboneError(
            f"{name}: it gives no maps of pictures of {shape[0]} x {shape[1]} pixels ({type(error).__name__}: {told}); "
            f"{task} shows it pictures of any shape. Choose a network that takes them"
        ) from error


def decay_groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """For an optimiser: the matrices, with its decay, and biases and norms, without."""
    own = list(parameters)
    matrices, others = ([p for p in own if (p.ndim > 1) == matrix] for matrix in (True, False))
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def accept_any_size(network: Network) -> None:
    """Let a timm transformer that was built for one size take pictures of any size that its patches divide.

    Positions are interpolated for each picture, as timm does with `dynamic_img_size`; Swin's masks are made for each.
    """
    body: Any = network.module
    embedding: Any = getattr(body, "patch_embed", None)
    if embedding is None or not hasattr(embedding, "strict_img_size"):
        return
    embedding.strict_img_size = False
    for part in body.modules():
        if hasattr(part, "get_attn_mask"):
            part.dynamic_mask = True
    if hasattr(body, "pos_embed") and hasattr(body, "dynamic_img_size") and not body.dynamic_img_size:
        from timm.layers.format import Format

        body.dynamic_img_size = True
        embedding.flatten, embedding.output_fmt = False, Format.NHWC
