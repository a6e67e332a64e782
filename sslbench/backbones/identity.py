"""Which network it is, looked at whenever somebody asks: weights, code and settings may be changed in place."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.backbones.digest import tensors_digest
from sslbench.backbones.fixed_outputs import FixedOutputs, outputs_on_fixed_pictures
from sslbench.backbones.traits import Traits, all_traits, quick_traits

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Network


@dataclass(frozen=True)
class Seen:
    """What a look found.

    digest: of the network, the same in every process. stamp: changes whenever the network does, in this process alone.
    note: for the record, when the digest says less than it should; empty else.
    """

    digest: str
    stamp: str
    note: str = ""


class Described:
    """A network whose recipe and weights tell everything, as long as nobody changes it by hand."""

    def __init__(self, network: Network) -> None:
        self._built = quick_traits(network.module).texts
        self._last: tuple[str, str, Seen] | None = None

    def look(self, network: Network, recipe: str, size: tuple[int, int]) -> Seen:
        """The digest now: of the recipe and the weights, and of what was changed beside them since the network was built."""
        traits = quick_traits(network.module)
        stamp = _stamp(traits)
        if self._last is None or self._last[:2] != (stamp, recipe):
            changed = "" if traits.texts == self._built else f":changed:{Traits(traits.texts).digest()}"
            self._last = stamp, recipe, Seen(tensors_digest(traits.tensors, f"{recipe}{changed}"), stamp)
        return self._last[2]


@dataclass(frozen=True)
class _Probed:
    """The outputs, and the network as it was then."""

    stamp: str
    content: str
    helpers: dict[str, str]
    outputs: FixedOutputs


class FromCode:
    """A network out of somebody's code: its recipe is a name alone, so its code, settings and outputs count."""

    def __init__(self, network: Network) -> None:
        self._written: frozenset[str] = frozenset()
        self._probed: dict[tuple[int, int], _Probed] = {}

    def look(self, network: Network, recipe: str, size: tuple[int, int]) -> Seen:
        """The digest now. Settings and weights are read each time; the network is run when they have changed.

        size: (H, W) of the pictures it is run on, in pixels.
        """
        traits = self._read(network)
        stamp, known = _stamp(traits), self._probed.get(size)
        if known is None or known.stamp != stamp:
            content = traits.digest()
            # Another memory layout changes the checksums, which are quick, and nothing that needs a new run.
            if known is not None and (known.content, known.helpers) == (content, traits.helpers):
                found = known.outputs
            else:
                found = outputs_on_fixed_pictures(
                    network.embed, network.module, size, lambda: all_traits(network.module, network), network
                )
                self._written |= found.written
                traits = self._read(network)
                content, stamp = traits.digest(), _stamp(traits)
            known = self._probed[size] = _Probed(stamp, content, traits.helpers, found)
        digest = hashlib.sha256(f"{recipe}|{known.content}|{known.outputs.text}".encode()).hexdigest()[:16]
        return Seen(digest, stamp, known.outputs.note)

    def _read(self, network: Network) -> Traits:
        return all_traits(network.module, network).without(self._written)


_KNOWN: weakref.WeakKeyDictionary[Network, dict[bool, Described | FromCode]] = weakref.WeakKeyDictionary()


def identity(network: Network, *, from_code: bool) -> Described | FromCode:
    """What is remembered of a network since the first call, which is to come when it has just been built."""
    known = _KNOWN.setdefault(network, {})
    if from_code not in known:
        known[from_code] = FromCode(network) if from_code else Described(network)
    return known[from_code]


def _stamp(traits: Traits) -> str:
    return hashlib.sha256(repr(sorted(traits.looks().items())).encode("utf-8", "surrogatepass")).hexdigest()[:32]
