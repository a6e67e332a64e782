"""BYOL: DeepMind's pickle of Haiku parameters and state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.backbones.checkpoints.resnet50 import STATISTICS, Weights, fit, layers
from sslbench.backbones.checkpoints.torch_file import where
from sslbench.errors import BackboneError
from sslbench.sources import Source

if TYPE_CHECKING:
    from torch import Tensor

BYOL = CheckpointSpec(
    name="byol",
    sources=(
        Source(
            "pretrain_res50x1.pkl", ("https://storage.googleapis.com/deepmind-byol/checkpoints/pretrain_res50x1.pkl",)
        ),
    ),
    reader="sslbench.backbones.checkpoints.byol:read",
    page="https://github.com/google-deepmind/deepmind-research/tree/master/byol",
    licence="Apache-2.0",
    citation="Grill et al. 2020, arXiv 2006.07733",
    epochs=1000,
    # Of a moving average Haiku evaluates with `average`, which is free of the bias towards its start.
    drop=("*/projector/*", "*/predictor/*", "*/classifier/*", "*/mean_ema/hidden", "*/var_ema/hidden", "*_ema/counter"),
    same_padding="all",
)

SPECS = (BYOL,)

_RECORDS = {
    "byol.byol_experiment._ByolExperimentState": (
        *("online_params", "target_params", "online_state", "target_state", "opt_state"),
    ),
    "byol.utils.optimizers.ScaleByLarsState": ("mu",),
    "byol.utils.optimizers.AddWeightDecayState": (),
}
# Where Haiku's BatchNorm keeps what torch calls weight, bias, running_mean and running_var.
_ARRAYS = (
    *("params/{}/scale", "params/{}/offset"),
    *("state/{}/~/mean_ema/average", "state/{}/~/var_ema/average"),
)


def read(path: Path, spec: CheckpointSpec) -> Weights:
    """The online network of the experiment."""
    from sslbench.backbones.checkpoints.safe_pickle import Array, load_pickle

    place, names = where(path, spec), array_names()
    arrays = _online(load_pickle(path, records=_RECORDS), place)

    def rename(key: str) -> str | None:
        # Haiku numbers a second module of one name.
        return names.get(re.sub(r"/initial_(conv|batchnorm)_1/", r"/initial_\1/", key))

    def tensor(key: str) -> Tensor:
        import torch

        if not isinstance(arrays[key], Array):
            raise BackboneError(f"{place}: expected an array at {key}, found {type(arrays[key]).__name__}")
        values = torch.from_numpy(arrays[key].values.astype("float32"))
        # Kernels are HWIO. BatchNorm's arrays are (1, 1, 1, C).
        return values.permute(3, 2, 0, 1) if key.endswith("/w") and values.ndim == 4 else values.reshape(-1)

    return fit(arrays, tensor, rename=rename, drop=spec.drop, where=place)


def array_names() -> dict[str, str]:
    """torchvision's name of each of the 265 arrays, written "params/MODULE/ARRAY" or "state/MODULE/ARRAY"."""
    names = {}
    for layer in layers():
        block = re.fullmatch(r"layer(\d)\.(\d+)\.(?:downsample\.0|conv(\d))", layer.convolution)
        if block is None:
            convolution, norm = "res_net50/~/initial_conv", "res_net50/~/initial_batchnorm"
        else:
            group = f"res_net50/~/block_group_{int(block[1]) - 1}/~/block_{block[2]}/~"
            if block[3] is None:
                convolution, norm = f"{group}/shortcut_conv", f"{group}/shortcut_batchnorm"
            else:
                number = int(block[3]) - 1
                convolution, norm = f"{group}/conv_{number}", f"{group}/batchnorm_{number}"
        names[f"params/{convolution}/w"] = f"{layer.convolution}.weight"
        names |= {key.format(norm): f"{layer.norm}.{what}" for key, what in zip(_ARRAYS, STATISTICS, strict=True)}
    return names


def _online(content: Any, place: str) -> dict[str, Any]:
    from sslbench.backbones.checkpoints.safe_pickle import Record

    state = content.get("experiment_state") if isinstance(content, Mapping) else None
    state = state.as_dict() if isinstance(state, Record) else state
    trees: dict[str, Any] = (
        {part: state.get(f"online_{part}") for part in ("params", "state")} if isinstance(state, Mapping) else {}
    )
    if not trees or not all(_is_tree(tree) for tree in trees.values()):
        found = state if isinstance(state, Mapping) else content
        keys = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise BackboneError(f"{place}: expected experiment_state with online_params and online_state, found {keys}")
    return {
        f"{part}/{module}/{name}": array
        for part, tree in trees.items()
        for module, arrays in tree.items()
        for name, array in arrays.items()
    }


def _is_tree(tree: Any) -> bool:
    return isinstance(tree, Mapping) and all(isinstance(arrays, Mapping) for arrays in tree.values())
