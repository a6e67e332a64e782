"""Backbones by items without holes: what ranks over many tasks are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sslbench.analyses.sheet import Item, Sheet
from sslbench.errors import RecordError


@dataclass(frozen=True)
class Block:
    """values: (K backbones, N items), each in its item's unit. left_out: items that not all of the backbones have."""

    backbones: tuple[str, ...]
    items: tuple[Item, ...]
    values: npt.NDArray[np.float64]
    left_out: tuple[Item, ...] = ()

    @property
    def gains(self) -> npt.NDArray[np.float64]:
        """The values with a sign that makes more better."""
        return self.values * np.array([1.0 if item.higher_is_better else -1.0 for item in self.items])

    @property
    def ranks(self) -> npt.NDArray[np.float64]:
        """(K, N) ranks within each item, 1 the best; ties share the mean of their places."""
        from sslbench.analyses.correlation import average_ranks

        return np.stack([average_ranks(-column) for column in self.gains.T], axis=1)

    @property
    def standardised(self) -> npt.NDArray[np.float64]:
        """(K, N) gains less their mean over the backbones, by their standard deviation (divisor K); 0 where all are equal."""
        gains = self.gains
        spread = gains.std(axis=0)
        return np.asarray((gains - gains.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def block(sheet: Sheet, items: Iterable[Item] = (), backbones: Sequence[str] = ()) -> Block:
    """The items, by default the main ones, that all of the backbones have; these are by default all but controls.

    Raises RecordError where there is no such item or no backbone.
    """
    names = tuple(backbones or sheet.trained)
    asked = tuple(items) or sheet.main_items
    columns = {item: sheet.column(item) for item in asked}
    whole = tuple(item for item in asked if all(name in columns[item] for name in names))
    if not names or not whole:
        raise RecordError(
            f"ranks over tasks: expected tasks that all of {', '.join(names) or 'no backbone'} have, got none of "
            f"{len(asked)}; name fewer backbones, or run the missing tasks"
        )
    values = np.array([[columns[item][name].value for item in whole] for name in names])
    return Block(names, whole, values, tuple(item for item in asked if item not in whole))
