"""What one training of a grid gave, and its files: `KEY.json` with the values, `KEY.safetensors` with the tensors, if any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.errors import CacheError
from sslbench.files import replacing, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "sslbench-trial-1"


@dataclass(frozen=True)
class TrialResult:
    """What one training gave.

    values: plain data, as JSON keeps it (a tuple becomes a list). tensors: such as weights, on the CPU. diverged_at: the step,
    counted from 1, at which the loss or a weight was not finite any more; values are None then. seconds: that it took, in the
    process that ended it; 0 where an earlier version kept it. peak_memory: of that process, as `sslbench.environment.peak_memory`
    gives it; empty where an earlier version kept it.
    """

    values: Any
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    diverged_at: int | None = None
    seconds: float = 0.0
    peak_memory: Mapping[str, int | None] = field(default_factory=dict)


def trial_key(content: Mapping[str, Any]) -> str:
    """The name of a trial's files. content: `case`, `stage` and `hyperparameters`; whatever else is in it does not count."""
    return _digest({name: content[name] for name in ("case", "stage", "hyperparameters")})[:32]


def write_result(path: Path, ingredients: Mapping[str, Any], result: TrialResult) -> None:
    """Write the `KEY.json` of a trial, and its tensors beside it. ingredients: as of `trial_key`. Raises OSError."""
    plain = json.loads(json.dumps(ingredients))
    # First: a result that can be read is whole.
    tensors = _write_tensors(path.with_suffix(".safetensors"), result.tensors) if result.tensors else None
    content = {
        "format": FORMAT,
        **plain,
        "values": result.values,
        "diverged_at": result.diverged_at,
        "seconds": result.seconds,
        "peak_memory": dict(result.peak_memory),
        "tensors": tensors,
    }
    text = json.dumps({**content, "checksum": _digest(content)}, indent=1)
    write_atomic(path, f"{text}\n".encode())


def read_description(path: Path) -> dict[str, Any]:
    """What a trial's `KEY.json` says: `case`, `stage`, `hyperparameters`, `values`, `diverged_at` and the digest of its tensors.

    Raises CacheError for a damaged one.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        checksum = content.pop("checksum")
        if content["format"] != FORMAT or checksum != _digest(content):
            raise ValueError("its checksum does not match its content")
        if trial_key(content) != path.stem:
            raise ValueError("its name does not belong to its content")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"damaged result {path} of a trial: {error}") from error
    return content


def read_result(path: Path) -> TrialResult:
    """A trial's result from its `KEY.json`. Raises CacheError for a damaged one, or one without its tensors."""
    content, weights = read_description(path), path.with_suffix(".safetensors")
    try:
        tensors: Mapping[str, Tensor] = {}
        if content["tensors"] is not None:
            if _file_digest(weights) != content["tensors"]:
                raise ValueError(f"{weights.name} is not the file that it names")
            from safetensors.torch import load_file

            tensors = load_file(weights)
        # Earlier versions kept neither of the last two.
        seconds, peak = content.get("seconds", 0.0), content.get("peak_memory", {})
        return TrialResult(content["values"], tensors, content["diverged_at"], seconds, peak)
    except (OSError, ValueError, KeyError) as error:
        raise CacheError(f"damaged result {path} of a trial: {error}") from error


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write them and return the file's digest."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # The format knows neither strides nor shared memory.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary)
        except SafetensorError as error:
            # How this library tells of a full disk.
            raise OSError(str(error)) from error
        return _file_digest(temporary)
