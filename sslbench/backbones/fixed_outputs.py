"""The outputs of a network on fixed pictures, in numbers that rounding does not reach.

What a network computes depends on helpers, closures and global state that no reading of its attributes shows. Digests
stand in records and keys, so the numbers must be the same on another processor and with other threads: the pass is made
in float64, where orders of summation differ by 1e-15, and six digits are kept. A network that insists on float32 in between
differs by 1e-6, of which three digits are kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sslbench.backbones.traits import Traits
from sslbench.backbones.undisturbed import UNSUITABLE, device_of, same, undisturbed

PICTURES = 2
# Largest difference between two passes, relative to the largest output, that is rounding.
_REPEATS = {True: 1e-9, False: 1e-4}
_PROJECTIONS = 2


@dataclass(frozen=True)
class FixedOutputs:
    """What the network gave on fixed pictures.

    text: for the digest. written: places that the network itself writes when it runs, such as counters and caches; they are
    results and not settings. note: for the record, why features are not reused or outputs are not known; empty else.
    """

    text: str
    written: frozenset[str] = frozenset()
    note: str = ""


def fixed_pictures(size: tuple[int, int]) -> Tensor:
    """float64 (PICTURES, 3, H, W), roughly normalised, from whole numbers alone, so that they are the same everywhere."""
    height, width = size
    picture, channel, row, column = np.ogrid[:PICTURES, :3, :height, :width]
    waves = row * (3 + 2 * picture) + column * (5 + channel) + (row * column) // (7 + 4 * picture)
    blocks = 37 * (row // 8) * (column // 8) * (channel + 1)
    pixels = (waves + blocks + 91 * channel + 53 * picture) % 256
    return torch.from_numpy((pixels / 255 - 0.45) / 0.225)


def outputs_on_fixed_pictures(
    embed: Callable[[Tensor], Tensor],
    module: nn.Module,
    size: tuple[int, int],
    look: Callable[[], Traits],
    *objects: object,
) -> FixedOutputs:
    """Run a network twice on the fixed pictures and leave it as it was.

    embed: (B, D) from (B, 3, H, W), through `module`. look: the traits as they are now. objects: further ones that take part.
    """
    failure = ""
    for exact in (True, False):
        try:
            with undisturbed(module, *objects):
                return _run(embed, module, size, look, exact)
        except UNSUITABLE as error:
            failure = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return FixedOutputs(
        "not run", note=f"the network does not run on fixed pictures, so that its code alone tells it: {failure}"
    )


def _run(
    embed: Callable[[Tensor], Tensor], module: nn.Module, size: tuple[int, int], look: Callable[[], Traits], exact: bool
) -> FixedOutputs:
    pictures = fixed_pictures(size).to(device_of(module))
    with _in_float64(embed, module) if exact else nullcontext(_Run(embed, {})) as run:
        before = look().looks()
        outputs = [run.once(pictures if exact else pictures.float()) for _ in range(2)]
        after = look().looks()
        written = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
        written |= run.written()
    first, second = (output.detach().double().cpu() for output in outputs)
    exact = exact and not run.narrow
    # NaN is a result like any other here; extraction tells of it where the picture is known.
    apart = float((first - second).nan_to_num().abs().max()) if first.shape == second.shape and first.numel() else 0.0
    if first.shape != second.shape or apart > _REPEATS[exact] * float(first.nan_to_num().abs().max()):
        note = "two passes over the same pictures differ, so that no other process reuses its features"
        return FixedOutputs(f"never the same {uuid.uuid4().hex}", frozenset(written), note)
    return FixedOutputs(f"{tuple(first.shape[1:])} {_digits(first, exact)}", frozenset(written))


class _Run:
    """One way to run the network.

    narrow: whether something was computed in less than float64.
    """

    def __init__(
        self, once: Callable[[Tensor], Tensor], buffers: Mapping[str, tuple[Callable[[], Tensor], Tensor]]
    ) -> None:
        self._once = once
        self._buffers = buffers
        self.narrow = False

    def once(self, pictures: Tensor) -> Tensor:
        # A network may write into its input.
        watch = _Watch()
        with watch:
            output = self._once(pictures.clone())
        self.narrow |= watch.narrow
        return output

    def written(self) -> set[str]:
        """Buffers that the passes changed."""
        return {name for name, (now, before) in self._buffers.items() if not same(now(), before)}


class _Watch(TorchFunctionMode):
    narrow = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            self.narrow = True
        return result


class _Embedding(nn.Module):
    """`functional_call` wants a module to call."""

    def __init__(self, embed: Callable[[Tensor], Tensor], module: nn.Module) -> None:
        super().__init__()
        self.network = module
        self._embed = embed

    def forward(self, images: Tensor) -> Tensor:
        return self._embed(images)


@contextmanager
def _in_float64(embed: Callable[[Tensor], Tensor], module: nn.Module) -> Iterator[_Run]:
    """On copies of the weights, which take their place for the time of a pass: the network itself need not be copied."""
    caller = _Embedding(embed, module)
    state = {name: _widened(tensor.detach()) for name, tensor in caller.named_parameters()}
    buffers = {name: _widened(tensor.detach()) for name, tensor in caller.named_buffers()}
    before = {name: tensor.clone() for name, tensor in buffers.items()}
    state |= buffers
    default = torch.get_default_dtype()
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                vars(part)[name] = _widened(value.detach())
    torch.set_default_dtype(torch.float64)
    try:
        yield _Run(
            lambda pictures: torch.func.functional_call(caller, state, (pictures,)),
            # functional_call writes what the network put in a buffer's place into `state`.
            {
                name.removeprefix("network."): (lambda name=name: state[name], tensor)  # type: ignore[misc]
                for name, tensor in before.items()
            },
        )
    finally:
        torch.set_default_dtype(default)


def _widened(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor.clone()


def _digits(outputs: Tensor, exact: bool) -> str:
    """Length and projections of each output, relative to the length."""
    whole = outputs.flatten(1).numpy()
    signs = [_signs(whole.shape[1], number) for number in range(_PROJECTIONS)]
    texts = []
    for row in whole:
        length = float(np.sqrt((row * row).sum()))
        if not np.isfinite(length) or length == 0:
            texts.append(f"{length:.0f}")
            continue
        # Adding zero turns a negative one into zero.
        shares = [round(float((row * sign).sum()) / length, 6 if exact else 3) + 0.0 for sign in signs]
        texts.append(f"{length:.5e} {shares}" if exact else f"{length:.2e} {shares}")
    return f"{'float64' if exact else 'float32'} {'; '.join(texts)}"


def _signs(count: int, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 (count,) of +1 and -1 without order, from whole numbers (splitmix64)."""
    mixed = (np.arange(count, dtype=np.uint64) + np.uint64(1 + number * 1_000_003)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.where(mixed >> np.uint64(63), 1.0, -1.0)
