"""Directories and run settings, shared by the Python API, the CLI and the pytest plugin."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

from sslbench.compat import parse_compat
from sslbench.errors import DeviceError, SettingsError
from sslbench.names import did_you_mean
from sslbench.store.url import is_url, is_url_as_path

# What a setting with a few values may be; the first is the default. The plugin's options are checked against the same.
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dtype": ("float32", "bfloat16", "float16"),
        "stored": ("float32", "float16"),
        "extraction": ("fast", "exact"),
        "bad_images": ("fail", "skip"),
        "check_data": ("strict", "loose"),
    }
)


def expand(path: str | os.PathLike[str]) -> Path:
    """The path with `~` and `~user` replaced.

    Raises SettingsError where nobody knows that home directory, and for a URL, which is no path.
    """
    if is_url(path) or (isinstance(path, os.PathLike) and is_url_as_path(os.fspath(path))):
        raise SettingsError(
            f"{path}: expected a directory here; a URL (s3://BUCKET/PREFIX, file:///FOLDER) is taken by --sslbench-cache and "
            "--sslbench-results, SSLBENCH_CACHE and SSLBENCH_RESULTS, and Settings, as text (docs/shared-state.md)"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{path}: there is no such home directory here; write the path without ~") from error


def _directory(variable: str, default: Callable[[], Path]) -> Path:
    value = os.environ.get(variable)
    return expand(value) if value else default()


def url_in(variable: str) -> str:
    """What an environment variable holds if that is a URL, else nothing."""
    value = os.environ.get(variable, "")
    return value if is_url(value) else ""


def default_cache_dir() -> Path:
    """`$SSLBENCH_CACHE`, else `$XDG_CACHE_HOME/sslbench`, else `~/.cache/sslbench`; where the first is a URL, `local_cache_dir`.

    Raises SettingsError where this user has no home directory and no variable stands in for it.
    """
    return local_cache_dir() if url_in("SSLBENCH_CACHE") else _directory("SSLBENCH_CACHE", _user_cache_dir)


def local_cache_dir() -> Path:
    """The directory of this machine in front of a shared cache: `$SSLBENCH_LOCAL_CACHE`, else the default one.

    Raises SettingsError as `default_cache_dir` does.
    """
    if os.environ.get("SSLBENCH_LOCAL_CACHE") or url_in("SSLBENCH_CACHE"):
        return _directory("SSLBENCH_LOCAL_CACHE", _user_cache_dir)
    return _directory("SSLBENCH_CACHE", _user_cache_dir)


def local_results_dir(url: str) -> Path:
    """The directory of this machine that results at a URL are mirrored in: one for each URL, in the local cache."""
    return local_cache_dir() / "results" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def _user_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "sslbench"
    try:
        return Path.home() / ".cache" / "sslbench"
    except RuntimeError as error:
        raise SettingsError(
            "this user has no home directory to keep features in; choose a cache directory with SSLBENCH_CACHE, "
            "--sslbench-cache=DIR or Settings(cache_dir=...)"
        ) from error


def default_data_dir() -> Path:
    """`$SSLBENCH_DATA`, else `data` below the current directory."""
    return _directory("SSLBENCH_DATA", lambda: Path("data"))


def default_results_dir() -> Path:
    """`$SSLBENCH_RESULTS`, else `results` below the current directory; where the first is a URL, `local_results_dir`."""
    if url := url_in("SSLBENCH_RESULTS"):
        return local_results_dir(url)
    return _directory("SSLBENCH_RESULTS", lambda: Path("results"))


def default_offline() -> bool:
    """Whether `$HF_HUB_OFFLINE` asks for it, in the values that huggingface_hub takes for yes."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def check_choice(label: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise SettingsError, with the nearest choice, for anything else than one of `choices`."""
    if value not in choices:
        expected = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise SettingsError(f"{label}: expected {expected}, got {value!r}{did_you_mean(value, choices)}")


def check_number(label: str, value: object, least: float, *, whole: bool = False) -> None:
    """Raise SettingsError for anything else than a finite number of at least `least`. whole: an integer."""
    kind = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= float(value) < math.inf:
        what = "a whole number" if whole else "a number"
        raise SettingsError(f"{label}: expected {what} of at least {least:g}, got {value!r}")


def check_device(value: object) -> None:
    """Raise DeviceError for what is no name of a device; whether the device can be used is tried later."""
    if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        hint = did_you_mean(value, ("auto", "cpu", "cuda"))
        raise DeviceError(f"unknown device {value!r}; expected auto, cpu, cuda or cuda:N{hint}")


class _DirectoryField:
    """A field that holds a directory: text becomes a Path, and a default that cannot be found fails where it is needed.

    Nobody needs a home directory who never opens the cache. shared: the field of a URL, which may be given here instead; local:
    the directory that then stands in front of it. variable: of the environment, which may hold a URL too.
    """

    def __init__(
        self,
        default: Callable[[], Path],
        *,
        shared: str = "",
        variable: str = "",
        local: Callable[[str], Path] = lambda url: local_cache_dir(),
    ) -> None:
        self._default, self._shared, self._variable, self._local = default, shared, variable, local

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> _DirectoryField: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Path: ...

    def __get__(self, instance: object | None, owner: type) -> Path | _DirectoryField:
        if instance is None:
            return self
        value: Path | SettingsError = instance.__dict__[self._name]
        if isinstance(value, SettingsError):
            raise value
        return value

    def __set__(self, instance: object, value: str | os.PathLike[str] | _DirectoryField) -> None:
        # The dataclass hands over the descriptor itself when the field is not given.
        kept = instance.__dict__
        if isinstance(value, _DirectoryField):
            if self._shared and (url := url_in(self._variable)):
                kept[f"_{self._shared}"] = url
            kept[self._name] = _or_error(self._default)
        elif self._shared and is_url(value):
            kept[f"_{self._shared}"] = url = str(value)
            kept[self._name] = _or_error(lambda: self._local(url))
        elif isinstance(value, str | os.PathLike) and str(value):
            kept[self._name] = expand(value)
        else:
            raise SettingsError(f"{self._name}: expected a directory, got {value!r}")


def _or_error(find: Callable[[], Path]) -> Path | SettingsError:
    try:
        return find()
    except SettingsError as error:
        return error


@dataclass(frozen=True)
class Settings:
    """Everything outside of backbone and task that a case depends on; what the options of the command line set.

    Attributes:
        cache_dir: Where features are kept: a path or text, `~` allowed. By default `$SSLBENCH_CACHE`, else `~/.cache/sslbench`.
            A URL sets `shared_cache`; the directory is `$SSLBENCH_LOCAL_CACHE` then, or the default one.
        data_dir: Where data lie; by default `$SSLBENCH_DATA`, else `data`.
        results_dir: Where runs are written; by default `$SSLBENCH_RESULTS`, else `results`. A URL sets
            `shared_results`; the directory is one of the local cache then.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `float32`, or `bfloat16` or `float16` for autocast extraction.
        batch_size: Pictures embedded at once; None lets the device decide.
        stored: `float32` or `float16`, the type that features are kept in on disk and in memory.
        extraction: `fast` folds BatchNorm and decodes JPEG within two grey levels of PIL; `exact` runs the network as it is on
            PIL's pixels (docs/extraction.md).
        decoded_gib: GiB of decoded pictures that the cache may hold for further backbones and trainings; 0 keeps none.
        bad_images: `fail` on an unreadable image, or `skip` it and count it in the record.
        check_data: `strict` refuses a dataset whose counts are not the published ones; `loose` runs on what is there, and the
            record says so and has no published reference.
        compat: Choices for the switches of studies, where not the default.
        offline: No loader opens a connection; the default follows `$HF_HUB_OFFLINE`.
        shared_cache: URL of a store that features and trainings are shared through, empty for none (docs/shared-state.md).
        shared_results: URL below which runs lie as well, empty for none.

    Raises:
        SettingsError: For a value that cannot be used.
        DeviceError: For a device that has no such name.
        UnknownNameError: For a compat switch or choice that nobody declared.

    Example:
        >>> import sslbench
        >>> sslbench.Settings(cache_dir="cache", batch_size=32).dtype
        'float32'
    """

    cache_dir: _DirectoryField = _DirectoryField(default_cache_dir, shared="shared_cache", variable="SSLBENCH_CACHE")
    data_dir: _DirectoryField = _DirectoryField(default_data_dir)
    results_dir: _DirectoryField = _DirectoryField(
        default_results_dir,
        shared="shared_results",
        variable="SSLBENCH_RESULTS",
        local=lambda url: local_results_dir(url),
    )
    device: str = "auto"
    dtype: str = CHOICES["dtype"][0]
    batch_size: int | None = None
    stored: str = CHOICES["stored"][0]
    extraction: str = CHOICES["extraction"][0]
    decoded_gib: float = 16.0
    bad_images: str = CHOICES["bad_images"][0]
    check_data: str = CHOICES["check_data"][0]
    compat: Mapping[str, str] = field(default_factory=dict)
    offline: bool = field(default_factory=default_offline)
    shared_cache: str = ""
    shared_results: str = ""

    def __post_init__(self) -> None:
        check_device(self.device)
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if self.batch_size is not None:
            check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("decoded_gib", self.decoded_gib, 0)
        compat: Any = self.compat
        if not isinstance(compat, Mapping):
            raise SettingsError(f"compat: expected a mapping of switches to choices, got {compat!r}")
        parse_compat(self.compat)
        offline: Any = self.offline
        if not isinstance(offline, bool):
            raise SettingsError(f"offline: expected True or False, got {offline!r}")
        for name in ("shared_cache", "shared_results"):
            # Given by its own name, or in the place of the directory.
            url = getattr(self, name) or self.__dict__.get(f"_{name}", "")
            self.__dict__.pop(f"_{name}", None)
            if url and not is_url(url):
                raise SettingsError(f"{name}: expected a URL such as s3://BUCKET/PREFIX, or nothing, got {url!r}")
            object.__setattr__(self, name, url.rstrip("/") if url else "")

    def choice(self, switch: str) -> str:
        """The choice of a compat switch. Raises for an unknown one."""
        return parse_compat(self.compat)[switch]
