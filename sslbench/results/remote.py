"""Runs at URLs, as commands read them and write to them."""

from __future__ import annotations

import re
import warnings

from sslbench.config import local_results_dir
from sslbench.errors import CacheWarning, RecordError
from sslbench.results.shared_run import SharedRun
from sslbench.store.store import Store

# At most three levels down, as `find_runs` looks in directories.
_RECORD = re.compile(r"((?:[^/]+/){1,3})records/[^/]+\.json")


def fetch_run(url: str) -> SharedRun:
    """The run at a URL, its records fetched into a directory of this machine in which nothing else is written.

    Samples are fetched by `bring_samples`. A damaged record is told with a CacheWarning. Raises StoreError where the store cannot
    be read, RecordError where there is no run.
    """
    parent, name = _split(url)
    run = SharedRun(local_results_dir(parent).with_suffix(".read") / name, store=Store(url))
    if not run.store.first_names("records/"):
        raise RecordError(
            f"no run at {url}; expected the URL of a run, s3://BUCKET/RESULTS/RUN, below which there is records/: look at its "
            "spelling, and whether the bucket exists"
        )
    for problem in run.pull(exact=True):
        warnings.warn(problem, CacheWarning, stacklevel=2)
    return run


def run_urls(url: str) -> list[str]:
    """The URLs of the runs that are at a URL or below it, sorted. Raises StoreError where the store cannot be read."""
    store = Store(url)
    if store.first_names("records/"):
        return [store.url]
    found = (_RECORD.fullmatch(name) for name in store.names())
    return sorted({f"{store.url}/{match[1].rstrip('/')}" for match in found if match})


def begin_run(url: str) -> SharedRun:
    """The run at a URL to be written to, in the directory that a session with these results has for it.

    Raises StoreError where the store cannot be written.
    """
    parent, name = _split(url)
    run = SharedRun(local_results_dir(parent) / name, store=Store(url))
    for problem in run.begin():
        warnings.warn(problem, CacheWarning, stacklevel=2)
    return run


def _split(url: str) -> tuple[str, str]:
    parent, _, name = url.rstrip("/").rpartition("/")
    if parent.endswith(":/") or name in ("", ".", ".."):
        raise RecordError(f"{url}: expected the URL of a run in a store, such as s3://BUCKET/RESULTS/RUN")
    return parent, name
