"""The plugin's options: declared once, read once into a frozen dataclass."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sslbench.compat import parse_compat
from sslbench.config import Settings, default_cache_dir, default_data_dir, default_offline, default_results_dir
from sslbench.errors import SslbenchError
from sslbench.names import split_patterns

RERUN = ("missing", "failed", "all")
BAD_IMAGES = ("fail", "skip")
CHECK_DATA = ("strict", "loose")
DTYPES = ("float32", "bfloat16", "float16")
STORED = ("float32", "float16")
EXTRACTION = ("fast", "exact")


@dataclass(frozen=True)
class _Option:
    flag: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    default: str = ""
    switch: bool = False

    @property
    def ini(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


_OPTIONS = (
    _Option("--sslbench-suite", "suite of tasks to run (sslbench list suites)", "NAME", default="embedded"),
    _Option("--sslbench-backbones", "backbones instead of the suite's own; names or globs", "GLOB[,GLOB]"),
    _Option("--sslbench-tasks", "tasks of the suite to run, or any task id, or PROTOCOL/folder:PATH", "GLOB[,GLOB]"),
    _Option("--sslbench-data", "where datasets lie (or SSLBENCH_DATA; default data)", "DIR"),
    _Option("--sslbench-cache", "where features are kept (or SSLBENCH_CACHE; default ~/.cache/sslbench)", "DIR"),
    _Option("--sslbench-results", "where records and tables go (or SSLBENCH_RESULTS; default results)", "DIR"),
    _Option("--sslbench-device", "auto, cpu, cuda or cuda:N", "DEVICE", default="auto"),
    _Option("--sslbench-dtype", "precision of extraction; part of the cache key", choices=DTYPES, default="float32"),
    _Option("--sslbench-stored", "type that features are kept in", choices=STORED, default="float32"),
    _Option(
        "--sslbench-extraction",
        "folded networks and JPEG within two grey levels of PIL, or networks as they are and PIL's own pixels",
        choices=EXTRACTION,
        default="fast",
    ),
    _Option(
        "--sslbench-decoded", "GiB of decoded pictures kept for further backbones; 0 for none", "GIB", default="16"
    ),
    _Option(
        "--sslbench-bad-images", "fail on an unreadable image, or skip and count it", choices=BAD_IMAGES, default="fail"
    ),
    _Option(
        "--sslbench-check-data",
        "refuse datasets that differ from what is published, or run on what is there and say so in the record",
        choices=CHECK_DATA,
        default="strict",
    ),
    _Option(
        "--sslbench-compat",
        "choices on which paper, official code and good practice differ (docs/references.md)",
        "NAME=VALUE[,NAME=VALUE]",
    ),
    _Option("--sslbench-rerun", "cases to run again although they have a record", choices=RERUN, default="missing"),
    _Option("--sslbench-baseline", "fail cases that are significantly worse than this baseline", "FILE[#BACKBONE]"),
    _Option("--sslbench-gate-level", "family-wise level of the regression gate", "P", default="0.05"),
    _Option("--sslbench-gate-min-drop", "smallest drop, in points, that fails the gate", "POINTS", default="0"),
    _Option("--sslbench-save-baseline", "write this run's records as a baseline", "FILE"),
    _Option(
        "--sslbench-offline",
        "open no connection: only files, weights and repositories that are here (or HF_HUB_OFFLINE)",
        switch=True,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("sslbench", "transfer benchmark for vision backbones")
    for option in _OPTIONS:
        twin = f" (ini: {option.ini})"
        if option.switch:
            group.addoption(option.flag, action="store_true", default=None, help=option.help + twin)
            parser.addini(option.ini, option.help, type="bool", default=False)
            continue
        kwargs: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
        group.addoption(option.flag, default=None, help=option.help + twin, **kwargs)
        parser.addini(option.ini, option.help, default="")


@dataclass(frozen=True)
class PluginOptions:
    """The options of one pytest session. None for backbones or tasks means: what the suite says."""

    suite: str
    backbones: tuple[str, ...] | None
    tasks: tuple[str, ...] | None
    settings: Settings
    rerun: str
    baseline: Path | None
    baseline_backbone: str | None
    gate_level: float
    gate_min_drop: float
    save_baseline: Path | None
    explicit: bool


def read_options(config: pytest.Config) -> PluginOptions:
    """Command line first, then environment (directories), then ini, then default.

    Raises pytest.UsageError for a value that cannot be used.
    """
    values = {option.ini.removeprefix("sslbench_"): _value(config, option) for option in _OPTIONS}
    baseline, _, chosen = values["baseline"].partition("#")
    explicit = any(config.getoption(option.flag) is not None or config.getini(option.ini) for option in _OPTIONS)
    return PluginOptions(
        suite=values["suite"],
        backbones=tuple(split_patterns(values["backbones"])) or None,
        tasks=tuple(split_patterns(values["tasks"])) or None,
        settings=Settings(
            cache_dir=_directory(config, values["cache"], "SSLBENCH_CACHE", default_cache_dir()),
            data_dir=_directory(config, values["data"], "SSLBENCH_DATA", default_data_dir()),
            results_dir=_directory(config, values["results"], "SSLBENCH_RESULTS", default_results_dir()),
            device=values["device"],
            dtype=values["dtype"],
            stored=values["stored"],
            extraction=values["extraction"],
            decoded_gib=_number("--sslbench-decoded", values["decoded"]),
            bad_images=values["bad_images"],
            check_data=values["check_data"],
            compat=_compat(values["compat"]),
            offline=bool(values["offline"]) or default_offline(),
        ),
        rerun=values["rerun"],
        baseline=Path(baseline).expanduser() if baseline else None,
        baseline_backbone=chosen or None,
        gate_level=_number("--sslbench-gate-level", values["gate_level"]),
        gate_min_drop=_number("--sslbench-gate-min-drop", values["gate_min_drop"]),
        save_baseline=Path(values["save_baseline"]).expanduser() if values["save_baseline"] else None,
        explicit=explicit,
    )


def _value(config: pytest.Config, option: _Option) -> str:
    given = config.getoption(option.flag)
    if given is None:
        given = config.getini(option.ini)
    if option.switch:
        return "yes" if given else ""
    text = str(given or option.default)
    if option.choices and text not in option.choices:
        raise pytest.UsageError(f"{option.ini} in the ini file: expected {', '.join(option.choices)}, got {text!r}")
    return text


def _directory(config: pytest.Config, value: str, variable: str, default: Path) -> Path:
    flag = f"--{variable.lower().replace('_', '-')}"
    if config.getoption(flag) is None and os.environ.get(variable):
        return default
    if not value:
        return default
    path = Path(value).expanduser()
    # A relative directory in the ini file belongs to the project, wherever pytest is called from.
    return path if config.getoption(flag) is not None else config.rootpath / path


def _compat(text: str) -> dict[str, str]:
    choices: dict[str, str] = {}
    for item in split_patterns(text):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise pytest.UsageError(f"--sslbench-compat takes NAME=VALUE[,NAME=VALUE], got {item!r}")
        if choices.setdefault(name, value) != value:
            raise pytest.UsageError(f"--sslbench-compat: {name} is given twice, as {choices[name]} and as {value}")
    try:
        parse_compat(choices)
    except SslbenchError as error:
        raise pytest.UsageError(f"--sslbench-compat: {error}") from error
    return choices


def _number(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise pytest.UsageError(f"{flag} takes a number, got {text!r}") from error
