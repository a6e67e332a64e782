"""timm's name for what other libraries call otherwise, such as `facebook/dinov2-small`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sslbench.errors import UnknownNameError

# `vits14` and `vit-s-14` are vit_small_patch14 in timm.
_SIZES = {"t": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge", "g": "giant"}
_SHORT = re.compile(r"vit[-_]?([tsblhg])[-_]?(\d+)(?!\w)")
# A path of one folder and a file looks like an id.
_WEIGHTS = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".safetensors")


def foreign_id(identifier: str, names: Iterable[str]) -> UnknownNameError:
    """The error for a Hugging Face id or a path without a scheme. names: of timm's pretrained models."""
    if not re.fullmatch(r"\w[^/]*/\w[^/]*", identifier) or identifier.endswith(_WEIGHTS):
        return UnknownNameError(
            f"unknown backbone {identifier!r}; a checkpoint file is file:{identifier}?arch=ARCH, with timm's name of the network"
        )
    near = nearest_timm(identifier, names)
    told = f"nearest in timm: {', '.join(near)}" if near else "timm has nothing like it"
    return UnknownNameError(
        f"unknown backbone {identifier!r}: networks of Hugging Face's transformers are not loaded; {told}. A timm model on "
        "Hugging Face is hf-hub:OWNER/NAME, one of torch.hub hub:OWNER/REPO:ENTRY (hub:facebookresearch/dinov2:dinov2_vits14)"
    )


def nearest_timm(identifier: str, names: Iterable[str], count: int = 2) -> list[str]:
    """The names that hold most words of a Hugging Face id `OWNER/NAME`, at least two thirds; the shortest first.

    The first word counts most, since it tends to be the family's. Words count as they are and joined with the next one
    (`resnet-50` is `resnet50`).
    """
    owner, _, name = identifier.lower().rpartition("/")
    name = _SHORT.sub(lambda match: f"vit-{_SIZES[match[1]]}-patch{match[2]}", name)
    wanted = _words(name)
    if not wanted:
        return []
    scored = []
    for candidate in names:
        words = _words(candidate.lower())
        found = sum(_holds(words, wanted, index) for index in range(len(wanted)))
        if 3 * found >= 2 * len(wanted):
            rank = (not _holds(words, wanted, 0), -found)
            scored.append((rank, owner not in words, len(candidate), candidate))
    best = min((score[0] for score in scored), default=None)
    return [candidate for rank, _, _, candidate in sorted(scored) if rank == best][:count]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_./]", name) if word]


def _holds(words: list[str], wanted: list[str], index: int) -> bool:
    joined = {"".join(wanted[index : index + 2]), "".join(wanted[max(0, index - 1) : index + 1])}
    return wanted[index] in words or bool(joined & set(words))
