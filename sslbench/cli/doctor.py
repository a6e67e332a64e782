"""`sslbench doctor`: what is installed, what is there, and how to get what is missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sslbench.cli.cache import parts_text
from sslbench.cli.command import Commands, data_option, results_option
from sslbench.config import Settings, default_cache_dir, url_in
from sslbench.files import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sslbench.datasets import DatasetSpec
    from sslbench.datasets.status import Status
    from sslbench.sources import Source


def add(commands: Commands) -> None:
    """Declare the command."""
    doctor = commands.add_parser("doctor", help="versions, device, threads, directories, and what is missing")
    data_option(doctor)
    results_option(doctor)
    doctor.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from sslbench import threads
    from sslbench.cli.trial_files import trial_bytes
    from sslbench.datasets import dataset_spec, list_datasets
    from sslbench.datasets.status import status_of
    from sslbench.environment import cpu_model, package_versions
    from sslbench.errors import CacheError, SettingsError, StoreError
    from sslbench.features.cache import FeatureCache
    from sslbench.features.device import resolve_device
    from sslbench.store.store import Store

    for package, number in package_versions().items():
        print(f"{package:14} {number}")
    device = resolve_device("auto")
    print(f"{'cpu':14} {cpu_model()}")
    print(f"{'threads':14} {threads.describe()}")
    hint = "" if device != "cpu" else " (no usable GPU: the driver, CUDA_VISIBLE_DEVICES and the torch build decide)"
    print(f"{'device':14} {device}{hint}")
    problem = ""
    try:
        cache = FeatureCache(default_cache_dir())
        print(f"{'cache':14} {cache.root.parent} ({parts_text(cache.size(), trial_bytes(cache.root.parent))})")
        cache.check_writable()
    except (CacheError, SettingsError) as error:
        problem = f"PROBLEM: {error}"
        print(f"{'cache':14} {problem}")
    data = arguments.data
    print(f"{'data':14} {data.absolute()}{'' if data.is_dir() else ' (absent; the embedded suite needs none)'}")
    print(f"{'results':14} {arguments.results.absolute()}")
    for label, url in (("shared cache", url_in("SSLBENCH_CACHE")), ("shared results", url_in("SSLBENCH_RESULTS"))):
        if url:
            try:
                Store(url).check()
                print(f"{label:14} {url} (can be read and written)")
            except StoreError as error:
                problem = f"PROBLEM: {error}"
                print(f"{label:14} {problem}")
    for name in list_datasets():
        spec = dataset_spec(name)
        print(f"{'dataset':14} {describe(status_of(spec, Settings(data_dir=data)), spec)}")
    return 1 if problem else 0


def describe(status: Status, spec: DatasetSpec) -> str:
    """A dataset's state in a line: its size, what is missing, and how to get it."""
    here = f", {size_text(status.bytes)}" if status.bytes else ""
    if status.state == "ready":
        return f"{spec.name}: ready{here}, {spec.origin}"
    if status.state == "incomplete":
        missing = f": {', '.join(status.missing)}" if status.missing else ""
        return f"{spec.name}: incomplete{here}{missing}. {status.how}"
    return f"{spec.name}: {status.state}, {_to_get(spec.sources)}. {status.how}"


def _to_get(sources: Sequence[Source]) -> str:
    sizes = [source.size for source in sources if not source.inner]
    known = sum(size for size in sizes if size is not None)
    if not known:
        return size_text(None)
    return f"{'at least ' if None in sizes else ''}{size_text(known)} to get"
