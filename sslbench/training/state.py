"""The state of an interrupted training: one file, which goes on only with what it was begun with."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.backbones.checkpoint import read_torch
from sslbench.errors import BackboneError, CacheWarning, DamagedStateError, TrainingError
from sslbench.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

FORMAT = "sslbench-training-2"
_PARTS = {
    "format": str,
    "begun_with": dict,
    "step": int,
    "threads": int,
    "parts": int,
    "tensors": dict,
    "optimiser": dict,
    "log": list,
}
_ADVICE = "remove it to start again"


class State:
    """`state.pt` below `folder`, replaced at each checkpoint, and the log in `log.jsonl`, for people.

    begun_with: everything that the result of the training depends on besides code and device, as plain data. threads: of torch,
    when the training was begun. parts: in how many a batch is computed. `restore` sets both.
    """

    def __init__(self, folder: Path, begun_with: Mapping[str, Any]) -> None:
        import torch

        # As it will be read: versions, for one, are texts of a type that a safe reader does not know.
        self.path, self.begun_with = folder / "state.pt", json.loads(json.dumps(begun_with))
        self.threads, self.parts = torch.get_num_threads(), 1

    def restore(self, model: nn.Module, optimiser: Optimizer) -> tuple[int, list[dict[str, Any]]]:
        """Put model and optimiser where the file has them; returns the steps done and the log, (0, []) without a file.

        Raises DamagedStateError for a file that is no such state, and a TrainingError that says what differs for another
        training's. Nothing is changed then.
        """
        import torch

        if not self.path.is_file():
            return 0, []
        tensors = _tensors(model)
        found = self._read(tensors)
        try:
            optimiser.load_state_dict(found["optimiser"])
        except ValueError as error:
            raise TrainingError(f"{self.path} holds the state of another optimiser ({error}); {_ADVICE}") from error
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(found["tensors"][name])
        self.threads, self.parts = found["threads"], found["parts"]
        return found["step"], found["log"]

    def _read(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The parts of the file, on the CPU. tensors: what the model holds, for names and shapes."""
        try:
            state = read_torch(self.path)
        except BackboneError as error:
            raise DamagedStateError(
                f"{self.path} is not the state of a training ({error.__cause__ or error}); {_ADVICE}"
            ) from error
        if (
            not isinstance(state, dict)
            or state.keys() != _PARTS.keys()
            or not all(isinstance(state[part], kind) for part, kind in _PARTS.items())
            or state["format"] != FORMAT
        ):
            raise DamagedStateError(f"{self.path} is not the state of a training by this version; {_ADVICE}")
        found, wanted = state["begun_with"], self.begun_with
        differing = [
            f"{key} {found.get(key)!r}, not {wanted.get(key)!r}"
            for key in sorted(found.keys() | wanted.keys())
            if found.get(key) != wanted.get(key)
        ]
        if differing:
            raise TrainingError(
                f"{self.path} was begun with {'; '.join(differing)}. Go on with what it had, or {_ADVICE}"
            )
        shapes = [{name: tuple(tensor.shape) for name, tensor in part.items()} for part in (state["tensors"], tensors)]
        if shapes[0] != shapes[1]:
            raise TrainingError(f"{self.path} holds the tensors of another network; {_ADVICE}")
        return state

    def write(self, step: int, log: list[dict[str, Any]], model: nn.Module, optimiser: Optimizer) -> None:
        """Replace the file at once, so that an interrupt leaves the old one or the new one.

        A full disk gives a CacheWarning and leaves the old one: what was computed goes on.
        """
        import torch

        parts = {
            "format": FORMAT,
            "begun_with": self.begun_with,
            "step": step,
            "threads": self.threads,
            "parts": self.parts,
            "tensors": _tensors(model),
            "optimiser": optimiser.state_dict(),
            "log": log,
        }
        # Always the same name: whoever is killed again and again while writing leaves one such file behind, not many.
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(parts, temporary)
            # On the disk before it has the name: after a power cut there would be an empty file with it.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(self.path)
            lines = "".join(json.dumps(line) + "\n" for line in log)
            write_atomic(self.path.with_name("log.jsonl"), lines.encode())
        except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk by the latter
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            # What torch says of it is of its own file format.
            why = (
                error
                if isinstance(error, OSError)
                else "the file could not be written whole, perhaps since the disk is full"
            )
            warnings.warn(
                f"could not store the state of the training in {self.path.parent}: {why}. It goes on, and would begin "
                "again at its last state after an interrupt; free space",
                CacheWarning,
                stacklevel=2,
            )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    # Not state_dict(), which leaves buffers out that are not persistent, such as lightly's queue of keys.
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
