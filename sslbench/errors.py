"""Errors that a user can act on: each message says what was expected, what came and what to do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence


class SslbenchError(Exception):
    """Base of every error this package raises on purpose."""


class UnknownNameError(SslbenchError, LookupError):
    """A backbone, dataset, protocol, task or suite that nobody declared."""


class SettingsError(SslbenchError):
    """A setting or option outside of what it may be, or a directory that cannot be told."""


class BackboneError(SslbenchError):
    """A backbone that cannot be built, loaded or used as asked."""


class NotInstalledError(BackboneError):
    """A backbone whose weights are a package of their own, which is not installed."""


class DataError(SslbenchError):
    """A dataset that is missing, incomplete or unusable for the task."""


class IncompleteDataError(DataError):
    """A dataset that is absent, incomplete, or not the published one.

    missing: what is missing or wrong, a few items at most. count: how much of it. found: whether anything of the dataset
    is there.
    """

    def __init__(self, message: str, missing: Sequence[str] = (), *, count: int = 0, found: bool = False) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.count = count or len(self.missing)
        self.found = found


class UnclearPixelsError(DataError):
    """A picture whose values do not say how bright they are."""


class FeatureError(SslbenchError):
    """Features that cannot be used, such as NaN or infinite values."""


class TrainingError(SslbenchError):
    """A training that cannot begin as asked, or cannot go on from what is there."""


class DamagedStateError(TrainingError):
    """A file that is not the state of a training, or not one that this version can read."""


class DivergedError(TrainingError):
    """A training whose loss or weights are not finite any more. step: the first such one, counted from 1."""

    def __init__(self, message: str, step: int = 0) -> None:
        super().__init__(message)
        self.step = step


class CacheError(SslbenchError):
    """A cache directory or file that cannot be used."""


class RecordError(SslbenchError):
    """A record, run or baseline file that cannot be read or compared."""


class FetchError(SslbenchError):
    """A file that could not be fetched, or is not the one that was expected."""


class ArchiveError(SslbenchError):
    """An archive that is damaged, hostile or too large, or that could not be unpacked."""


class DeviceError(SslbenchError):
    """A device that was asked for and cannot be used."""


class EngineError(SslbenchError):
    """An engine that is not installed, cannot be reached, or cannot give what was asked of it."""


class StoreError(SslbenchError):
    """A store of shared files, named by a URL, that cannot be used."""


class DataWarning(UserWarning):
    """Something about a dataset that was not expected and may matter; the run goes on."""


def tell(message: str) -> None:
    """Give a DataWarning. Raises DataError where this run makes warnings errors, so that it ends like other bad input."""
    try:
        warnings.warn(message, DataWarning, stacklevel=3)
    except DataWarning as warning:
        raise DataError(f"{warning} (warnings are errors in this run)") from None


class CacheWarning(UserWarning):
    """A cache file that was damaged, or could not be written; the run goes on without it."""
