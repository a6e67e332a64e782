"""Named streams of random numbers, one for each scene parameter."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world.arrays import Floats, Ints


class Draws:
    """Random arrays whose first axis runs over the pictures.

    Every name has a stream of its own and is filled picture by picture, so picture i is the same whatever
    the number of pictures, and a parameter added later leaves the others alone.
    """

    def __init__(self, n: int, *, kind: str, seed: int) -> None:
        self.n = n
        self._kind = kind
        self._seed = seed

    def _generator(self, name: str) -> np.random.Generator:
        entropy = [self._seed, *f"{self._kind}/{name}".encode()]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def uniform(self, name: str, low: float, high: float, *shape: int) -> Floats:
        """(n, *shape) numbers in [low, high)."""
        return self._generator(name).uniform(low, high, (self.n, *shape)).astype(np.float32)

    def normal(self, name: str, *shape: int) -> Floats:
        """(n, *shape) standard normal numbers."""
        return self._generator(name).standard_normal((self.n, *shape)).astype(np.float32)

    def integers(self, name: str, high: int, *shape: int) -> Ints:
        """(n, *shape) integers in 0..high-1."""
        return self._generator(name).integers(high, size=(self.n, *shape))

    def permutations(self, name: str, length: int) -> Ints:
        """(n, length) a random order of 0..length-1 for each picture."""
        return np.argsort(self._generator(name).random((self.n, length)), axis=1, kind="stable")

    def balanced(self, name: str, classes: int) -> Ints:
        """(n,) labels that run through all classes, in a fresh random order, before any comes again."""
        blocks = -(-self.n // classes)
        order = np.argsort(self._generator(name).random((blocks, classes)), axis=1, kind="stable")
        return order.ravel()[: self.n]
